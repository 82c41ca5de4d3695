"""Whatever bytes a file holds, reading it ends in a radiograph or in an InputError that names it; nothing else."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import RLELossless
from radiograph_files import dicom_radiograph, leg_line_integrals, raw_intensity, save_dicom, save_image

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.xmalab import read_xmalab_camera
from SSRKDCore.radiographs import read_radiograph

RAW = raw_intensity(leg_line_integrals(40, 32))
KINDS = ("dcm", "rle.dcm", "png", "tif", "jpg", "nrrd", "nii", "nii.gz", "mha")
HEADS = (b"", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"\xff\xd8\xff", b"NRRD0004\n", b"NDims = 2\n", bytes(128) + b"DICM")
fuzzing = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@functools.cache
def valid_file(kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"valid.{kind}"
        if kind.endswith("dcm"):
            dataset = dicom_radiograph(
                RAW,
                PixelIntensityRelationship="LIN",
                PixelIntensityRelationshipSign=1,
                ImagerPixelSpacing=["0.2", "0.2"],
                PixelSpacing=["0.17", "0.17"],
                RescaleSlope="1",
                RescaleIntercept="0",
                PatientOrientation=["L", "F"],
                NumberOfFrames="1",
            )
            if kind == "rle.dcm":
                dataset.compress(RLELossless, RAW, generate_instance_uid=False)
            save_dicom(dataset, path)
        elif kind == "jpg":
            save_image((RAW // 16).astype(np.uint8), path)
        else:
            save_image(RAW, path)
        return path.read_bytes()


def read_or_refuse(content: bytes, kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"fuzzed.{kind}"
        path.write_bytes(content)
        try:
            radiograph = read_radiograph(path)
        except InputError as error:
            assert "fuzzed" in str(error)
            return
        assert radiograph.pixels.dtype == np.float32 and radiograph.pixels.ndim == 2
        assert np.isfinite(radiograph.pixels).all() and np.ptp(radiograph.pixels) > 0
        assert radiograph.pixel_spacing is None or all(0.01 <= value <= 5 for value in radiograph.pixel_spacing)


@pytest.mark.parametrize("kind", KINDS)
def test_the_valid_files_are_read(kind: str, tmp_path: Path) -> None:
    (tmp_path / f"valid.{kind}").write_bytes(valid_file(kind))
    assert read_radiograph(tmp_path / f"valid.{kind}").pixels.shape == RAW.shape


@fuzzing
@given(head=st.sampled_from(HEADS), body=st.binary(max_size=600), kind=st.sampled_from(KINDS))
def test_random_bytes(head: bytes, body: bytes, kind: str) -> None:
    read_or_refuse(head + body, kind)


@pytest.mark.parametrize("kind", KINDS)
@fuzzing
@given(part=st.floats(0, 0.999))
def test_truncations(kind: str, part: float) -> None:
    content = valid_file(kind)
    read_or_refuse(content[: int(len(content) * part)], kind)


@pytest.mark.parametrize("kind", KINDS)
@fuzzing
@given(data=st.data())
def test_bit_flips(kind: str, data: st.DataObject) -> None:
    content = bytearray(valid_file(kind))
    # Headers are where a flip matters; pixel bytes are the bulk of the file.
    limit = min(len(content), 900)
    for position, bit in data.draw(
        st.lists(st.tuples(st.integers(0, limit - 1), st.integers(0, 7)), min_size=1, max_size=6)
    ):
        content[position] ^= 1 << bit
    read_or_refuse(bytes(content), kind)


@fuzzing
@given(
    content=st.one_of(
        st.binary(max_size=300), st.text(alphabet="camertx sizoni0123456789.,-\n", max_size=300).map(str.encode)
    )
)
def test_camera_files(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzzed.txt"
        path.write_bytes(content)
        with pytest.raises(InputError, match="fuzzed"):
            read_xmalab_camera(path)
