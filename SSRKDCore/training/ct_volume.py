"""CT volumes as the teacher reads them: windowed, resampled to a working voxel, and kept on disk for training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.cases import load_case
from SSRKDCore.drr.volume_reader import read_ct
from SSRKDCore.errors import InputError
from SSRKDCore.grid import Grid
from SSRKDCore.networks.vnet import SIZE_MULTIPLE
from SSRKDCore.training.sample_store import StoredCase, stored_record, write_arrays

Array = NDArray[np.float64]

WINDOW = "window"
"""The method by which `ModelInput.standardisation` of a CT model names this module's preparation."""

VOLUME_FOLDER = "volumes"
"""Where the working volumes of a sample store lie, inside its folder."""

_LEVELS = 255


@dataclass(frozen=True)
class VolumeInput:
    """What a CT must be before the teacher sees it.

    Attributes
    ----------
    voxel_mm: side of the cubic working voxel.
    window_low, window_high: HU that become 0 and 1; values beyond are clipped.
    """

    voxel_mm: float
    window_low: float
    window_high: float

    def to_standardisation(self) -> dict[str, Any]:
        """The form in which a model folder keeps it."""
        return {
            "method": WINDOW,
            "voxel_mm": self.voxel_mm,
            "window_low": self.window_low,
            "window_high": self.window_high,
        }

    @classmethod
    def from_standardisation(cls, values: Mapping[str, Any]) -> VolumeInput:
        """The inverse of `to_standardisation`. Raises InputError when a model does not say what its volumes must be."""
        try:
            voxel, low, high = (float(values[name]) for name in ("voxel_mm", "window_low", "window_high"))
        except (KeyError, TypeError, ValueError):
            voxel = low = high = math.nan
        if values.get("method") != WINDOW or not (0 < voxel <= 100 and low < high < math.inf):
            raise InputError(
                "The CT model does not say by voxel_mm, window_low and window_high how volumes are prepared, as imported models do not: "
                "name a teacher that `ssrkd train ct` made."
            )
        return cls(voxel, low, high)


@dataclass(frozen=True)
class WorkingVolume:
    """A CT as the teacher reads it.

    Attributes
    ----------
    values: uint8 [z, y, x], 0..255 for the window's low to high end (3.5 HU a step at the published window, below any CT's noise).
    grid: where the voxels are, LPS mm.
    """

    values: NDArray[np.uint8]
    grid: Grid

    @property
    def box(self) -> Array:
        """(2, 3): lowest and highest corner in mm."""
        return self.grid.bounds


def working_volume(
    hounsfield: NDArray[np.floating] | NDArray[np.integer], grid: Grid, wanted: VolumeInput
) -> WorkingVolume:
    """Window and resample a CT, [z, y, x] in HU; the new voxels tile the same box, to within half a voxel at its faces.

    The window comes first, so that metal does not spread into the bone about it.
    """
    values = np.clip(hounsfield, wanted.window_low, wanted.window_high).astype(np.float32)
    values = (values - wanted.window_low) * (_LEVELS / (wanted.window_high - wanted.window_low))
    low, high = grid.bounds
    counts = np.maximum(np.rint((high - low) / wanted.voxel_mm).astype(int), 1)
    first = (low + high) / 2 - (counts - 1) / 2 * wanted.voxel_mm
    nx, ny, nz = (int(count) for count in counts)
    target = Grid((first[0], first[1], first[2]), (wanted.voxel_mm,) * 3, (nz, ny, nx))
    for axis, (old, new, step) in enumerate(zip(grid.axes, target.axes, grid.spacing, strict=True)):
        # Axis 0 of the grid is x, the last axis of the array.
        weights = _triangle_weights(old, new, max(step, wanted.voxel_mm))
        values = np.moveaxis(np.tensordot(weights, values, axes=(1, 2 - axis)), 0, 2 - axis)
    return WorkingVolume(np.clip(np.rint(values), 0, _LEVELS).astype(np.uint8), target)


