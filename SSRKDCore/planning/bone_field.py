"""Signed distance of a bone and its gradient: exact from the triangles, or fast from a grid near a guide."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from SSRKDCore.drr.signed_distance import signed_distance
from SSRKDCore.errors import InputError
from SSRKDCore.grid import Grid
from SSRKDCore.population.closest_points import ClosestPoints, barycentric
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

GRID_SPACING_MM = 0.5
# Beyond it the grid is flat: a guide's point touches nothing there.
REACH_MM = 3.0
_ON_FEATURE = 1e-6
_ON_SURFACE_MM = 1e-3


class ExactBoneDistance:
    """Point-to-triangle signed distance and its gradient.

    The sign comes from the angle-weighted pseudonormal of the face, edge or corner that is closest (Baerentzen and Aanaes, IEEE TVCG
    11(3), 2005): right for a closed surface with outward winding; on an open patch it tells the side of the nearest face.
    """

    def __init__(self, surface: Surface) -> None:
        self._closest = ClosestPoints(surface)
        self._faces = surface.faces[self._closest.kept]
        self._corner_normals, self._edge_normals, free_edges = _pseudonormals(
            self._faces, self._closest.triangles, self._closest.normals, len(surface.vertices)
        )
        self._rim_corners = np.zeros(len(surface.vertices), dtype=bool)
        for k in range(3):
            self._rim_corners[np.delete(self._faces, k, axis=1)[free_edges[:, k]]] = True

    def signed(self, points: Array) -> tuple[Array, Array]:
        """Signed distances (N,) in mm of points (N, 3), positive outside, and their gradients (N, 3), unit vectors."""
        distance, gradient, _ = self.signed_with_rim(points)
        return distance, gradient

    def signed_with_rim(self, points: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
        """As `signed`, and (N,) whether the closest triangle touches the rim of an open surface, where no side is known."""
        closest, triangle = self._closest.query(points)
        weights = barycentric(closest, self._closest.triangles[triangle])
        normals = self._closest.normals[triangle].copy()
        on_rim = np.asarray(self._rim_corners[self._faces[triangle]].any(axis=1))
        zero = weights < _ON_FEATURE
        count = zero.sum(axis=1)
        # Opposite the corner whose weight is zero lies the edge that holds the point.
        on_edge = np.flatnonzero(count == 1)
        opposite = np.argmax(zero[on_edge], axis=1)
        normals[on_edge] = self._edge_normals[triangle[on_edge], opposite]
        on_corner = np.flatnonzero(count >= 2)
        corner = np.argmax(weights[on_corner], axis=1)
        normals[on_corner] = self._corner_normals[self._faces[triangle[on_corner], corner]]
        away = points - closest
        length = np.linalg.norm(away, axis=1)
        sign = np.where(np.einsum("ij,ij->i", away, normals) < 0, -1.0, 1.0)
        # On the surface itself the way to it has no direction.
        apart = length > _ON_SURFACE_MM
        normals[apart] = sign[apart, None] * away[apart] / length[apart, None]
        return sign * length, normals, on_rim


class GridBoneDistance:
    """The same by trilinear interpolation of exact values on a 0.5 mm grid over a box; its gradient is that of the interpolation.

    Some dozen times faster than the exact distance, but off by up to 0.3 mm at the creases of a real bone: good for the way to a seat
    alone, which is then finished with the exact distance.
    """

    def __init__(self, surface: Surface, box: Array, spacing: float = GRID_SPACING_MM) -> None:
        """Prepare the box (2, 3), lowest and highest corner in mm, of a closed surface. Raises InputError for a box of more than 60
        million voxels.
        """
        low = np.asarray(box[0], dtype=np.float64)
        shape = np.ceil((box[1] - low) / spacing).astype(int) + 2
        if int(np.prod(shape)) > 60_000_000:
            raise InputError("The guide's contact patch is larger than 150 mm: check that it is in millimetres.")
        grid = Grid(
            spacing=(spacing, spacing, spacing),
            origin=(float(low[0]), float(low[1]), float(low[2])),
            shape=(int(shape[2]), int(shape[1]), int(shape[0])),
        )
        self._values = signed_distance(surface, grid, REACH_MM, REACH_MM)
        self._origin, self._spacing = low, spacing

    def signed(self, points: Array) -> tuple[Array, Array]:
        """Signed distances (N,) in mm of points (N, 3), within 3 mm of the surface, and their gradients (N, 3), unit vectors."""
        distance = np.empty(len(points))
        gradient = np.empty((len(points), 3))
        _interpolate(self._values, self._origin, self._spacing, np.ascontiguousarray(points), distance, gradient)
        return distance, gradient


def _pseudonormals(
    faces: NDArray[np.int64], triangles: Array, normals: Array, vertex_count: int
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Normals of corners (V, 3) and of edges (F, 3, 3), edge k opposite corner k, and which edges (F, 3) have one face only."""
    corners = np.zeros((vertex_count, 3))
    for k in range(3):
        first = _unit(triangles[:, (k + 1) % 3] - triangles[:, k])
        second = _unit(triangles[:, (k + 2) % 3] - triangles[:, k])
        angle = np.arccos(np.clip(np.einsum("ij,ij->i", first, second), -1.0, 1.0))
        np.add.at(corners, faces[:, k], angle[:, None] * normals)
    ends = np.sort(np.stack([faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]], axis=1).reshape(-1, 2), axis=1)
    _, edge, count = np.unique(ends[:, 0] * vertex_count + ends[:, 1], return_inverse=True, return_counts=True)
    edge = edge.reshape(-1)
    sums = np.zeros((len(count), 3))
    np.add.at(sums, edge, np.repeat(normals, 3, axis=0))
    return _unit(corners), _unit(sums)[edge].reshape(-1, 3, 3), (count[edge] == 1).reshape(-1, 3)


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


