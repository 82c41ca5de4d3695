"""Random rigs, radiographs, points and labels of training cases, and the store that holds them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_cases import knee_surfaces, write_knee_case

from SSRKDCore.anatomy import BONE_NAMES, lateral_direction
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.exact_distances import DistanceToSurface
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.grid import Grid
from SSRKDCore.json_files import read_json
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface, write_surface
from SSRKDCore.training import make_samples
from SSRKDCore.training.case_volume import CaseVolume, block_means, bone_shadow, load_case_volume
from SSRKDCore.training.changed_images import known_bone
from SSRKDCore.training.make_samples import main, prepare_samples, samples_of_case
from SSRKDCore.training.point_sampling import BoneLabels, PointCounts, labelled_points, unlabelled_points
from SSRKDCore.training.random_rigs import RandomRig, RigRanges, random_rig
from SSRKDCore.training.sample_settings import SampleSettings
from SSRKDCore.training.sample_store import UNKNOWN_LABEL, CaseSample, SampleStore, sample_file_name, write_case_samples

SMALL = SampleSettings(
    seed=5,
    rigs=2,
    image_size=48,
    rays=1,
    points=PointCounts(near=400, uniform=300),
    rig_ranges=RigRanges(cut_share=0.0),
)
EVERYWHERE = (-np.inf, np.inf)


@pytest.fixture(scope="module")
def case_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_knee_case(tmp_path_factory.mktemp("cases") / "right-knee")


@pytest.fixture(scope="module")
def volume(case_folder: Path) -> CaseVolume:
    return load_case_volume(case_folder)


def separation(rig: RandomRig) -> float:
    """Angle in degrees between the lines from the two sources to the middle of the cube."""
    first, second = (np.array(rig.cube.center) - np.array(view.source) for view in rig.views)
    cosine = abs(first @ second) / np.linalg.norm(first) / np.linalg.norm(second)
    return float(np.degrees(np.arccos(min(1.0, cosine))))


def test_random_rigs_see_their_cube_and_stay_in_their_ranges() -> None:
    generator, ranges, center = np.random.default_rng(1), RigRanges(), (3.0, -8.0, 40.0)
    rigs = [random_rig(generator, ranges, 64, center) for _ in range(300)]
    for rig in rigs:
        assert ranges.field_of_view[0] <= rig.cube.size <= ranges.field_of_view[1]
        assert (np.abs(np.array(rig.cube.center) - center) <= 2.5 * np.array(ranges.offset)).all()
        for view in rig.views:
            pixels, depth = view.project(rig.cube.corners)
            assert depth.min() > 0 and pixels.min() >= -0.5 - 1e-6 and pixels.max() <= 63.5 + 1e-6
            assert 1.04 < view.magnification(rig.cube.center) < 2.1
            assert view.row_direction[2] < -0.9
        assert np.argmax(np.abs(rig.views[0].normal[:2])) == 1 or separation(rig) < 80
    for view in range(2):
        # Either way through the leg, about as often.
        towards = [np.sign(rig.views[view].normal[1 - view]) for rig in rigs if separation(rig) > 80]
        assert 0.35 < np.mean(np.array(towards) > 0) < 0.65


def test_most_rigs_have_views_at_right_angles_and_some_go_down_to_thirty_degrees() -> None:
    generator = np.random.default_rng(2)
    angles = np.array([separation(random_rig(generator, RigRanges(), 64, (0, 0, 0))) for _ in range(600)])
    assert 0.6 < (angles > 75).mean() < 0.9
    assert angles.min() > 15 and (angles < 45).sum() > 10
    assert all(separation(random_rig(generator, RigRanges(narrow_share=0.0), 64, (0, 0, 0))) > 65 for _ in range(100))


def test_the_same_generator_gives_the_same_rig() -> None:
    first, second = (random_rig(np.random.default_rng([7, 1]), RigRanges(), 64, (0, 0, 0)) for _ in range(2))
    assert first == second
    assert first != random_rig(np.random.default_rng([7, 2]), RigRanges(), 64, (0, 0, 0))


def test_shadows_of_bone_are_where_radiographs_are_dense(volume: CaseVolume) -> None:
    assert volume.bones is not None
    rig = random_rig(np.random.default_rng(0), SMALL.rig_ranges, 96, volume.center)
    images = volume.radiographs(rig, rays=2)
    for image, view in zip(images, rig.views, strict=True):
        mask = bone_shadow(volume.bones, volume.grid.bounds, view)
        rows, columns = np.nonzero(mask)
        beside = np.zeros_like(mask)
        beside[rows, np.clip(columns + 14, 0, 95)] = 1
        assert 0.1 < mask.mean() < 0.6
        assert image[mask == 1].mean() > 1.2 * image[(mask == 0) & (beside == 1)].mean()


def test_the_shadow_is_the_set_of_rays_that_meet_a_bone(volume: CaseVolume) -> None:
    from vtkmodules.vtkFiltersGeneral import vtkOBBTree

    assert volume.bones is not None
    view = random_rig(np.random.default_rng(4), SMALL.rig_ranges, 24, volume.center).views[1]
    mask = bone_shadow(volume.bones, volume.grid.bounds + np.array([[-100.0], [100.0]]), view)
    met = np.zeros_like(mask)
    for surface in volume.bones.values():
        tree = vtkOBBTree()
        tree.SetDataSet(surface.to_vtk())
        tree.BuildLocator()
        for row, column in np.ndindex(mask.shape):
            end = view.pixel_position(row, column)
            met[row, column] |= tree.IntersectWithLine(view.source, tuple(end), None, None) != 0
    assert (mask == met).mean() > 0.995 and 0 < met.mean() < 1


def test_labels_agree_with_exact_distances(volume: CaseVolume) -> None:
    assert volume.bones is not None
    inside, cube = BoneLabels(volume.bones, volume.grid.bounds), FieldOfView((0, 0, 0), 120.0)
    points, labels, near = labelled_points(
        volume.bones, inside, cube, volume.grid.bounds, EVERYWHERE, PointCounts(600, 600), np.random.default_rng(0)
    )
    exact = np.stack([DistanceToSurface(volume.bones[n]).signed(points.astype(np.float64)) for n in BONE_NAMES], axis=1)
    expected = np.where(exact.min(axis=1) < 0, exact.argmin(axis=1) + 1, 0)
    # Voxels of 0.7 mm interpolated: wrong labels lie in the skin where the interpolation is in doubt.
    assert np.abs(exact[labels != expected]).min(axis=1, initial=np.inf).max(initial=0.0) < 0.15
    assert (labels != expected).mean() < 0.03
    distances = np.abs(exact).min(axis=1)
    assert near == 600 and distances[:near].max() <= 3.0 + 1e-3
    assert 0.45 < (distances[:near] <= 0.8).mean() < 0.8
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4}
    share = np.bincount(exact[:near][:, :].__abs__().argmin(axis=1), minlength=4) / near
    assert (share > 0.2).all()
    assert (np.abs(points) <= 60 + 1e-4).all()


def test_points_and_labels_project_onto_the_radiographs(volume: CaseVolume) -> None:
    for sample in samples_of_case(volume, replace(SMALL, points=PointCounts(100, 5000))):
        assert sample.bone_masks is not None
        inside = (sample.labels > 0) & (np.arange(len(sample.labels)) >= sample.near)
        for mask, matrix in zip(sample.bone_masks, sample.projections, strict=True):
            homogeneous = sample.points @ matrix[:, :3].T + matrix[:, 3]
            pixels = np.rint(homogeneous[:, :2] / homogeneous[:, 2:]).astype(int).clip(0, 47)
            # A point in a bone lies in the bones' shadow, but for a rounded pixel at its rim.
            assert mask[pixels[inside, 0], pixels[inside, 1]].mean() > 0.9


@pytest.mark.parametrize("side", ["right", "left"])
def test_sides_are_not_mixed_up(side: str, tmp_path: Path) -> None:
    volume = load_case_volume(write_knee_case(tmp_path / side, side=side))
    assert volume.bones is not None
    lateral = lateral_direction(side)
    for sample in samples_of_case(volume, replace(SMALL, rig_ranges=RigRanges(cut_share=0.0, narrow_share=0.0))):
        fibula, tibia = (sample.points[sample.labels == label].mean(axis=0) for label in (3, 4))
        assert lateral * (fibula[0] - tibia[0]) > 15 and fibula[1] > tibia[1]
        columns = []
        for point in (fibula, tibia):
            row, column, depth = sample.projections[0] @ np.array([*point, 1.0])
            columns.append(column / depth)
        # An AP image shows the patient's left on its right, from either side.
        assert lateral * (columns[0] - columns[1]) > 0
        # Bone lies low in the image where it lies low in the leg.
        row, _, depth = sample.projections[0] @ np.array([*sample.points[sample.labels == 2].mean(axis=0), 1.0])
        low, _, low_depth = sample.projections[0] @ np.array([*tibia, 1.0])
        assert row / depth < low / low_depth


def test_a_cut_ct_ends_in_radiograph_mask_and_labels_alike(volume: CaseVolume) -> None:
    assert volume.bones is not None
    whole = random_rig(np.random.default_rng(3), replace(SMALL.rig_ranges, tilt=0.0), 96, volume.center)
    rig = replace(whole, cut=(-40.0, 31.0))
    box = volume.scanned_box(rig.cut)
    assert box[0, 2] >= -42 and box[1, 2] <= 33
    image = volume.radiographs(rig)[0]
    mask = bone_shadow(volume.bones, box, rig.views[0])
    above = rig.views[0].project([[0.0, 0.0, z] for z in (50.0, 15.0, -25.0, -58.0)])[0].round().astype(int)
    lit = [image[row, column] > 0 for row, column in above]
    assert lit == [False, True, True, False]
    assert [bool(mask[row, column]) for row, column in above] == lit
    points, labels, near = labelled_points(
        volume.bones, BoneLabels(volume.bones, volume.grid.bounds), FieldOfView((0, 0, 0), 120.0), box, EVERYWHERE,
        PointCounts(500, 4000), np.random.default_rng(0),
    )  # fmt: skip
    beyond = (points[:, 2] > box[1, 2]) | (points[:, 2] < box[0, 2])
    assert beyond.sum() > 200 and (labels[beyond] == 0).all() and (labels[~beyond] > 0).any()
    # The cut itself is seen: more points lie near it than chance would put there.
    assert (np.abs(points[near:, 2] - box[1, 2]) < 3).mean() > 1.5 * 6 / 120


def test_samples_say_how_much_of_the_ct_their_rig_sees(volume: CaseVolume) -> None:
    short = replace(SMALL, rigs=4, rig_ranges=replace(SMALL.rig_ranges, cut_share=1.0, cut_distance=(40.0, 60.0)))
    for sample in samples_of_case(volume, short):
        low, high = sample.scanned
        assert -84 <= low < high <= 84 and (low > -62 or high < 62)
        beyond = (sample.points[:, 2] < low) | (sample.points[:, 2] > high)
        assert beyond.any() and (sample.labels[beyond] == 0).all()


def test_cuts_occur_in_the_stated_share_of_rigs() -> None:
    generator = np.random.default_rng(8)
    cuts = [random_rig(generator, RigRanges(cut_share=0.4), 32, (0, 0, 100.0)).cut for _ in range(400)]
    cut = np.isfinite(cuts)
    assert 0.3 < cut.any(axis=1).mean() < 0.5 and cut.all(axis=1).sum() > 20
    assert all(low <= 60.0 and high >= 140.0 for low, high in cuts)


def test_unknown_heights_have_no_label(tmp_path: Path) -> None:
    extent = {"femur": (-100.0, 45.0), "tibia": (-50.0, 100.0)}
    volume = load_case_volume(write_knee_case(tmp_path / "case", extent=extent))
    assert volume.known_heights == (-50.0, 45.0)
    sample = samples_of_case(volume, SMALL)[0]
    unknown = (sample.points[:, 2] < -50) | (sample.points[:, 2] > 45)
    scanned = np.abs(sample.points[:, 2]) < 84
    assert (unknown & scanned).any() and (sample.labels[unknown & scanned] == UNKNOWN_LABEL).all()
    assert (sample.labels[~unknown] != UNKNOWN_LABEL).all()


def test_bone_beyond_where_the_reference_is_known_is_not_taught_as_none(volume: CaseVolume, tmp_path: Path) -> None:
    extent = {"femur": (-84.0, 31.0), "tibia": (-31.0, 84.0), "fibula": (-31.0, 84.0)}
    folder = write_knee_case(tmp_path / "in-part", id=volume.case.id, extent=extent)
    for name, (low, high) in {"femur": (-99, 35), "tibia": (-35, 99), "fibula": (-35, 99)}.items():
        surface = read_surface(folder / f"{name}.ply")
        vertices = surface.vertices.copy()
        vertices[:, 2] = vertices[:, 2].clip(low, high)
        write_surface(folder / f"{name}.ply", Surface(vertices, surface.faces))
    for whole, part in zip(
        samples_of_case(volume, SMALL), samples_of_case(load_case_volume(folder), SMALL), strict=True
    ):
        assert whole.bone_masks is not None and part.bone_masks is not None
        bone, known = whole.bone_masks == 1, part.bone_masks != UNKNOWN_LABEL
        assert (part.bone_masks[known] == whole.bone_masks[known]).all()
        # About the joint all is known; most of the shafts is not.
        assert (bone & known).any() and (bone & ~known).sum() > 0.2 * bone.sum()
        assert set(np.unique(whole.bone_masks)) == {0, 1}
        assert known_bone(whole, slice(None)) is not None and known_bone(part, slice(None)) is None


def test_unlabelled_points_lie_about_dense_matter(volume: CaseVolume) -> None:
    cube = FieldOfView((0, 0, 0), 120.0)
    points, labels, near = unlabelled_points(
        volume.hounsfield, volume.grid, cube, volume.grid.bounds, PointCounts(400, 300), np.random.default_rng(0)
    )
    assert near == 400 and len(points) == 700 and (labels == UNKNOWN_LABEL).all()
    assert (np.abs(points) <= 60 + 1e-4).all()
    distances = np.min(
        [np.abs(DistanceToSurface(surface).signed(points.astype(np.float64))) for surface in knee_surfaces().values()],
        axis=0,
    )
    # Voxels of 3 mm here: within two of them of a bone's surface, where points at large are seldom.
    assert (distances[:near] < 6).mean() > 0.9 and (distances[near:] < 6).mean() < 0.5


def test_label_maps_serve_as_well_as_surfaces(volume: CaseVolume, tmp_path: Path) -> None:
    other = load_case_volume(write_knee_case(tmp_path / "mapped", reference="segmentation"))
    assert volume.bones is not None and other.bones is not None
    for name in BONE_NAMES:
        inside = np.abs(other.bones[name].vertices[:, 2]) < 70
        distance = DistanceToSurface(volume.bones[name]).signed(other.bones[name].vertices[inside])
        assert np.abs(distance).mean() < 0.2 and np.abs(distance).max() < 2.0


def test_fine_voxels_are_averaged_in_blocks() -> None:
    values = np.arange(6 * 4 * 4, dtype=np.float32).reshape(6, 4, 4)
    means, grid = block_means(values, Grid((10.0, 20.0, 30.0), (0.45, 0.45, 0.9), (6, 4, 4)), 0.9)
    assert grid.shape == (6, 2, 2) and grid.spacing == (0.9, 0.9, 0.9)
    assert np.allclose(grid.origin, (10.225, 20.225, 30.0))
    assert means[0, 0, 0] == pytest.approx(values[0, :2, :2].mean())
    same, unchanged = block_means(values, Grid((0, 0, 0), (0.9, 0.9, 0.9), (6, 4, 4)), 0.9)
    assert same is values and unchanged.shape == (6, 4, 4)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("several")
    made = [write_knee_case(root / f"case{n}", side=("right", "left")[n % 2], size=0.9 + 0.05 * n) for n in range(3)]
    return [*made, write_knee_case(root / "case3", reference=None)]


@pytest.fixture(scope="module")
def store(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    return prepare_samples(folders, tmp_path_factory.mktemp("store"), SMALL)


def arrays_of(sample: CaseSample) -> list[np.ndarray]:
    return [sample.images, sample.projections, sample.cube, sample.points, sample.labels, sample.scanned]


def test_a_store_holds_what_was_made(store: SampleStore, folders: list[Path]) -> None:
    assert store.case_ids == ["case0", "case1", "case2", "case3"] and store.labelled == [True, True, True, False]
    assert len(store) == 4 and store.rigs_per_case == 2
    volume = load_case_volume(folders[1])
    for index, made in enumerate(samples_of_case(volume, SMALL)):
        sample = store.read(1, index)
        assert all(np.array_equal(a, b) for a, b in zip(arrays_of(sample), arrays_of(made), strict=True))
        assert sample.images.dtype == np.float16 and sample.points.dtype == np.float32
        assert sample.labels.dtype == np.uint8 and sample.near == made.near == 400 and sample.rig_index == index
        assert sample.bone_masks is not None and sample.bone_masks.shape == (2, 48, 48)
        assert sample.teacher_logits is None
    unlabelled = store.read(3, 0)
    assert unlabelled.bone_masks is None and (unlabelled.labels == UNKNOWN_LABEL).all()
    assert not np.array_equal(store.read(0, 0).cube, store.read(0, 1).cube)
    with pytest.raises(IndexError):
        store.read(0, 2)


def test_samples_do_not_depend_on_order_company_or_workers(
    store: SampleStore, folders: list[Path], tmp_path: Path
) -> None:
    # Two processes of their own.
    other = prepare_samples([folders[3], folders[1]], tmp_path / "store", SMALL, workers=2)
    assert other.case_ids == ["case3", "case1"]
    for index, original in ((0, 3), (1, 1)):
        pair = other.read(index, 1), store.read(original, 1)
        assert all(np.array_equal(a, b) for a, b in zip(*(arrays_of(sample) for sample in pair), strict=True))


def test_references_of_cases_used_as_unlabelled_are_not_looked_at(folders: list[Path], tmp_path: Path) -> None:
    store = prepare_samples(folders[:1], tmp_path / "store", SMALL, unlabelled=folders[1:2])
    assert store.labelled == [True, False]
    assert (store.read(1, 0).labels == UNKNOWN_LABEL).all() and store.read(1, 0).bone_masks is None


def test_a_stopped_run_goes_on_and_finished_cases_are_kept(folders: list[Path], tmp_path: Path) -> None:
    out, asked = tmp_path / "store", []

    def after_two() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(Cancelled):
        prepare_samples(folders, out, SMALL, cancelled=after_two)
    made = {path.name: path.stat().st_mtime_ns for path in out.glob("*.npz")}
    assert len(made) == 2 and not (out / "samples.json").exists()
    with pytest.raises(InputError, match="make the samples"):
        SampleStore(out)
    store = prepare_samples(folders, out, SMALL)
    assert len(store) == 4
    assert all((out / name).stat().st_mtime_ns == time for name, time in made.items())


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no SIGKILL")
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    for index in range(4):
        write_knee_case(tmp_path / "cases" / f"knee{index}")
    words = ["--cases", str(tmp_path / "cases"), "--out", str(tmp_path / "store"), "--workers", "2", "--rigs", "12"]
    command = [sys.executable, "-m", "SSRKDCore.training.make_samples", *words, "--image-size", "64"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("store/*.npz")) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        process.kill()
        # The workers hold the other end of this pipe: it closes because they end.
        process.communicate(timeout=30)
    assert len(list(tmp_path.glob("store/*.npz"))) < 4


def test_progress_runs_from_start_to_end(folders: list[Path], tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    prepare_samples(folders[3:], tmp_path / "store", SMALL, progress=lambda *words: told.append(words))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and told[-1][1] == "1 of 1 cases"


def test_changed_and_damaged_cases_are_made_again(tmp_path: Path) -> None:
    folder, out = write_knee_case(tmp_path / "case"), tmp_path / "store"
    store = prepare_samples([folder], out, SMALL)
    file = out / sample_file_name("case")
    before, fingerprint = store.read(0, 0), store.fingerprint
    file.write_bytes(file.read_bytes()[:-500])
    store = prepare_samples([folder], out, SMALL)
    assert np.array_equal(store.read(0, 0).images, before.images) and store.fingerprint == fingerprint
    for name in ("femur", "tibia"):
        (folder / f"{name}.ply").unlink()
    for name, surface in knee_surfaces(size=0.97).items():
        write_surface(folder / f"{name}.ply", surface)
    store = prepare_samples([folder], out, SMALL)
    assert store.fingerprint != fingerprint and not np.array_equal(store.read(0, 0).labels, before.labels)
    before, fingerprint = store.read(0, 0), store.fingerprint
    for name in BONE_NAMES:  # Moved by a registration that was mended: the files are as large as before.
        surface = read_surface(folder / f"{name}.ply")
        write_surface(folder / f"{name}.ply", Surface(surface.vertices + np.array([3.0, 0.0, 0.0]), surface.faces))
    store = prepare_samples([folder], out, SMALL)
    assert store.fingerprint != fingerprint and not np.array_equal(store.read(0, 0).points, before.points)


def test_other_settings_are_refused(folders: list[Path], store: SampleStore) -> None:
    with pytest.raises(InputError, match="another rays, rig_ranges"):
        prepare_samples(folders, store.folder, replace(SMALL, rays=2, rig_ranges=RigRanges()))


def test_settings_read_and_refuse_changes() -> None:
    changed = SMALL.changed({"rigs": 3, "points": {"near": 10}, "rig_ranges": {"field_of_view": [100, 120]}})
    assert changed.rigs == 3 and changed.points == PointCounts(10, 300) and changed.seed == 5
    assert changed.rig_ranges.field_of_view == (100.0, 120.0)
    assert SampleSettings().changed(SMALL.to_dict()) == SMALL
    for wrong in ({"rig": 3}, {"rigs": 2.5}, {"points": {"far": 1}}, {"rig_ranges": {"offset": [1, 2]}}, {"rigs": 0}):
        with pytest.raises(InputError):
            SMALL.changed(wrong)


def test_bad_cases_are_named_and_skipped(folders: list[Path], tmp_path: Path) -> None:
    bad = write_knee_case(tmp_path / "truncated")
    ct = bad / "ct.nrrd"
    ct.write_bytes(ct.read_bytes()[: ct.stat().st_size // 2])
    store = prepare_samples([folders[0], bad, folders[1], folders[2]], tmp_path / "store", SMALL)
    assert store.case_ids == ["case0", "case1", "case2"]
    (skipped,) = read_json(store.folder / "skipped.json", "the skipped cases")["skipped"]
    assert skipped["case"] == str(bad) and "truncated" in skipped["problem"] and "damaged" in skipped["problem"]


def test_a_full_disk_is_no_problem_of_a_case(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, samples: object, record: object) -> None:
        if path.name.startswith("case2"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_case_samples(path, samples, record)

    monkeypatch.setattr(make_samples, "write_case_samples", full)
    with pytest.raises(InputError, match=r"store cannot be written \(No space left on device\): free some space"):
        prepare_samples(folders, tmp_path / "store", SMALL)
    assert not (tmp_path / "store" / "samples.json").exists()


def test_too_many_bad_cases_are_refused(folders: list[Path], tmp_path: Path) -> None:
    bad = [tmp_path / "no-case-1", tmp_path / "no-case-2"]
    with pytest.raises(InputError, match=r"2 of 5 cases cannot be trained on; the first: .*no-case-1"):
        prepare_samples([*folders[:3], *bad], tmp_path / "store", SMALL)
    assert not (tmp_path / "store").exists()
    with pytest.raises(InputError, match="no cases"):
        prepare_samples([], tmp_path / "store", SMALL)


def test_teacher_outputs_belong_to_points(folders: list[Path], tmp_path: Path) -> None:
    store = prepare_samples(folders[:1], tmp_path / "store", SMALL)
    generator = np.random.default_rng(0)
    outputs = {
        rig: {"logits": generator.normal(size=(700, 5)), "features": generator.normal(size=(50, 64)),
              "index": generator.choice(700, 50, replace=False)}
        for rig in range(2)
    }  # fmt: skip
    assert store.teacher_name(0) is None
    store.write_teacher(0, outputs, "teacher-1")
    assert store.teacher_name(0) == "teacher-1"
    sample = SampleStore(store.folder).read(0, 1)
    assert sample.teacher_logits is not None and sample.teacher_features is not None
    assert np.allclose(sample.teacher_logits, outputs[1]["logits"], atol=0.01)
    assert sample.teacher_features.shape == (50, 64) and np.array_equal(sample.teacher_index, outputs[1]["index"])
    assert store.read(0, 1, teacher=False).teacher_logits is None
    with pytest.raises(ValueError, match="do not fit 700 points"):
        store.write_teacher(0, {rig: {**outputs[rig], "logits": np.zeros((699, 5))} for rig in range(2)})
    with pytest.raises(ValueError, match="rigs"):
        store.write_teacher(0, {0: outputs[0]})
    # Samples that are made again are other points: what a teacher said of the old ones goes.
    (store.folder / sample_file_name("case0")).unlink()
    assert prepare_samples(folders[:1], store.folder, SMALL).read(0, 0).teacher_logits is None


def test_damaged_stores_are_refused_by_name(folders: list[Path], tmp_path: Path) -> None:
    store = prepare_samples(folders[:1], tmp_path / "store", SMALL)
    (store.folder / sample_file_name("case0")).write_bytes(b"PK")
    with pytest.raises(InputError, match="case0"):
        store.read(0, 0)
    (store.folder / "samples.json").write_text('{"schema": "ssrkd-samples/1", "settings": {}}')
    with pytest.raises(InputError, match="damaged"):
        SampleStore(store.folder)
    (store.folder / "samples.json").write_text('{"schema": "other"}')
    with pytest.raises(InputError, match="schema"):
        SampleStore(store.folder)


def test_the_module_is_a_command(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(cases: Path) -> None:
        words = [
            "make_samples",
            "--cases",
            str(cases),
            "--out",
            str(tmp_path / "store"),
            "--rigs",
            "1",
            "--image-size",
            "32",
        ]
        monkeypatch.setattr(sys, "argv", words)
        main()

    call(folders[3])
    assert SampleStore(tmp_path / "store").rigs_per_case == 1
    assert "1 cases, 0 of them labelled" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        call(tmp_path)
    assert ended.value.code == 2 and "holds no case" in capsys.readouterr().err
