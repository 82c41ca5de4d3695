"""What `ssrkd prepare` refuses: scans and segmentations that would spoil a training, each named, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from toy_scans import Scan, refused, run, scan_of

from SSRKDCore.anatomy import bone
from SSRKDCore.errors import InputError
from SSRKDCore.grid import Grid
from SSRKDCore.segmentation_files import write_segmentation


@pytest.fixture
def right() -> Scan:
    return scan_of("right")


def emptied(scan: Scan) -> Scan:
    return replace(scan, labels=np.where(scan.labels == bone("patella").label, 0, scan.labels).astype(np.uint8))


def hollowed(scan: Scan) -> Scan:
    from scipy import ndimage

    inside = ndimage.binary_erosion(scan.labels == bone("femur").label, iterations=2)
    return replace(scan, labels=np.where(inside, 0, scan.labels).astype(np.uint8))


def in_two_pieces(scan: Scan) -> Scan:
    z = scan.grid.axes[2]
    cut = (np.abs(z - 60.0) < 6.0)[:, None, None] & (scan.labels == bone("femur").label)
    return replace(scan, labels=np.where(cut, 0, scan.labels).astype(np.uint8))


def swapped(scan: Scan) -> Scan:
    turn = np.arange(256, dtype=np.uint8)
    turn[[bone("femur").label, bone("tibia").label]] = bone("tibia").label, bone("femur").label
    return replace(scan, labels=turn[scan.labels])


def shifted(scan: Scan) -> Scan:
    return replace(scan, labels=np.roll(scan.labels, 12, axis=1))


def elsewhere(scan: Scan) -> Scan:
    return replace(scan, grid=Grid((5000.0, 0.0, 0.0), scan.grid.spacing, scan.grid.shape))


def half_outside(scan: Scan) -> Scan:
    x, y, z = scan.grid.origin
    return replace(scan, grid=Grid((x, y, z + 100.0), scan.grid.spacing, scan.grid.shape))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (emptied, r"'patella' \(patella\).*empty"),
        (hollowed, r"'femur' \(femur\).*hollow"),
        (in_two_pieces, r"'femur' \(femur\).*pieces"),
        (swapped, "femur of .* lies below its tibia"),
        (shifted, "does not follow bone in this CT"),
        (elsewhere, "does not overlap the CT"),
        (half_outside, "% of .* lies outside the CT"),
    ],
)
def test_a_spoilt_segmentation_is_refused(
    spoil: Callable[[Scan], Scan], words: str, right: Scan, tmp_path: Path
) -> None:
    ct, segmentation = right.write(tmp_path)
    spoilt = spoil(right)
    write_segmentation(segmentation, spoilt.labels, spoilt.grid)
    refused(tmp_path / "case", words, ct, segmentation, "--side", "right")


def test_the_wrong_side_is_refused(right: Scan, tmp_path: Path) -> None:
    refused(
        tmp_path / "case",
        "where that of a right leg does, but left was stated",
        *right.write(tmp_path),
        "--side",
        "left",
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda hounsfield: hounsfield + 1024, "Hounsfield units"),
        (lambda hounsfield: np.where(hounsfield > 100, 100, hounsfield), "less than any knee"),
        (lambda hounsfield: np.full_like(hounsfield, 40), "constant"),
    ],
)
def test_a_volume_that_is_no_ct_of_a_knee_is_refused(
    change: Callable[[NDArray], NDArray], words: str, right: Scan, tmp_path: Path
) -> None:
    ct, _ = replace(right, hounsfield=change(right.hounsfield).astype(np.int16)).write(tmp_path)
    refused(tmp_path / "case", words, ct, "--side", "right")


def test_files_that_are_not_there_or_damaged_are_refused(right: Scan, tmp_path: Path) -> None:
    ct, _ = right.write(tmp_path)
    (tmp_path / "bad.seg.nrrd").write_bytes(b"NRRD0004\nrubbish")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "case", "does not exist", tmp_path / "none.nrrd", "--side", "right")
    refused(tmp_path / "case", "no DICOM slices", tmp_path / "empty", "--side", "right")
    refused(tmp_path / "case", "does not exist", ct, tmp_path / "none.seg.nrrd")
    refused(tmp_path / "case", "cannot be read as a segmentation", ct, tmp_path / "bad.seg.nrrd")
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="exists already"):
        run(ct, "--side", "right", "--out", tmp_path / "there")
