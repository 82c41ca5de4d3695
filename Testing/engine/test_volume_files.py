"""Volume files whose header contradicts itself, says too little, or whose values are damaged: never bones in the wrong place."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from handmade_files import write_nifti

from SSRKDCore.drr.volume_reader import read_ct
from SSRKDCore.errors import InputError
from SSRKDCore.population.user_segmentation import read_user_segmentation
from SSRKDCore.radiographs import read_radiograph
from SSRKDCore.training.case_checks import ct_box

SIZE = (0.5, 0.5, 1.0)
# x to the left and y to posterior, as CTs are stored: columns are the steps of x, y and z in RAS mm, then the first voxel's place.
STRAIGHT = np.array([[-0.5, 0.0, 0.0, 10.0], [0.0, -0.5, 0.0, 20.0], [0.0, 0.0, 1.0, 30.0]])
PLACE = (10.0, 20.0, 30.0)
MARK = (4, 3, 2)


def volume() -> np.ndarray:
    """Air, with one dense voxel at MARK (z, y, x)."""
    values = np.full((10, 20, 30), -1000, np.int16)
    values[MARK] = 1500
    return values


def sheared() -> np.ndarray:
    """Each slice 0.3 mm to the side of the one below."""
    matrix = STRAIGHT.copy()
    matrix[0, 2] = 0.3
    return matrix


def moved() -> np.ndarray:
    matrix = STRAIGHT.copy()
    matrix[:, 3] += (40.0, 40.0, 40.0)
    return matrix


def readers(path: Path) -> list[object]:
    """Whatever reads a volume file, to be called."""
    return [
        lambda: read_ct(path),
        lambda: read_user_segmentation(path, {"femur": "1500"}),
        lambda: ct_box(path),
    ]


@pytest.mark.parametrize("qform_code", [0, 1])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_sheared_sform_is_refused_whatever_the_qform_says(tmp_path: Path, qform_code: int, suffix: str) -> None:
    path = write_nifti(tmp_path / "ct.nii", volume(), SIZE, sheared(), 2, PLACE, qform_code)
    if suffix == ".nii.gz":
        (tmp_path / "ct.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    for read in readers(tmp_path / f"ct{suffix}"):
        with pytest.raises(InputError, match=rf"ct{suffix} has a sheared sform .*right-angled axes"):
            read()  # type: ignore[operator]


@pytest.mark.parametrize("order", ["<", ">"])
def test_two_places_for_the_voxels_are_refused(tmp_path: Path, order: str) -> None:
    path = write_nifti(tmp_path / "ct.nii", volume(), SIZE, moved(), 2, PLACE, 1, order)
    # 40 mm along each axis.
    for read in readers(path):
        with pytest.raises(InputError, match=r"its sform and its qform differ by 69\.3 mm"):
            read()  # type: ignore[operator]


def test_a_voxel_size_that_the_sform_contradicts_is_refused(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "ct.nii", volume(), (1.0, 1.0, 3.0), STRAIGHT, 1)
    # The last voxel would be (14.5, 9.5, 18) mm farther away.
    with pytest.raises(InputError, match=r"its sform and its voxel size differ by 25\.0 mm"):
        read_ct(path)


@pytest.mark.parametrize(
    ("sform", "sform_code", "qform_code"),
    [(STRAIGHT, 1, 0), (STRAIGHT, 2, 1), (None, 0, 1), (sheared(), 0, 1), (STRAIGHT + 0.05, 2, 1)],
    ids=["sform", "both", "qform", "a sform that is not in force", "both but for rounding"],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_headers_that_agree_are_read(
    tmp_path: Path, sform: np.ndarray | None, sform_code: int, qform_code: int, order: str
) -> None:
    if sform is not None and qform_code and sform_code == 2:
        sform = np.where(np.arange(4) == 3, sform, STRAIGHT)  # only the place is rounded
    path = write_nifti(tmp_path / "ct.nii", volume(), SIZE, sform, sform_code, PLACE, qform_code, order)
    values, grid, warnings = read_ct(path)
    np.testing.assert_array_equal(values, volume())
    # RAS to LPS: (-10, -20, 30).
    assert grid.origin == pytest.approx((-10.0, -20.0, 30.0), abs=0.06) and grid.spacing == SIZE
    assert not warnings
    labels = read_user_segmentation(path, {"femur": "1500"})
    assert labels.grid.points(*np.nonzero(labels.labels))[0] == pytest.approx((-9.0, -18.5, 34.0), abs=0.06)


def test_an_oblique_nifti_is_the_same_as_its_nrrd(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(volume())
    image.SetSpacing((0.7, 0.8, 1.5))
    image.SetOrigin((-100.0, 50.0, 900.0))
    image.SetDirection((np.cos(0.3), -np.sin(0.3), 0.0, np.sin(0.3), np.cos(0.3), 0.0, 0.0, 0.0, 1.0))
    for name in ("ct.nii.gz", "ct.nrrd"):
        sitk.WriteImage(image, str(tmp_path / name))
    (values, grid, _), (expected, expected_grid, _) = (read_ct(tmp_path / name) for name in ("ct.nii.gz", "ct.nrrd"))
    # NIfTI keeps its header in single precision.
    np.testing.assert_allclose(values, expected, atol=0.01)
    np.testing.assert_allclose(grid.origin, expected_grid.origin, atol=1e-4)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("part", [0.95, 0.5])
def test_a_truncated_nifti_is_no_volume(tmp_path: Path, suffix: str, part: float) -> None:
    content = write_nifti(tmp_path / "whole.nii", volume(), SIZE, STRAIGHT, 1).read_bytes()
    # Random values, since nothing of compressed air is lost with its last bytes.
    content = content[:352] + np.random.default_rng(0).integers(0, 256, len(content) - 352, dtype=np.uint8).tobytes()
    content = gzip.compress(content) if suffix == ".nii.gz" else content
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match=r"cut.*(truncated|damaged)"):
        read_ct(path)
    with pytest.raises(InputError, match="cut"):
        read_user_segmentation(path, {"femur": "1"})


def test_the_unpacked_file_beside_a_packed_one_is_not_read_for_it(tmp_path: Path) -> None:
    packed = write_nifti(tmp_path / "packed.nii", volume(), SIZE, STRAIGHT, 1)
    (tmp_path / "ct.nii.gz").write_bytes(gzip.compress(packed.read_bytes()))
    write_nifti(tmp_path / "ct.nii", np.full_like(volume(), 7), SIZE, STRAIGHT, 1)
    np.testing.assert_array_equal(read_ct(tmp_path / "ct.nii.gz")[0], volume())
    np.testing.assert_array_equal(read_ct(tmp_path / "ct.nii")[0], 7)


def test_axes_of_which_nothing_is_said_are_warned_about(tmp_path: Path) -> None:
    silent = write_nifti(tmp_path / "ct.nii", volume(), SIZE)
    assert any("does not say how its axes lie" in words for words in read_ct(silent)[2])
    nrrd = nrrd_file(tmp_path / "ct.nrrd", "spacings: 0.5 0.5 1")
    assert any("does not say how its axes lie" in words for words in read_ct(nrrd)[2])
    named = nrrd_file(
        tmp_path / "named.nrrd", "space: left-posterior-superior\nspace directions: (0.5,0,0) (0,0.5,0) (0,0,1)"
    )
    assert read_ct(named)[2] == []


def nrrd_file(path: Path, fields: str) -> Path:
    header = f"NRRD0004\ntype: short\ndimension: 3\nsizes: 30 20 10\nendian: little\nencoding: raw\n{fields}\n\n"
    path.write_bytes(header.encode() + volume().tobytes())
    return path


def meta_file(path: Path, fields: str) -> Path:
    header = f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n{fields}DimSize = 30 20 10\n"
    path.write_bytes((header + "ElementType = MET_SHORT\nElementDataFile = LOCAL\n").encode() + volume().tobytes())
    return path


def test_a_voxel_size_that_is_not_stated_is_not_1_mm(tmp_path: Path) -> None:
    silent = nrrd_file(tmp_path / "silent.nrrd", "content: a knee"), meta_file(tmp_path / "silent.mha", "")
    for path in silent:
        with pytest.raises(InputError, match=r"silent\.(nrrd|mha) does not state the size of its voxels"):
            read_ct(path)
    assert read_ct(nrrd_file(tmp_path / "said.nrrd", "spacings: 0.5 0.5 1"))[1].spacing == SIZE
    assert read_ct(meta_file(tmp_path / "said.mha", "ElementSpacing = 0.5 0.5 1\n"))[1].spacing == SIZE


def test_lengths_in_other_units_are_not_taken_for_mm(tmp_path: Path) -> None:
    directions = "space: left-posterior-superior\nspace directions: (0.5,0,0) (0,0.5,0) (0,0,1)\nspace units:"
    with pytest.raises(InputError, match=r"cm\.nrrd states its lengths in 'cm'"):
        read_ct(nrrd_file(tmp_path / "cm.nrrd", f'{directions} "cm" "cm" "cm"'))
    assert read_ct(nrrd_file(tmp_path / "mm.nrrd", f'{directions} "mm" "mm" "mm"'))[1].spacing == SIZE


@pytest.mark.parametrize("line", ["A" * 3000, "space origin: " + "7" * 3000], ids=["no field", "a long number"])
def test_a_damaged_nrrd_header_is_an_error_and_not_the_end_of_the_process(tmp_path: Path, line: str) -> None:
    directions = "space: left-posterior-superior\nspace directions: (0.5,0,0) (0,0.5,0) (0,0,1)\n"
    path = nrrd_file(tmp_path / "ct.nrrd", directions + line)
    with pytest.raises(InputError, match=r"ct\.nrrd is a NRRD file with a damaged header"):
        read_ct(path)
    with pytest.raises(InputError, match=r"ct\.nrrd is a NRRD file with a damaged header"):
        read_radiograph(path)
    # What programs write for themselves may be as long as it likes.
    assert read_ct(nrrd_file(path, f"{directions}notes:={'A' * 3000}"))[1].spacing == SIZE


def test_damaged_compressed_values_of_a_metaimage_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-1000, 1500, (10, 20, 30)).astype(np.int16)
    path = tmp_path / "ct.mha"
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), useCompression=True)
    np.testing.assert_array_equal(read_ct(path)[0], noise)
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"ct\.mha is a damaged MetaImage file"):
        read_ct(path)