@numba.njit(cache=True)
def _interpolate(values, origin, spacing, points, distance, gradient):  # type: ignore[no-untyped-def]
    nz, ny, nx = values.shape
    for n in range(points.shape[0]):
        x = min(max((points[n, 0] - origin[0]) / spacing, 0.0), nx - 1.001)
        y = min(max((points[n, 1] - origin[1]) / spacing, 0.0), ny - 1.001)
        z = min(max((points[n, 2] - origin[2]) / spacing, 0.0), nz - 1.001)
        i, j, k = int(x), int(y), int(z)
        u, v, w = x - i, y - j, z - k
        a000, a100 = values[k, j, i], values[k, j, i + 1]
        a010, a110 = values[k, j + 1, i], values[k, j + 1, i + 1]
        a001, a101 = values[k + 1, j, i], values[k + 1, j, i + 1]
        a011, a111 = values[k + 1, j + 1, i], values[k + 1, j + 1, i + 1]
        b00, b10 = a000 + u * (a100 - a000), a010 + u * (a110 - a010)
        b01, b11 = a001 + u * (a101 - a001), a011 + u * (a111 - a011)
        c0, c1 = b00 + v * (b10 - b00), b01 + v * (b11 - b01)
        distance[n] = c0 + w * (c1 - c0)
        gx = (1 - w) * ((1 - v) * (a100 - a000) + v * (a110 - a010)) + w * ((1 - v) * (a101 - a001) + v * (a111 - a011))
        gy = (1 - w) * (b10 - b00) + w * (b11 - b01)
        gz = c1 - c0
        length = np.sqrt(gx * gx + gy * gy + gz * gz)
        if length > 1e-9:
            gradient[n, 0], gradient[n, 1], gradient[n, 2] = gx / length, gy / length, gz / length
        else:
            gradient[n, 0], gradient[n, 1], gradient[n, 2] = 0.0, 0.0, 0.0
