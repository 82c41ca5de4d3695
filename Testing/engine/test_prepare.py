"""`ssrkd prepare`: a user's CT as a case, and each mistake named before anything is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from toy_scans import VOXEL_MM, Scan, both_legs, prepared, refused, run, scan_of, write_series

from SSRKDCore.anatomy import BONE_NAMES, bone, lateral_direction
from SSRKDCore.cases import Case, load_case
from SSRKDCore.drr.volume_reader import read_ct
from SSRKDCore.evaluation.evaluation_run import scored_folders
from SSRKDCore.evaluation.exact_distances import surface_distances
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.segmentation_files import read_segmentation, write_segmentation
from SSRKDCore.surface_files import read_surface


@pytest.fixture
def right() -> Scan:
    return scan_of("right")


@pytest.fixture
def left() -> Scan:
    return scan_of("left")


@pytest.fixture
def both() -> Scan:
    return both_legs()


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_labelled_ct_becomes_a_case(side: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    scan: Scan = request.getfixturevalue(side)
    ct, segmentation = scan.write(tmp_path)
    case, result = prepared(tmp_path / "Fall 1", ct, segmentation)
    assert case.side == side and case.id == "Fall 1" and result["reference"] == list(BONE_NAMES)
    assert isinstance(case.reference, dict)
    hounsfield, grid, _ = read_ct(tmp_path / "Fall 1" / "ct.nrrd")
    corner = np.rint(scan.grid.indices(np.array(grid.origin))).astype(int)
    kept = tuple(slice(first, first + count) for first, count in zip(corner, grid.shape, strict=True))
    np.testing.assert_array_equal(hounsfield, scan.hounsfield[kept])
    labels, label_grid, names = read_segmentation(tmp_path / "Fall 1" / "reference.seg.nrrd")
    assert label_grid == grid and names == list(BONE_NAMES)
    np.testing.assert_array_equal(labels, scan.labels[kept])
    for name, path in case.reference.items():
        found = read_surface(path)
        assert found.is_closed() and found.volume > 0
        # The truth reaches beyond the scan: compared where both are.
        box = np.array([[-np.inf, -np.inf, -120.0], [np.inf, np.inf, 120.0]])
        assert surface_distances(found, scan.bones[name], box).assd < 0.2 * VOXEL_MM
    assert abs(np.array(case.rig.field_of_view.center)[2]) < 15


def test_a_preset_looks_from_the_medial_side(left: Scan, tmp_path: Path) -> None:
    result = run(*left.write(tmp_path), "--out", tmp_path / "case", "--rig", "paper")
    case = load_case(tmp_path / "case")
    assert case.rig.view("lateral").normal[0] == pytest.approx(lateral_direction("left"))
    assert case.rig.field_of_view.center == tuple(result["field_of_view_center"])
    for name, path in case.radiographs.items():
        radiograph = read_radiograph(path)
        assert (radiograph.view, radiograph.side) == (name, "left") and radiograph.pixels.max() > 2.0


def test_bones_that_the_scan_cuts_are_known_up_to_the_cut(right: Scan, tmp_path: Path) -> None:
    case, _ = prepared(tmp_path / "case", *right.write(tmp_path))
    low, high = right.grid.bounds[:, 2]
    assert set(case.reference_extent) == {"femur", "tibia", "fibula"}
    for name, (bottom, top) in case.reference_extent.items():
        cut, other = (top - high, bottom - low) if name == "femur" else (low - bottom, high - top)
        assert -3 * VOXEL_MM < cut < -VOXEL_MM and abs(other) < VOXEL_MM


def test_a_bone_segmented_only_in_part_is_known_up_to_there(right: Scan, tmp_path: Path) -> None:
    z = right.grid.axes[2]
    labels = right.labels.copy()
    labels[(labels == bone("femur").label) & (z > 80.0)[:, None, None]] = 0
    case, _ = prepared(tmp_path / "case", *replace(right, labels=labels).write(tmp_path))
    assert 80.0 - 4 * VOXEL_MM < case.reference_extent["femur"][1] < 80.0


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
def test_other_volume_files_give_the_same_case(suffix: str, right: Scan, tmp_path: Path) -> None:
    ct, segmentation = right.write(tmp_path)
    SimpleITK.WriteImage(right.image(), str(tmp_path / f"other{suffix}"))
    first, _ = prepared(tmp_path / "first", ct, segmentation)
    other, _ = prepared(tmp_path / "other", tmp_path / f"other{suffix}", segmentation)
    assert_same_voxels(first, other)


def assert_same_voxels(first: Case, other: Case) -> None:
    values, grid, _ = read_ct(first.ct or "")
    others, other_grid, _ = read_ct(other.ct or "")
    np.testing.assert_array_equal(values, others)
    np.testing.assert_allclose(grid.bounds, other_grid.bounds, atol=1e-3)


def test_a_dicom_folder_gives_the_same_case(right: Scan, tmp_path: Path) -> None:
    ct, segmentation = right.write(tmp_path)
    write_series(tmp_path / "dicom" / "deep inside", right, 2, "Knie 1,0 B60f")
    write_series(tmp_path / "dicom" / "scout", right, 1, "Topogramm", "LOCALIZER", step=8)
    first, _ = prepared(tmp_path / "first", ct, segmentation)
    other, result = prepared(tmp_path / "other", tmp_path / "dicom", segmentation)
    assert_same_voxels(first, other)
    assert any("Knie 1,0 B60f" in words for words in result["warnings"])


def test_several_series_are_refused_by_name_unless_one_is_chosen(right: Scan, tmp_path: Path) -> None:
    soft = replace(right, hounsfield=(right.hounsfield + 1).astype(np.int16))
    write_series(tmp_path / "dicom", right, 2, "Bone")
    write_series(tmp_path / "dicom", soft, 3, "Soft tissue")
    words = (tmp_path / "dicom", "--side", "right")
    refused(tmp_path / "case", r"2 DICOM series: .*--series.*2 \('Bone', .*3 \('Soft tissue', ", *words)
    refused(tmp_path / "case", "no series 'Brain'.*'Bone'", *words, "--series", "Brain")
    for name, chosen in (("a", "3"), ("b", "Soft tissue"), ("c", "1.2.826.0.1.3680043.2.1125.3")):
        case, _ = prepared(tmp_path / name, *words, "--series", chosen)
        values, grid, _ = read_ct(case.ct or "")
        corner = np.rint(right.grid.indices(np.array(grid.origin))).astype(int)
        assert values[0, 0, 0] == soft.hounsfield[tuple(corner)]
    refused(tmp_path / "case", "leave out --series", right.write(tmp_path)[0], "--series", "2")


def test_a_series_with_a_gap_is_refused(right: Scan, tmp_path: Path) -> None:
    write_series(tmp_path / "dicom", right, 2, "Bone")
    (tmp_path / "dicom" / "2_0040.dcm").unlink()
    refused(tmp_path / "case", "Series 2 .*lacks slices", tmp_path / "dicom", "--side", "right")


def test_an_unlabelled_ct_has_no_reference(right: Scan, tmp_path: Path) -> None:
    ct, _ = right.write(tmp_path)
    refused(tmp_path / "case", "--side right or --side left", ct)
    case, result = prepared(tmp_path / "case", ct, "--side", "right")
    assert case.reference is None and case.reference_extent == {} and case.side == "right"
    assert not (tmp_path / "case" / "reference.seg.nrrd").exists()
    # An evaluation of the folder leaves it out.
    assert scored_folders([tmp_path / "case"]) == ([], 1)
    # Found by where the bone is, and said: the joint of this knee is at the origin.
    assert np.abs(case.rig.field_of_view.center).max() < 25
    assert any("state --center" in words for words in result["warnings"])
    stated, _ = prepared(tmp_path / "stated", ct, "--side", "right", "--center", "1", "2", "3", "--id", "P 7")
    assert stated.rig.field_of_view.center == (1.0, 2.0, 3.0) and stated.id == "P 7"


def test_two_legs_need_a_choice(both: Scan, right: Scan, tmp_path: Path) -> None:
    ct, segmentation = both.write(tmp_path)
    refused(tmp_path / "case", "two legs: choose one with --leg", ct)
    refused(tmp_path / "case", "two legs: choose one with --leg", ct, segmentation)
    refused(tmp_path / "case", "correct --center or --leg", ct, "--leg", "left", "--center", "0", "0", "0")
    refused(tmp_path / "case", "leave one of them out", ct, "--leg", "left", "--side", "right")
    for side in ("right", "left"):
        case, result = prepared(tmp_path / side, ct, segmentation, "--leg", side)
        assert case.side == side and len(result["reference"]) == 4
        assert isinstance(case.reference, dict)
        fibula, tibia = (read_surface(case.reference[name]).centroid[0] for name in ("fibula", "tibia"))
        assert (fibula - tibia) * lateral_direction(side) > 10
        hounsfield, _, _ = read_ct(case.ct or "")
        assert hounsfield.shape[2] < 0.6 * both.hounsfield.shape[2]
    # A segmentation of one of them, or a place in it, is a choice too.
    labels = both.labels.copy()
    labels[:, :, right.labels.shape[2] :] = 0
    write_segmentation(tmp_path / "one.seg.nrrd", labels, both.grid)
    case, _ = prepared(tmp_path / "one", ct, tmp_path / "one.seg.nrrd")
    assert case.side == "right"
    x = both.grid.axes[0][-right.labels.shape[2] // 2]
    case, _ = prepared(tmp_path / "there", ct, "--center", str(x), "0", "0")
    assert case.side == "left"


def rename_segments(path: Path, names: dict[str, str]) -> Path:
    """The same segmentation with other names and without codes."""
    image = SimpleITK.ReadImage(str(path))
    for index, name in enumerate(BONE_NAMES):
        for field, value in (("Name", names.get(name, name)), ("ID", names.get(name, name)), ("Tags", "")):
            image.SetMetaData(f"Segment{index}_{field}", value)
    SimpleITK.WriteImage(image, str(path))
    return path


def test_segments_can_be_named(right: Scan, tmp_path: Path) -> None:
    ct, segmentation = right.write(tmp_path)
    names = {name: f"Segment_{index}" for index, name in enumerate(BONE_NAMES, start=1)}
    rename_segments(segmentation, names)
    refused(tmp_path / "case", r"'Segment_1', 'Segment_2'.*--segments", ct, segmentation)
    refused(
        tmp_path / "case", "no segment 'Segment_9' for the femur", ct, segmentation, "--segments", "femur=Segment_9"
    )
    refused(tmp_path / "case", "--segments shin=Segment_1", ct, segmentation, "--segments", "shin=Segment_1")
    refused(tmp_path / "case", "none is given", ct, "--segments", "femur=Segment_1")
    given = [f"{name}={segment}" for name, segment in names.items()]
    case, result = prepared(tmp_path / "case", ct, segmentation, "--segments", *given)
    assert result["reference"] == list(BONE_NAMES) and case.provenance["segments"] == names
    image = SimpleITK.GetImageFromArray(right.labels.astype(np.float32) * 10)
    image.SetOrigin(right.grid.origin)
    image.SetSpacing(right.grid.spacing)
    SimpleITK.WriteImage(image, str(tmp_path / "map.nii.gz"))
    refused(tmp_path / "map", "--segments", ct, tmp_path / "map.nii.gz")
    values = [f"{name}={bone(name).label * 10}" for name in BONE_NAMES]
    other, _ = prepared(tmp_path / "map", ct, tmp_path / "map.nii.gz", "--segments", *values)
    assert isinstance(case.reference, dict) and isinstance(other.reference, dict)
    for name in BONE_NAMES:
        np.testing.assert_allclose(
            read_surface(other.reference[name]).vertices, read_surface(case.reference[name]).vertices, atol=1e-3
        )


def test_cartilage_is_no_bone_and_two_candidates_are_refused(right: Scan, tmp_path: Path) -> None:
    ct, segmentation = right.write(tmp_path)
    rename_segments(segmentation, {"fibula": "tibia cartilage"})
    _, result = prepared(tmp_path / "cartilage", ct, segmentation, "--side", "right")
    assert result["reference"] == ["patella", "femur", "tibia"]
    assert any("no fibula" in words for words in result["warnings"])
    rename_segments(segmentation, {"fibula": "left tibia", "tibia": "right tibia"})
    refused(tmp_path / "case", "'left tibia' and 'right tibia'", ct, segmentation)
    case, _ = prepared(tmp_path / "sides", ct, segmentation, "--side", "right")
    assert case.provenance["segments"]["tibia"] == "right tibia"
    rename_segments(segmentation, {name: f"{name} left" for name in BONE_NAMES})
    refused(tmp_path / "case", "named left", ct, segmentation, "--side", "right")


def test_small_loose_pieces_and_holes_are_mended_and_said(right: Scan, tmp_path: Path) -> None:
    labels = right.labels.copy()
    calf = np.rint(right.grid.indices(np.array([0.0, 45.0, -60.0]))).astype(int)
    labels[tuple(slice(k, k + 2) for k in calf)] = bone("tibia").label
    middle = np.rint(right.grid.indices(right.bones["patella"].centroid)).astype(int)
    labels[tuple(middle)] = 0
    write_segmentation(tmp_path / "mended.seg.nrrd", labels, right.grid)
    _, result = prepared(tmp_path / "case", right.write(tmp_path)[0], tmp_path / "mended.seg.nrrd")
    assert any("loose pieces of the tibia (8 voxels)" in words for words in result["warnings"])
    assert any("holes of the patella (1 voxels)" in words for words in result["warnings"])
    found, grid, _ = read_segmentation(tmp_path / "case" / "reference.seg.nrrd")
    corner = np.rint(right.grid.indices(np.array(grid.origin))).astype(int)
    kept = tuple(slice(first, first + count) for first, count in zip(corner, grid.shape, strict=True))
    np.testing.assert_array_equal(found, right.labels[kept])


def test_a_real_ct_of_two_legs(shared_data: Path, tmp_path: Path) -> None:
    """Joint lines of the README: about z = 488 mm right, 491 mm left."""
    ct = shared_data / "ct_vhf_shank" / "vhf_shank_ct.nrrd"
    refused(tmp_path / "case", "two legs", ct)
    whole, grid, _ = read_ct(ct)
    for side, joint in (("right", 488.0), ("left", 491.0)):
        case, _ = prepared(tmp_path / side, ct, "--leg", side)
        assert case.side == side and case.reference is None
        assert abs(case.rig.field_of_view.center[2] - joint) < 20
        values, kept, _ = read_ct(case.ct or "")
        corner = np.rint(grid.indices(np.array(kept.origin))).astype(int)
        part = tuple(slice(first, first + count) for first, count in zip(corner, kept.shape, strict=True))
        np.testing.assert_array_equal(values, np.maximum(whole[part], -1024))
        assert (kept.bounds[1, 0] < 256) == (side == "right")
