"""Records of a comparison: figures, or the reason why there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from SSRKDCore.errors import Cancelled
from SSRKDCore.evaluation.comparison import MEASURES, BoneComparison, compare, means_by_bone
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface


def sphere(radius: float, center: tuple[float, float, float] = (0, 0, 0)) -> Surface:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return Surface(mesh.vertices + np.array(center), mesh.faces)


def test_every_measure_of_concentric_spheres() -> None:
    record = compare({"femur": sphere(22.0)}, {"femur": sphere(20.0)})["femur"]
    assert record.failure is None and record.dice_refused is None
    # 5,120 triangles: chords lie up to 0.05 mm inside.
    assert record.exact_assd_mm == pytest.approx(2.0, abs=0.03)
    assert record.exact_hd_mm == pytest.approx(2.0, abs=0.06)
    assert record.exact_hd95_mm == pytest.approx(2.0, abs=0.06)
    assert record.dice == pytest.approx(2 * 20**3 / (20**3 + 22**3), abs=2e-3)
    assert record.paper_assd_mm == pytest.approx(2.02, abs=0.04)
    assert record.paper_hd_mm is not None and 2.0 < record.paper_hd_mm < 2.4
    assert record.exact_mean_reference_to_reconstruction_mm == pytest.approx(2.0, abs=0.03)
    assert set(MEASURES) < set(record.to_dict())


def test_missing_empty_and_unscored_bones() -> None:
    reference = {"femur": sphere(20.0), "tibia": sphere(10.0), "patella": sphere(5.0)}
    records = compare({"femur": sphere(20.0), "tibia": Surface.empty(), "fibula": sphere(3.0)}, reference)
    # In the order of the labels; the fibula has no truth and no record.
    assert list(records) == ["patella", "femur", "tibia"]
    assert records["patella"].failure == "missing in the reconstruction"
    assert records["tibia"].failure == "empty surface"
    assert all(getattr(records["tibia"], measure) is None for measure in MEASURES)
    assert records["femur"].exact_assd_mm == pytest.approx(0.0, abs=1e-9)
    assert records["femur"].dice == 1.0
    assert compare({"femur": sphere(1.0)}, {"femur": Surface.empty()})["femur"].failure == "the reference is empty"


def test_bones_outside_the_field_of_view() -> None:
    view = FieldOfView((0.0, 0.0, 0.0), 60.0)
    inside, outside = sphere(10.0), sphere(10.0, (100.0, 0.0, 0.0))
    assert (
        compare({"femur": outside}, {"femur": inside}, view)["femur"].failure == "no surface inside the field of view"
    )
    failure = compare({"femur": inside}, {"femur": outside}, view)["femur"].failure
    assert failure == "the reference has no surface inside the field of view"


def test_open_surfaces_give_distances_and_no_dice() -> None:
    closed = sphere(20.0)
    opened = Surface(closed.vertices, closed.faces[:-1])
    record = compare({"femur": opened}, {"femur": sphere(21.0)})["femur"]
    assert record.exact_assd_mm == pytest.approx(1.0, abs=0.03)
    # Points on shells 1 mm apart are never nearer than the shells (the meshes lie up to 0.03 mm inside), and a little farther.
    assert record.paper_assd_mm is not None and 0.97 <= record.paper_assd_mm < 1.5
    assert record.dice is None
    assert record.dice_refused == "the reconstruction is not closed, so it has no inside"
    assert record.failure is None


def test_an_offset_is_not_registered_away() -> None:
    record = compare({"patella": sphere(20.0, (5.0, 0.0, 0.0))}, {"patella": sphere(20.0)})["patella"]
    assert record.exact_hd_mm == pytest.approx(5.0, abs=0.05)


def test_progress_and_cancellation() -> None:
    told: list[float] = []
    reference = {"femur": sphere(5.0), "tibia": sphere(6.0)}
    compare(reference, reference, progress=lambda fraction, words: told.append(fraction))
    assert told == [0.0, 0.5, 1.0]
    with pytest.raises(Cancelled):
        compare(reference, reference, cancelled=lambda: True)


def test_means_count_failures_and_leave_them_out() -> None:
    good = BoneComparison(
        exact_assd_mm=1.0, exact_hd_mm=4.0, exact_hd95_mm=2.0, dice=0.9, paper_assd_mm=1.2, paper_hd_mm=5.0
    )
    worse = BoneComparison(
        exact_assd_mm=3.0, exact_hd_mm=6.0, exact_hd95_mm=4.0, dice=None, paper_assd_mm=3.2, paper_hd_mm=7.0
    )
    failed = BoneComparison(failure="empty surface")
    means = means_by_bone({"a": {"femur": good, "tibia": failed}, "b": {"femur": worse}})
    assert list(means) == ["femur", "tibia", "all"]
    assert means["femur"]["exact_assd_mm"] == pytest.approx(2.0)
    assert means["femur"]["dice"] == pytest.approx(0.9)
    assert (means["femur"]["scored"], means["femur"]["failed"]) == (2, 0)
    assert means["tibia"]["exact_assd_mm"] is None
    assert (means["all"]["scored"], means["all"]["failed"]) == (2, 1)
    assert means_by_bone({})["all"]["scored"] == 0


def test_two_real_femora_differ_by_millimetres(shared_data: Path) -> None:
    femur, other = (read_surface(shared_data / "legs" / leg / "femur.ply") for leg in ("TLEM2_CT_R", "ICL_MRI_R"))
    record = compare({"femur": femur}, {"femur": other}, FieldOfView((0.0, 0.0, 0.0), 160.0))["femur"]
    assert record.exact_assd_mm is not None and 1.0 < record.exact_assd_mm < 6.0
    # A sampled point is never closer than the surface that it was sampled from.
    assert record.paper_assd_mm is not None and record.paper_assd_mm > record.exact_assd_mm
