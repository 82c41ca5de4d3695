"""Scoring inside a box: cut faces do not count, on either side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from SSRKDCore.evaluation.comparison import compare
from SSRKDCore.evaluation.exact_distances import EmptySurface, surface_distances
from SSRKDCore.evaluation.field_of_view import (
    clipped_triangles,
    cut_faces,
    everywhere,
    flat_shaft_end,
    scoring_box,
    without_cut_faces,
)
from SSRKDCore.evaluation.surface_sampling import subdivided, triangle_areas
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface


def cylinder(radius: float, low: float, high: float, x: float = 0.0) -> Surface:
    """A closed cylinder along z."""
    mesh = trimesh.creation.cylinder(radius=radius, segment=[[x, 0, low], [x, 0, high]], sections=256)
    return Surface(mesh.vertices, mesh.faces)


VIEW = FieldOfView((0.0, 0.0, 0.0), 40.0)


def test_clipping_keeps_what_is_inside_with_its_winding() -> None:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=10.0)
    box = np.array([[-3.0, -20.0, -20.0], [20.0, 5.0, 2.0]])
    parts = clipped_triangles(mesh.triangles.view(np.ndarray), box)
    assert (parts >= box[0] - 1e-12).all() and (parts <= box[1] + 1e-12).all()
    # Independent: small pieces of the whole sphere, counted by where their centres lie.
    pieces = subdivided(mesh.triangles.view(np.ndarray), 0.1)
    middles = pieces.mean(axis=1)
    counted = triangle_areas(pieces)[((middles >= box[0]) & (middles <= box[1])).all(axis=1)].sum()
    assert triangle_areas(parts).sum() == pytest.approx(counted, rel=1e-3)
    normals = np.cross(parts[:, 1] - parts[:, 0], parts[:, 2] - parts[:, 0])
    assert (np.einsum("ij,ij->i", normals, parts.mean(axis=1)) > -1e-12).all()
    assert len(clipped_triangles(mesh.triangles.view(np.ndarray), np.array([[50.0] * 3, [60.0] * 3]))) == 0


def test_a_capped_reconstruction_against_a_bone_that_goes_on() -> None:
    """Coaxial shafts, 10 and 11 mm thick: 1 mm apart everywhere; the caps at the field of view (z = +-20) would add 8
    mm.
    """
    bone, capped = cylinder(10.0, -100.0, 100.0), cylinder(11.0, -20.0, 20.0)
    result = surface_distances(capped, bone, VIEW.bounds)
    # 256-sided: chords lie 0.0008 mm inside.
    assert result.assd == pytest.approx(1.0, abs=0.002)
    assert result.hd == pytest.approx(1.0, abs=0.002)
    swapped = surface_distances(bone, capped, VIEW.bounds)
    assert swapped.assd == pytest.approx(result.assd, abs=1e-6)
    assert swapped.hd == pytest.approx(1.0, abs=0.002)
    # Without the rule the caps' centres are 10 mm from the bone's wall.
    assert surface_distances(capped, bone).hd > 9.0


def test_caps_up_to_half_a_voxel_off_the_face_do_not_count_either() -> None:
    bone, capped = cylinder(10.0, -100.0, 100.0), cylinder(11.0, -19.6, 20.3)
    assert surface_distances(capped, bone, VIEW.bounds).hd == pytest.approx(1.0, abs=0.002)
    assert surface_distances(bone, capped, VIEW.bounds).hd == pytest.approx(1.0, abs=0.1)


def test_a_true_flat_end_inside_the_box_counts() -> None:
    """A reconstruction that stops 6 mm short is 6 mm wrong there."""
    short, bone = cylinder(10.0, -100.0, 12.0), cylinder(10.0, -100.0, 100.0)
    result = surface_distances(short, bone, VIEW.bounds)
    # Its end's centre is 10 mm from the wall, and the bone's wall at the margin (z = 19) is 7 mm from that end.
    assert result.hd == pytest.approx(10.0, abs=0.01)
    assert surface_distances(bone, short, VIEW.bounds).mean_a_to_b > 0.5


def test_only_faces_along_the_box_count_as_cut() -> None:
    capped = cylinder(11.0, -20.0, 20.0)
    cut = cut_faces(capped, VIEW.bounds)
    assert capped.triangle_areas[cut].sum() == pytest.approx(2 * np.pi * 121, rel=1e-3)
    open_tube = without_cut_faces(capped, VIEW.bounds)
    assert not open_tube.is_closed()
    assert open_tube.area == pytest.approx(2 * np.pi * 11 * 40, rel=1e-3)
    assert without_cut_faces(capped, everywhere()) is capped


def test_nothing_inside_the_box_is_refused() -> None:
    with pytest.raises(EmptySurface, match="first surface"):
        surface_distances(cylinder(3.0, 50.0, 60.0), cylinder(3.0, -5.0, 5.0), VIEW.bounds)


def test_a_reference_cut_inside_the_view_is_scored_up_to_its_extent() -> None:
    """The reference ends at z = 12; the reconstruction, 1 mm thicker, rightly goes on to the field of view."""
    reference, capped = {"femur": cylinder(10.0, -30.0, 12.0)}, {"femur": cylinder(11.0, -20.0, 20.0)}
    plain = compare(capped, reference, VIEW)["femur"]
    stated = compare(capped, reference, VIEW, {"femur": (None, 12.0)})["femur"]
    assert plain.exact_hd_mm is not None and plain.exact_hd_mm > 6.0
    assert stated.exact_hd_mm == pytest.approx(1.0, abs=0.002)
    assert stated.exact_assd_mm == pytest.approx(1.0, abs=0.002)
    # Volumes from z = -20 to 12: areas pi 100 and pi 121, one inside the other.
    assert stated.dice == pytest.approx(2 * 100 / 221, abs=0.003)


def test_scoring_box_takes_the_narrower_limit() -> None:
    np.testing.assert_array_equal(scoring_box(None), everywhere())
    box = scoring_box(VIEW.bounds, (-5.0, 90.0))
    np.testing.assert_array_equal(box, [[-20, -20, -5], [20, 20, 20]])
    np.testing.assert_array_equal(scoring_box(None, (None, 7.0))[:, 2], [-np.inf, 7.0])


def test_flat_ends_of_cut_shafts_are_found_and_whole_bones_have_none(shared_data: Path) -> None:
    legs = shared_data / "legs"
    assert flat_shaft_end(read_surface(legs / "TLEM2_CT_R" / "femur.ply"), "femur") is None
    assert flat_shaft_end(read_surface(legs / "TLEM2_CT_R" / "tibia.ply"), "tibia") is None
    femur, tibia = (read_surface(legs / "SPL_atlas_L" / f"{name}.ply") for name in ("femur", "tibia"))
    top, bottom = flat_shaft_end(femur, "femur"), flat_shaft_end(tibia, "tibia")
    # These shafts end flat at z = 73.7 and -45.4 mm, tilted by up to 2 mm.
    assert top is not None and 70.0 < top < 73.7
    assert bottom is not None and -45.4 < bottom < -42.0
    assert flat_shaft_end(read_surface(legs / "SPL_atlas_L" / "patella.ply"), "patella") is None


def test_flat_end_of_a_tilted_cut() -> None:
    shaft = cylinder(12.0, -60.0, 50.0)
    assert flat_shaft_end(shaft, "femur") == pytest.approx(50.0)
    assert flat_shaft_end(shaft, "tibia") == pytest.approx(-60.0)
    dome = trimesh.creation.capsule(height=60.0, radius=12.0)
    assert flat_shaft_end(Surface(dome.vertices, dome.faces), "femur") is None
    assert flat_shaft_end(Surface.empty(), "femur") is None
