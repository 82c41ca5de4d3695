"""Points of a field of view and their labels: half near the bones' surfaces, where the boundary is learned, and half anywhere.

Surface points displaced by a random amount and mixed with uniform ones, after S. Saito et al., "PIFu: pixel-aligned implicit function
for high-resolution clothed human digitization", ICCV 2019, section 3.3; half of the near points lie very near, so that the boundary
is seen both sharply and with some reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.drr.signed_distance import signed_distance
from SSRKDCore.evaluation.field_of_view import clipped_triangles
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.grid import Grid
from SSRKDCore.surface import Surface
from SSRKDCore.training.sample_store import UNKNOWN_LABEL

Array = NDArray[np.float64]
Labels = NDArray[np.uint8]

_SPACING_MM = 0.7
_EXACT_MM = 1.4
"""Two voxels: interpolation looks at corners up to sqrt(3) voxels from a point, so that they are exact wherever the sign is in doubt."""
_BONE_HU = 200.0


@dataclass(frozen=True)
class PointCounts:
    """How many points of each kind a rig gets, and how near is near.

    Attributes
    ----------
    near: points near a surface, as many for each bone that the field of view shows; the paper trains on half of these.
    uniform: points anywhere in the cube.
    near_mm: largest displacement of a near point from its surface point, along the surface's normal.
    very_near_mm: the same for half of them.
    """

    near: int = 8000
    uniform: int = 8000
    near_mm: float = 3.0
    very_near_mm: float = 0.8


class BoneLabels:
    """Which bone a point is in, from signed distances of the four closed surfaces on voxels of 0.7 mm, interpolated.

    Accuracy: linear interpolation of a distance over cells of h is wrong by at most about h^2 / (8 r) for each direction of curvature
    1 / r: 0.015 mm in all where a bone is as round as r = 8 mm, less on condyles and shafts, more at the creases of a rough surface. A
    pixel of a network view covers 0.5 to 0.8 mm of the cube. The tests hold the labels against exact distances.
    """

    def __init__(self, bones: Mapping[str, Surface], box: Array) -> None:
        """`bones`: closed surfaces, LPS mm. `box`: (2, 3) mm, the CT's; outside it no point is in a bone."""
        self._fields = [_distance_field(bones[name], box) for name in BONE_NAMES]

    def distances(self, points: Array) -> NDArray[np.float32]:
        """(N, 4) signed distances in mm, negative inside and clipped to +-1.4, of points (N, 3), in the order of the labels."""
        points = np.ascontiguousarray(points, dtype=np.float64)
        result = np.empty((len(points), len(self._fields)), dtype=np.float32)
        for column, (values, grid) in enumerate(self._fields):
            _interpolate(points, values, np.array(grid.origin), _SPACING_MM, _EXACT_MM, result, column)
        return result

    def labels(self, points: Array) -> Labels:
        """(N,) labels of points (N, 3) in mm: the bone that a point is deepest in, 0 outside all of them."""
        distances = self.distances(points)
        deepest = distances.argmin(axis=1)
        inside = np.take_along_axis(distances, deepest[:, None], axis=1)[:, 0] < 0
        return np.where(inside, deepest + 1, 0).astype(np.uint8)


def _distance_field(surface: Surface, box: Array) -> tuple[NDArray[np.float32], Grid]:
    low, high = _common_box(surface.bounds, box) + np.array([[-1.0], [1.0]]) * _EXACT_MM
    if (high <= low).any():
        return np.full((1, 1, 1), np.float32(_EXACT_MM)), Grid((0.0, 0.0, 0.0), (_SPACING_MM,) * 3, (1, 1, 1))
    shape = np.ceil((high - low) / _SPACING_MM).astype(int) + 1
    grid = Grid(tuple(low), (_SPACING_MM,) * 3, (int(shape[2]), int(shape[1]), int(shape[0])))
    return signed_distance(surface, grid, _EXACT_MM, _EXACT_MM), grid


