"""Closest points on a triangle surface, for registration: many queries against one surface."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from SSRKDCore.evaluation.surface_sampling import split_at_longest_edge
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

# Triangles are cut to this size (mm) for the search, so that the one with the closest point is among the nearest by centroid: on
# decimated bones, whose triangles differ much in size, it otherwise is not for some percent of the points.
_LONGEST_EDGE = 2.0
_CANDIDATES = 10


@numba.njit(cache=True, inline="always")
def _closest_on_triangle(px, py, pz, t):  # type: ignore[no-untyped-def]
    """Weights of the corners t[1] and t[2] at the point of a triangle t (3, 3) that is next to p.

    By the Voronoi regions of corners and edges (Ericson, Real-Time Collision Detection, 2005, section 5.1.5).
    """
    ux, uy, uz = t[1, 0] - t[0, 0], t[1, 1] - t[0, 1], t[1, 2] - t[0, 2]
    vx, vy, vz = t[2, 0] - t[0, 0], t[2, 1] - t[0, 1], t[2, 2] - t[0, 2]
    ax, ay, az = px - t[0, 0], py - t[0, 1], pz - t[0, 2]
    uu, uv, vv = ux * ux + uy * uy + uz * uz, ux * vx + uy * vy + uz * vz, vx * vx + vy * vy + vz * vz
    # Projections of p on both edges, seen from each corner.
    d1, d2 = ux * ax + uy * ay + uz * az, vx * ax + vy * ay + vz * az
    d3, d4 = d1 - uu, d2 - uv
    d5, d6 = d1 - uv, d2 - vv
    if d1 <= 0.0 and d2 <= 0.0:
        return 0.0, 0.0
    if d3 >= 0.0 and d4 <= d3:
        return 1.0, 0.0
    if d6 >= 0.0 and d5 <= d6:
        return 0.0, 1.0
    vc = d1 * d4 - d3 * d2
    if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        return d1 / (d1 - d3), 0.0
    vb = d5 * d2 - d1 * d6
    if vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        return 0.0, d2 / (d2 - d6)
    va = d3 * d6 - d5 * d4
    if va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        share = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        return 1.0 - share, share
    scale = 1.0 / (va + vb + vc)
    return vb * scale, vc * scale


@numba.njit(cache=True)
def _closest(points, triangles, candidates, closest, chosen):  # type: ignore[no-untyped-def]
    for n in range(points.shape[0]):
        px, py, pz = points[n, 0], points[n, 1], points[n, 2]
        best = np.inf
        for k in range(candidates.shape[1]):
            t = triangles[candidates[n, k]]
            first, second = _closest_on_triangle(px, py, pz, t)
            rest = 1.0 - first - second
            x = rest * t[0, 0] + first * t[1, 0] + second * t[2, 0]
            y = rest * t[0, 1] + first * t[1, 1] + second * t[2, 1]
            z = rest * t[0, 2] + first * t[1, 2] + second * t[2, 2]
            squared = (x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2
            if squared < best:
                best = squared
                closest[n, 0], closest[n, 1], closest[n, 2] = x, y, z
                chosen[n] = candidates[n, k]


class ClosestPoints:
    """Closest points on one surface, prepared once.

    Attributes
    ----------
    triangles: (F, 3, 3) mm, those of the surface that have an area.
    normals: (F, 3) their outward unit normals.
    """

    def __init__(self, surface: Surface) -> None:
        from scipy.spatial import cKDTree

        self.kept = np.flatnonzero(surface.triangle_areas > 0)
        self.triangles = np.ascontiguousarray(surface.triangles[self.kept])
        cross = np.cross(self.triangles[:, 1] - self.triangles[:, 0], self.triangles[:, 2] - self.triangles[:, 0])
        self.normals = cross / np.linalg.norm(cross, axis=1, keepdims=True)
        self._pieces, self._parents = _pieces(self.triangles)
        self._tree = cKDTree(self._pieces.mean(axis=1))

    def query(self, points: Array) -> tuple[Array, NDArray[np.int64]]:
        """Closest points (N, 3) of points (N, 3), and the rows (N,) of `triangles` that they lie on."""
        points = np.ascontiguousarray(points, dtype=np.float64)
        count = min(_CANDIDATES, len(self._pieces))
        candidates = self._tree.query(points, k=count)[1].reshape(len(points), count)
        closest = np.empty_like(points)
        chosen = np.empty(len(points), dtype=np.int64)
        _closest(points, self._pieces, candidates, closest, chosen)
        return closest, self._parents[chosen]


def _pieces(triangles: Array) -> tuple[Array, NDArray[np.int64]]:
    """Triangles (P, 3, 3) without long edges that make up the given ones, and which one (P,) each is part of."""
    parents = np.arange(len(triangles))
    done, done_parents = [], []
    while len(triangles):
        edges = np.linalg.norm(triangles - triangles[:, [1, 2, 0]], axis=2).max(axis=1)
        long = edges > _LONGEST_EDGE
        done.append(triangles[~long])
        done_parents.append(parents[~long])
        triangles, parents = split_at_longest_edge(triangles[long]), np.tile(parents[long], 2)
    return np.ascontiguousarray(np.concatenate(done)), np.concatenate(done_parents)


def barycentric(points: Array, triangles: Array) -> Array:
    """Barycentric coordinates (N, 3) of points (N, 3) with respect to triangles (N, 3 corners, 3)."""
    first, second = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    offset = points - triangles[:, 0]
    d00, d01, d11 = (np.einsum("ij,ij->i", a, b) for a, b in ((first, first), (first, second), (second, second)))
    d20, d21 = np.einsum("ij,ij->i", offset, first), np.einsum("ij,ij->i", offset, second)
    determinant = d00 * d11 - d01 * d01
    v = (d11 * d20 - d01 * d21) / determinant
    w = (d00 * d21 - d01 * d20) / determinant
    return np.stack([1.0 - v - w, v, w], axis=1)
