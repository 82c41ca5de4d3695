"""Axis-aligned sampling grids in LPS millimetres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """A regular grid of samples, axis-aligned in LPS.

    Attributes
    ----------
    origin: (x, y, z) in mm of the centre of voxel [0, 0, 0].
    spacing: (x, y, z) distances in mm between voxel centres.
    shape: (nz, ny, nx), the shape of arrays on this grid: axes [z, y, x].
    """

    origin: tuple[float, float, float]
    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "origin", tuple(float(v) for v in self.origin))
        object.__setattr__(self, "spacing", tuple(float(v) for v in self.spacing))
        object.__setattr__(self, "shape", tuple(int(v) for v in self.shape))
        if not all(np.isfinite(self.origin)) or not all(np.isfinite(s) and s > 0 for s in self.spacing):
            raise ValueError(f"a grid needs a finite origin and positive spacing, not {self.origin}, {self.spacing}")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"a grid needs three positive sizes [z, y, x], not {self.shape}")

    @classmethod
    def cube(cls, center: tuple[float, float, float] | Array, size: float, resolution: int) -> Grid:
        """`resolution`^3 voxels that tile the cube of side `size` mm about `center`: samples lie half a voxel inside its faces."""
        step = float(size) / resolution
        first = [float(c) - size / 2 + step / 2 for c in center]
        return cls((first[0], first[1], first[2]), (step, step, step), (resolution, resolution, resolution))

    @property
    def axes(self) -> tuple[Array, Array, Array]:
        """Coordinates in mm of the samples along x, y and z: arrays of nx, ny and nz values."""
        nz, ny, nx = self.shape
        counts = (nx, ny, nz)
        x, y, z = (self.origin[i] + self.spacing[i] * np.arange(counts[i], dtype=np.float64) for i in range(3))
        return x, y, z

    @property
    def bounds(self) -> Array:
        """(2, 3): lowest and highest corner in mm of the box that the voxels tile (half a voxel beyond the centres)."""
        count = np.array(self.shape[::-1], dtype=np.float64)
        low = np.array(self.origin) - np.array(self.spacing) / 2
        return np.stack([low, low + count * np.array(self.spacing)])

    def points(self, z: NDArray[np.integer], y: NDArray[np.integer], x: NDArray[np.integer]) -> Array:
        """Positions (N, 3) in mm, as x, y, z, of the voxels with the given indices (N,) along each axis."""
        index = np.stack([x, y, z], axis=-1).astype(np.float64)
        return index * np.array(self.spacing) + np.array(self.origin)

    def indices(self, points: Array) -> Array:
        """Continuous voxel indices (N, 3), as [z, y, x], of points (N, 3) in mm."""
        return ((np.asarray(points) - np.array(self.origin)) / np.array(self.spacing))[..., ::-1]