@numba.njit(cache=True)
def _interpolate(points, values, origin, spacing, outside, result, column):  # type: ignore[no-untyped-def]
    """Trilinear `values` [z, y, x] at points (N, 3) into a column of `result`; `outside` beyond the grid."""
    nz, ny, nx = values.shape
    for n in range(len(points)):
        x = (points[n, 0] - origin[0]) / spacing
        y = (points[n, 1] - origin[1]) / spacing
        z = (points[n, 2] - origin[2]) / spacing
        if not (0 <= x < nx - 1 and 0 <= y < ny - 1 and 0 <= z < nz - 1):
            result[n, column] = outside
            continue
        i, j, k = int(z), int(y), int(x)
        fz, fy, fx = z - i, y - j, x - k
        total = 0.0
        for dz in range(2):
            for dy in range(2):
                for dx in range(2):
                    weight = (fz if dz else 1 - fz) * (fy if dy else 1 - fy) * (fx if dx else 1 - fx)
                    total += weight * values[i + dz, j + dy, k + dx]
        result[n, column] = total


def labelled_points(
    bones: Mapping[str, Surface],
    inside: BoneLabels,
    cube: FieldOfView,
    box: Array,
    known_heights: tuple[float, float],
    counts: PointCounts,
    generator: np.random.Generator,
) -> tuple[NDArray[np.float32], Labels, int]:
    """Points of a labelled case.

    Parameters
    ----------
    bones: closed surfaces, LPS mm. inside: their labels.
    cube: field of view. box: (2, 3) mm, what the CT shows; outside it there is no bone, whatever the surfaces say.
    known_heights: z in mm between which the truth is known; points beyond are UNKNOWN_LABEL.
    counts: how many of each kind.

    Returns points (N, 3) float32, labels (N,), and how many of them, the first ones, lie near surfaces. Where no surface is in view
    all points are uniform, and that number is 0.
    """
    near = _near_surfaces(bones, _common_box(cube.bounds, box), cube, counts, generator)
    uniform = _uniform(cube, box, counts.near + counts.uniform - len(near), generator)
    # float32 first: a label must belong to the point that is stored.
    points = np.concatenate([near, uniform]).astype(np.float32)
    exact = points.astype(np.float64)
    labels = inside.labels(exact)
    labels[((exact < box[0]) | (exact > box[1])).any(axis=1)] = 0
    scanned = (exact[:, 2] >= box[0, 2]) & (exact[:, 2] <= box[1, 2])
    labels[scanned & ((exact[:, 2] < known_heights[0]) | (exact[:, 2] > known_heights[1]))] = UNKNOWN_LABEL
    return points, labels, len(near)


def unlabelled_points(
    hounsfield: NDArray[np.int16],
    grid: Grid,
    cube: FieldOfView,
    box: Array,
    counts: PointCounts,
    generator: np.random.Generator,
) -> tuple[NDArray[np.float32], Labels, int]:
    """Points of an unlabelled case, all with UNKNOWN_LABEL; the near ones lie about the outer boundary of what is as dense as bone.

    Where the bones are is not known at this stage. The CT is averaged to about 2 mm, what exceeds 200 HU is closed and filled slice by
    slice (so that marrow counts), and points scatter about the boundary of that. Its limits: calcified vessels and metal
    count as bone, thin osteoporotic shells may be missed; the CT teacher's pseudo labels decide what each point is.

    hounsfield: int16 [z, y, x] on `grid`. The rest as in `labelled_points`.
    """
    near = _near_dense(hounsfield, grid, _common_box(cube.bounds, box), counts, generator)
    uniform = _uniform(cube, box, counts.near + counts.uniform - len(near), generator)
    points = np.concatenate([near, uniform]).astype(np.float32)
    return points, np.full(len(points), UNKNOWN_LABEL, dtype=np.uint8), len(near)


def _common_box(first: Array, second: Array) -> Array:
    return np.stack([np.maximum(first[0], second[0]), np.minimum(first[1], second[1])])


