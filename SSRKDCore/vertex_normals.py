"""Normals at the vertices of a triangle mesh."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def vertex_normals(vertices: Array, faces: NDArray[np.int64]) -> Array:
    """(V, 3) unit normals, each the area-weighted mean of the triangles around the vertex: outwards for outward winding.

    vertices: (V, 3) mm. faces: (F, 3) indices of them. A vertex of no triangle has the normal 0.
    """
    given = np.ascontiguousarray(vertices, dtype=np.float64), np.ascontiguousarray(faces, dtype=np.int64)
    return np.asarray(_vertex_normals(*given))


@numba.njit(cache=True, nogil=True)
def _vertex_normals(vertices, faces):  # type: ignore[no-untyped-def]
    count = len(vertices)
    # First, second and third corners are added up by themselves, as `np.bincount` of each would: to the bit what was measured with it.
    sums = np.zeros((count, 3, 3))
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x1, y1, z1 = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        x2, y2, z2 = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        x, y, z = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
        for corner in range(3):
            vertex = faces[f, corner]
            sums[vertex, corner, 0] += x
            sums[vertex, corner, 1] += y
            sums[vertex, corner, 2] += z
    normals = np.empty((count, 3))
    for vertex in range(count):
        square = 0.0
        for axis in range(3):
            value = sums[vertex, 0, axis] + sums[vertex, 1, axis] + sums[vertex, 2, axis]
            normals[vertex, axis] = value
            square += value * value
        length = max(np.sqrt(square), 1e-12)
        for axis in range(3):
            normals[vertex, axis] /= length
    return normals
