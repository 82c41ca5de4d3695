"""Signed distances of the bones for a synthetic CT: fine ones in a thin band about each surface, coarse ones far into and around them.

A band of a voxel and a half on the CT's own grid places the surface and the labels; everything that varies over millimetres
(thickness of the cortex, depth under an articular surface, joint spaces) is read off a grid three times coarser, which costs a
twenty-seventh. Distances between coarse samples are interpolated linearly: for a radius of curvature r the error is about h^2/8r,
0.09 mm for h = 2.7 mm and r = 10 mm, and it is never used for the surface itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.drr.signed_distance import signed_distance
from SSRKDCore.grid import Grid
from SSRKDCore.surface import Surface

COARSENING = 3
FINE_VOXELS = 1.5
DEEP_LIMIT = 15.0
"""Depths are known down to this many mm; deeper is this."""
OUTSIDE_LIMIT = 14.0
"""Distances outside a bone are known up to this many mm, near the joint; farther is this."""


@dataclass(frozen=True)
class DistanceBox:
    """Signed distance in mm (negative inside), float32 [z, y, x], on the part of a grid that starts at voxel `start` (z, y, x)."""

    values: NDArray[np.float32]
    start: tuple[int, int, int]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Where the part is in arrays on the whole grid."""
        z, y, x = (slice(first, first + count) for first, count in zip(self.start, self.values.shape, strict=True))
        return z, y, x


def coarse_grid(grid: Grid) -> Grid:
    """The grid of `COARSENING` times the spacing that starts at the same voxel and reaches beyond the last one."""
    shape = tuple(-(-(count - 1) // COARSENING) + 2 for count in grid.shape)
    x, y, z = (COARSENING * step for step in grid.spacing)
    return Grid(grid.origin, (x, y, z), (shape[0], shape[1], shape[2]))


def fine_box(surface: Surface, grid: Grid) -> DistanceBox:
    """Exact distances within 1.5 voxels of a surface; beyond, plus or minus that."""
    reach = FINE_VOXELS * max(grid.spacing)
    part, start = _part(surface, grid, 2 * reach)
    values = signed_distance(surface, part, reach, reach)
    return DistanceBox(values, start)


def coarse_box(surface: Surface, coarse: Grid, joint_z: tuple[float, float]) -> DistanceBox:
    """Depths down to DEEP_LIMIT, and distances outside up to OUTSIDE_LIMIT at heights within `joint_z` (mm), on the coarse grid."""
    step = max(coarse.spacing)
    part, start = _part(surface, coarse, OUTSIDE_LIMIT)
    reach = 1.5 * step
    values = signed_distance(surface, part, DEEP_LIMIT, reach)
    z = part.axes[2]
    rows = np.flatnonzero((z > joint_z[0]) & (z < joint_z[1]))
    if len(rows):
        _extend(values[rows[0] : rows[-1] + 1], part.spacing[::-1], reach)
    np.minimum(values, np.float32(OUTSIDE_LIMIT), out=values)
    return DistanceBox(values, start)


def _extend(values: NDArray[np.float32], spacing: tuple[float, ...], reach: float) -> None:
    """Replace what is not nearer than `reach` mm in `values` [z, y, x] by the distance to the surface, from the exact ones nearer by.

    Closest voxels of the surface by a feature transform (P.-E. Danielsson, Computer Graphics and Image Processing 14, 1980), each moved
    onto the surface along the gradient of the exact distances: right to about half a voxel.
    """
    from scipy.ndimage import distance_transform_edt

    far = values >= reach
    crossed = np.abs(values) <= 0.5 * max(spacing)
    if min(values.shape) < 2 or not far.any() or not crossed.any():
        return
    nearest = distance_transform_edt(~crossed, sampling=spacing, return_distances=False, return_indices=True)
    voxel = tuple(index[far] for index in nearest)
    gradient = np.array(np.gradient(values, *spacing))[(slice(None), *voxel)]
    step = values[voxel] * gradient / np.maximum((gradient**2).sum(axis=0), 0.25)
    here = np.array(np.nonzero(far)) - np.array(voxel)
    values[far] = np.linalg.norm(here * np.array(spacing)[:, None] + step, axis=0)


def _part(surface: Surface, grid: Grid, margin: float) -> tuple[Grid, tuple[int, int, int]]:
    """The part of a grid within `margin` mm of a surface's box, at least two voxels along each axis, and its first voxel (z, y, x)."""
    low, high = surface.bounds
    first = np.floor(grid.indices(low - margin)).astype(int)
    last = np.ceil(grid.indices(high + margin)).astype(int) + 1
    count = np.array(grid.shape)
    first = np.clip(first, 0, np.maximum(count - 2, 0))
    last = np.clip(last, np.minimum(first + 2, count), count)
    origin = np.array(grid.origin) + first[::-1] * np.array(grid.spacing)
    shape = last - first
    start = (int(first[0]), int(first[1]), int(first[2]))
    return Grid(tuple(origin), grid.spacing, (int(shape[0]), int(shape[1]), int(shape[2]))), start
