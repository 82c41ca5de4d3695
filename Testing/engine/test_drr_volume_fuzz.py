"""Damaged CT volumes and calibration files: a volume or a view, or one clear error, never anything else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from SSRKDCore.drr.volume_reader import read_ct
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.xmalab import read_xmalab_camera

CAMERA = """image size
1760,1760

camera matrix
8673.9,0,794.1
0,8724.0,866.7
0,0,1

rotation
1,0,0
0,1,0
0,0,1

translation
-68.6
125.4
1368.5
"""


def _volume(folder: Path, suffix: str) -> Path:
    values = np.random.default_rng(0).integers(-1000, 1500, (6, 5, 4)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(folder / f"good{suffix}"))
    return folder / f"good{suffix}"


@settings(max_examples=80, deadline=None)
@given(st.sampled_from([".nrrd", ".mha", ".nii"]), st.binary(max_size=120), st.integers(0, 800), st.booleans())
def test_damaged_volumes(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, noise: bytes, cut: int, replace: bool
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    good = _volume(folder, suffix).read_bytes()
    bad = folder / f"bad{suffix}"
    bad.write_bytes(good[:cut] + noise + (good[cut + len(noise) :] if replace else b""))
    try:
        hounsfield, grid, _ = read_ct(bad)
    except InputError as error:
        assert f"bad{suffix}" in str(error)
    else:
        assert hounsfield.shape == grid.shape and np.isfinite(hounsfield).all()


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=40), st.integers(0, len(CAMERA)), st.booleans())
def test_damaged_calibrations(tmp_path_factory: pytest.TempPathFactory, noise: bytes, cut: int, replace: bool) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "cam01.txt"
    good = CAMERA.encode()
    path.write_bytes(good[:cut] + noise + (good[cut + len(noise) :] if replace else b""))
    try:
        camera = read_xmalab_camera(path)
    except InputError as error:
        assert "cam01.txt" in str(error)
    else:
        assert np.isfinite(camera.project(np.array([[10.0, 20.0, 30.0]]))).all()


def test_the_undamaged_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "cam01.txt").write_text(CAMERA)
    # A point on the optical axis of the camera falls on its principal point (row, column).
    on_axis = np.array([[68.6, -125.4, 100.0]])
    assert read_xmalab_camera(tmp_path / "cam01.txt").project(on_axis)[0] == pytest.approx([866.7, 794.1], abs=1e-6)
    for suffix in (".nrrd", ".mha", ".nii"):
        assert read_ct(_volume(tmp_path, suffix))[0].shape == (6, 5, 4)
