"""Scans of a synthetic knee as files, for tests of `ssrkd prepare`."""

from __future__ import annotations

import argparse
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from synthetic_knee import synthetic_knee

from SSRKDCore.cases import Case, load_case
from SSRKDCore.commands import prepare
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.presets import preset
from SSRKDCore.grid import Grid
from SSRKDCore.population.synthetic_ct import synthetic_ct
from SSRKDCore.population.tissue import TissueParameters
from SSRKDCore.segmentation_files import write_segmentation
from SSRKDCore.surface import Surface

VOXEL_MM = 2.5


@dataclass(frozen=True)
class Scan:
    """A CT in HU int16 and its labels uint8, both [z, y, x], and the true surfaces."""

    hounsfield: NDArray[np.int16]
    labels: NDArray[np.uint8]
    grid: Grid
    bones: dict[str, Surface]

    def image(self) -> SimpleITK.Image:
        image = SimpleITK.GetImageFromArray(self.hounsfield)
        image.SetOrigin(self.grid.origin)
        image.SetSpacing(self.grid.spacing)
        return image

    def write(self, folder: Path) -> tuple[Path, Path]:
        """ct.nrrd and bones.seg.nrrd in a folder."""
        SimpleITK.WriteImage(self.image(), str(folder / "ct.nrrd"))
        write_segmentation(folder / "bones.seg.nrrd", self.labels, self.grid)
        return folder / "ct.nrrd", folder / "bones.seg.nrrd"


@functools.cache
def scan_of(side: str) -> Scan:
    """A CT of the knee of rounded solids."""
    mirror = np.diag([1.0 if side == "right" else -1.0, 1.0, 1.0, 1.0])
    bones = {name: surface.transformed(mirror) for name, surface in synthetic_knee().items()}
    tissue = TissueParameters(noise_hu=10.0, fat_thickness=5.0)
    ct = synthetic_ct(bones, side, tissue, np.random.default_rng(1), voxel_mm=VOXEL_MM)
    return Scan(ct.hounsfield, ct.labels, ct.grid, ct.bones)


@functools.cache
def both_legs() -> Scan:
    """Both legs in one scan, the right one at the lower x, in air."""
    right, left, gap = scan_of("right"), scan_of("left"), 6
    nz = min(len(right.labels), len(left.labels))
    ny = max(right.labels.shape[1], left.labels.shape[1])

    def padded(volume: NDArray, value: int) -> NDArray:
        return np.pad(volume[:nz], ((0, 0), (0, ny - volume.shape[1]), (0, gap)), constant_values=value)

    hounsfield = np.concatenate([padded(scan.hounsfield, -1000) for scan in (right, left)], axis=2)
    labels = np.concatenate([padded(scan.labels, 0) for scan in (right, left)], axis=2)
    return Scan(hounsfield, labels, Grid(right.grid.origin, right.grid.spacing, labels.shape), {})


def write_series(folder: Path, scan: Scan, number: int, description: str, kind: str = "AXIAL", step: int = 1) -> None:
    """A CT series as DICOM slices, feet first in file order."""
    folder.mkdir(parents=True, exist_ok=True)
    image = scan.image()
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(0, image.GetSize()[2], step):
        piece = image[:, :, k]
        values = {
            "0008|0060": "CT",
            "0008|0008": f"ORIGINAL\\PRIMARY\\{kind}",
            "0008|103e": description,
            "0020|000e": f"1.2.826.0.1.3680043.2.1125.{number}",
            "0020|000d": "1.2.826.0.1.3680043.2.1125.9",
            "0020|0011": str(number),
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(f"{value:g}" for value in image.TransformIndexToPhysicalPoint((0, 0, k))),
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0028|1052": "0",
            "0028|1053": "1",
        }
        for tag, value in values.items():
            piece.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{number}_{k:04d}.dcm"))
        writer.Execute(piece)


def run(*words: str | Path) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    prepare.add_arguments(parser)
    result = prepare.run(parser.parse_args([str(word) for word in words]))
    assert json.loads(json.dumps(result)) == result
    return result


def prepared(out: Path, *words: str | Path) -> tuple[Case, dict[str, Any]]:
    """A case through few pixels: the radiographs are the projector's matter."""
    preset("room", "right", (6.0, 6.0), 64, 64).save(out.with_suffix(".rig.json"))
    result = run(*words, "--out", out, "--rig", out.with_suffix(".rig.json"), "--noise", "none")
    return load_case(out), result


def refused(out: Path, match: str, *words: str | Path) -> None:
    """The command refuses in one sentence and writes nothing."""
    with pytest.raises(InputError, match=match) as caught:
        run(*words, "--out", out)
    assert "\n" not in str(caught.value) and not out.exists()