def _uniform(cube: FieldOfView, box: Array, count: int, generator: np.random.Generator) -> Array:
    """(count, 3) points anywhere in the cube, every tenth of them moved to within 3 mm of a height where the CT ends inside it.

    Few points of a cube fall on such a cut by chance, and a bone must be seen to end there.
    """
    low, high = cube.bounds
    points = generator.uniform(low, high, (count, 3))
    ends = [z for z in box[:, 2] if low[2] < z < high[2]]
    for place, end in enumerate(ends):
        moved = points[place :: 10 * len(ends)]
        moved[:, 2] = np.clip(end + generator.uniform(-3.0, 3.0, len(moved)), low[2], high[2])
    return points


def _displacements(count: int, counts: PointCounts, generator: np.random.Generator) -> Array:
    """(count,) distances in mm, of either sign, half of them very small; in random order."""
    reach = np.where(np.arange(count) % 2 == 0, counts.very_near_mm, counts.near_mm)
    return generator.permutation(generator.uniform(-reach, reach))


def _near_surfaces(
    bones: Mapping[str, Surface], box: Array, cube: FieldOfView, counts: PointCounts, generator: np.random.Generator
) -> Array:
    """(counts.near, 3) points about the parts of the surfaces inside the box, as many for each bone that is in it, shuffled."""
    if (box[1] <= box[0]).any():
        return np.zeros((0, 3))
    parts = [part for part in (clipped_triangles(bones[n].triangles, box) for n in BONE_NAMES) if len(part)]
    groups = []
    for number, triangles in enumerate(parts):
        count = counts.near * (number + 1) // len(parts) - counts.near * number // len(parts)
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        doubled = np.linalg.norm(normals, axis=1)
        if not doubled.sum() > 0:
            continue
        chosen = generator.choice(len(triangles), size=count, p=doubled / doubled.sum())
        u, v = generator.random((2, count))
        folded = u + v > 1
        u, v = np.where(folded, 1 - u, u), np.where(folded, 1 - v, v)
        a, b, c = np.moveaxis(triangles[chosen], 1, 0)
        on_surface = a + u[:, None] * (b - a) + v[:, None] * (c - a)
        unit = normals[chosen] / doubled[chosen][:, None]
        groups.append(on_surface + _displacements(count, counts, generator)[:, None] * unit)
    if not groups:
        return np.zeros((0, 3))
    points = np.concatenate(groups)
    return np.clip(points[generator.permutation(len(points))], *cube.bounds)


def _near_dense(
    hounsfield: NDArray[np.int16], grid: Grid, box: Array, counts: PointCounts, generator: np.random.Generator
) -> Array:
    """(counts.near, 3) points about the outer boundary of dense matter inside the box; none where there is none."""
    from scipy.ndimage import binary_closing, binary_erosion, binary_fill_holes

    first = np.clip(np.floor(grid.indices(box[0])).astype(int), 0, grid.shape)
    last = np.clip(np.ceil(grid.indices(box[1])).astype(int) + 1, 0, grid.shape)
    part = hounsfield[first[0] : last[0], first[1] : last[1], first[2] : last[2]]
    step = np.maximum(np.rint(2.0 / np.array(grid.spacing[::-1])), 1).astype(int)
    count = np.array(part.shape) // step
    if (count < 3).any():
        return np.zeros((0, 3))
    nz, ny, nx = count
    sz, sy, sx = step
    means = part[: nz * sz, : ny * sy, : nx * sx].reshape(nz, sz, ny, sy, nx, sx).mean(axis=(1, 3, 5), dtype=np.float32)
    dense = binary_closing(means > _BONE_HU, iterations=1)
    filled = np.stack([binary_fill_holes(plane) for plane in dense])
    # What the box cuts is no boundary of the bone: the border counts as dense.
    boundary = np.argwhere(filled & ~binary_erosion(filled, border_value=1))
    if not len(boundary):
        return np.zeros((0, 3))
    chosen = boundary[generator.integers(len(boundary), size=counts.near)]
    voxel = (chosen + generator.random(chosen.shape)) * step - 0.5 + first
    points = voxel[:, ::-1] * np.array(grid.spacing) + np.array(grid.origin)
    direction = generator.normal(size=points.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return np.clip(points + _displacements(counts.near, counts, generator)[:, None] * direction, *box)