def _triangle_weights(old: Array, new: Array, reach: float) -> NDArray[np.float32]:
    """(new, old) weights of a triangle as wide as the coarser voxel: linear interpolation where voxels become finer, and a filter
    against aliasing where they become coarser (Schumacher, "General filtered image rescaling", Graphics Gems III, 1992).
    """
    nearest = np.clip(new, old[0], old[-1])
    weights = np.maximum(1.0 - np.abs(nearest[:, None] - old[None, :]) / reach, 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def padded(values: NDArray[Any], sides: Sequence[int] | None = None) -> NDArray[Any]:
    """The volume [z, y, x] with air (0) at the far ends, to at least `sides` and to the multiples that the V-Net needs."""
    sides = values.shape if sides is None else sides
    wanted = [
        math.ceil(max(n, side) / SIZE_MULTIPLE) * SIZE_MULTIPLE for n, side in zip(values.shape, sides, strict=True)
    ]
    return np.pad(values, [(0, side - n) for n, side in zip(values.shape, wanted, strict=True)])


def volume_coordinates(indices: Array, shape: Sequence[int]) -> NDArray[np.float32]:
    """Continuous voxel indices (N, 3) as [z, y, x] to what a CT network wants: (3, N), -1 and 1 at the first and last voxel's centre.

    shape: of the volume that the network reads, padding included.
    """
    last = np.array(shape, dtype=np.float64) - 1.0
    return np.ascontiguousarray((2.0 * indices / last - 1.0).T, dtype=np.float32)


def as_network_input(values: NDArray[np.uint8]) -> NDArray[np.float32]:
    """0..255 to the network's 0..1."""
    return values.astype(np.float32) / np.float32(_LEVELS)


class VolumeStore:
    """Working volumes of the cases of a sample store, each made once and kept in a folder.

    Parameters
    ----------
    folder: where; made if it is not there.
    wanted: what the volumes must be; volumes made otherwise are made again.
    """

    def __init__(self, folder: Path, wanted: VolumeInput) -> None:
        self.folder = folder
        self.wanted = wanted

    def prepare(self, cases: Sequence[StoredCase], progress: Callable[[float, str], None] | None = None) -> None:
        """Make the volumes that are missing or out of date. Raises InputError, naming the case, when its CT cannot be read."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for done, case in enumerate(cases):
            if stored_record(self._path(case)) != self._record(case):
                self._make(case)
            if progress is not None:
                progress((done + 1) / len(cases), f"CT volumes, {done + 1} of {len(cases)}")

    def read(self, case: StoredCase) -> WorkingVolume:
        """The volume of a case that `prepare` has seen. Raises InputError when its file is missing or damaged."""
        path = self._path(case)
        try:
            with np.load(path, allow_pickle=False) as archive:
                values, origin, spacing = archive["values"], archive["origin"], archive["spacing"]
                return WorkingVolume(values, Grid(tuple(origin), tuple(spacing), values.shape))
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise InputError(
                f"{path} is missing or damaged: delete it if it exists, and start the command again."
            ) from error

    def _path(self, case: StoredCase) -> Path:
        return self.folder / case.file

    def _ct(self, case: StoredCase) -> Path:
        ct = load_case(case.folder).ct
        if ct is None:
            raise InputError(
                f"{case.folder} has no CT, and the teacher learns from CTs: leave the case out, or add its CT."
            )
        return ct

    def _record(self, case: StoredCase) -> dict[str, Any]:
        """What a volume was made of: another file, or another preparation, makes it out of date."""
        status = self._ct(case).stat()
        return {"input": self.wanted.to_standardisation(), "bytes": status.st_size, "modified": status.st_mtime_ns}

    def _make(self, case: StoredCase) -> None:
        import json

        hounsfield, grid, _ = read_ct(self._ct(case))
        volume = working_volume(hounsfield, grid, self.wanted)
        record = np.array(json.dumps(self._record(case)))
        arrays = {
            "values": volume.values,
            "origin": np.array(volume.grid.origin),
            "spacing": np.array(volume.grid.spacing),
        }
        write_arrays(self._path(case), {"record": record, **arrays})
