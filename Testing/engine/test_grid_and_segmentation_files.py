"""Grids, and label volumes as Slicer segmentations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from SSRKDCore.anatomy import BONES, bone, lateral_direction
from SSRKDCore.errors import InputError
from SSRKDCore.grid import Grid
from SSRKDCore.segmentation_files import read_segmentation, write_segmentation


def _labels() -> tuple[np.ndarray, Grid]:
    labels = np.zeros((7, 6, 5), dtype=np.uint8)
    labels[1, 2, 3] = 1
    labels[2:6, 1:3, 0] = 2
    labels[6, 5, 4] = 3
    labels[0, 0, 0] = 4
    return labels, Grid((10.0, -20.0, 30.0), (0.5, 1.0, 2.0), (7, 6, 5))


def test_the_four_bones() -> None:
    assert [(b.name, b.label, b.snomed_code) for b in BONES] == [
        ("patella", 1, "64234005"), ("femur", 2, "71341001"), ("fibula", 3, "87342007"), ("tibia", 4, "12611008"),
    ]  # fmt: skip
    assert lateral_direction("right") == -1.0 and lateral_direction("left") == 1.0


def test_grid_positions_and_indices() -> None:
    grid = Grid.cube((1.0, 2.0, 3.0), 8.0, 4)
    assert grid.spacing == (2.0, 2.0, 2.0) and grid.origin == (-2.0, -1.0, 0.0)
    assert grid.bounds.tolist() == [[-3, -2, -1], [5, 6, 7]]
    points = grid.points(np.array([0, 3]), np.array([1, 0]), np.array([2, 1]))
    assert points.tolist() == [[2, 1, 0], [0, -1, 6]]
    assert grid.indices(points).tolist() == [[0, 1, 2], [3, 0, 1]]
    assert [len(axis) for axis in Grid((0, 0, 0), (1, 1, 1), (7, 6, 5)).axes] == [5, 6, 7]
    for bad in (
        ((0, 0, 0), (1, 0, 1), (2, 2, 2)),
        ((0, 0, np.nan), (1, 1, 1), (2, 2, 2)),
        ((0, 0, 0), (1, 1, 1), (0, 2, 2)),
    ):
        with pytest.raises(ValueError, match="grid needs"):
            Grid(*bad)  # type: ignore[arg-type]


def test_a_segmentation_survives_a_file(tmp_path: Path) -> None:
    labels, grid = _labels()
    path = tmp_path / "Knie ü.seg.nrrd"
    write_segmentation(path, labels, grid, "left", {"model": "compact", "note": "äöü"})
    read, read_grid, names = read_segmentation(path)
    assert np.array_equal(read, labels) and read_grid == grid
    assert names == ["patella", "femur", "fibula", "tibia"]


def test_the_file_says_what_slicer_needs(tmp_path: Path) -> None:
    labels, grid = _labels()
    write_segmentation(tmp_path / "a.seg.nrrd", labels, grid, "right")
    image = sitk.ReadImage(str(tmp_path / "a.seg.nrrd"))
    assert image.TransformIndexToPhysicalPoint((3, 2, 1)) == pytest.approx((11.5, -18.0, 32.0))
    assert image[3, 2, 1] == 1
    assert image.GetMetaData("Segment1_Name") == "femur" and image.GetMetaData("Segment1_LabelValue") == "2"
    assert "SCT^71341001^Femur" in image.GetMetaData("Segment1_Tags") and "24028007" in image.GetMetaData(
        "Segment1_Tags"
    )


def test_segments_are_matched_by_code_or_name_and_other_label_values(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.array([[[0, 7, 9, 3]]], dtype=np.uint8))
    meta = {
        "Segment0_ID": "s1", "Segment0_Name": "Right Femur", "Segment0_LabelValue": "7", "Segment0_Layer": "0",
        "Segment1_ID": "s2", "Segment1_Name": "Knochen", "Segment1_LabelValue": "9", "Segment1_Layer": "0",
        "Segment1_Tags": "TerminologyEntry:x~SCT^1^y~SCT^12611008^Tibia~^^~x~^^~^^|",
        "Segment2_ID": "s3", "Segment2_Name": "skin", "Segment2_LabelValue": "3", "Segment2_Layer": "0",
    }  # fmt: skip
    for key, value in meta.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(tmp_path / "b.seg.nrrd"))
    labels, _, names = read_segmentation(tmp_path / "b.seg.nrrd")
    assert labels.ravel().tolist() == [0, bone("femur").label, bone("tibia").label, 0] and names == ["femur", "tibia"]


def _with_segments(path: Path, image: sitk.Image, names: list[str]) -> Path:
    """Write an image whose label values from 1 on are segments of these names."""
    for index, name in enumerate(names):
        for field, value in (("ID", f"s{index}"), ("Name", name), ("LabelValue", str(index + 1)), ("Layer", "0")):
            image.SetMetaData(f"Segment{index}_{field}", value)
    sitk.WriteImage(image, str(path))
    return path


def test_two_segments_of_one_bone_are_never_taken_together(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.array([[[0, 1, 2, 3]]], dtype=np.uint8))
    path = _with_segments(tmp_path / "legs.seg.nrrd", image, ["femur_left", "femur_right", "tibia_left"])
    with pytest.raises(InputError, match="'femur_left' and 'femur_right', each of which is a femur"):
        read_segmentation(path)
    # What lies on a bone or in it is not the bone.
    path = _with_segments(tmp_path / "knee.seg.nrrd", image, ["Femur", "Femur cartilage", "patella ligament"])
    labels, _, names = read_segmentation(path)
    assert names == ["femur"] and labels.ravel().tolist() == [0, bone("femur").label, 0, 0]


def test_a_series_of_volumes_is_refused(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.ones((2, 2, 2), dtype=np.uint8))
    path = _with_segments(tmp_path / "series.seg.nrrd", sitk.JoinSeries([image, image]), ["femur"])
    with pytest.raises(InputError, match="not a volume"):
        read_segmentation(path)


def test_turned_axes_come_back_in_lps(tmp_path: Path) -> None:
    # A RAS-like volume: x and y run the other way. The labelled voxel must keep its place in space.
    labels, _ = _labels()
    image = sitk.GetImageFromArray(labels)
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    image.SetSpacing((0.5, 1.0, 2.0))
    image.SetMetaData("Segment0_ID", "p")
    image.SetMetaData("Segment0_Name", "patella")
    image.SetMetaData("Segment0_LabelValue", "1")
    image.SetMetaData("Segment0_Layer", "0")
    place = image.TransformIndexToPhysicalPoint((3, 2, 1))
    sitk.WriteImage(image, str(tmp_path / "c.seg.nrrd"))
    read, grid, _ = read_segmentation(tmp_path / "c.seg.nrrd")
    assert grid.points(*np.nonzero(read == 1)).tolist() == [list(place)]


def test_refused_files(tmp_path: Path) -> None:
    (tmp_path / "text.seg.nrrd").write_text("NRRD0005 nonsense")
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 2, 2), np.uint8)), str(tmp_path / "plain.nrrd"))
    frame = sitk.GetImageFromArray(np.ones((2, 2, 2), np.uint8))
    frames = sitk.JoinSeries([frame, frame])
    for field, value in (("ID", "femur"), ("Name", "femur"), ("LabelValue", "1"), ("Layer", "0")):
        frames.SetMetaData(f"Segment0_{field}", value)
    sitk.WriteImage(frames, str(tmp_path / "frames.nrrd"))
    for name, words in (
        ("frames.nrrd", "is not a volume"),
        ("none.seg.nrrd", "does not exist"),
        ("text.seg.nrrd", "cannot be read"),
        ("plain.nrrd", "no segment named"),
    ):
        with pytest.raises(InputError, match=words):
            read_segmentation(tmp_path / name)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 3000), st.booleans())
def test_damaged_segmentations_give_labels_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, cut: int, replace: bool
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    labels, grid = _labels()
    write_segmentation(folder / "good.seg.nrrd", labels, grid, "left")
    good = (folder / "good.seg.nrrd").read_bytes()
    bad = good[:cut] + noise + (good[cut + len(noise) :] if replace else b"")
    (folder / "bad.seg.nrrd").write_bytes(bad)
    try:
        read, read_grid, names = read_segmentation(folder / "bad.seg.nrrd")
    except InputError as error:
        assert "bad.seg.nrrd" in str(error)
    else:
        assert read.shape == read_grid.shape and set(names) <= {item.name for item in BONES}
