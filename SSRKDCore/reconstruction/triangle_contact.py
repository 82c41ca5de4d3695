"""Pairs of triangles of one surface that meet where they should not.

Two triangles that do not lie in one plane meet where an edge of one passes through, or touches, the other (Moller, "A fast
triangle-triangle intersection test", J. Graphics Tools 2, 1997; the edge test is that of Moller and Trumbore, ibid.). In one
plane they overlap unless the direction across one of their six edges separates them. The edge or corner that neighbours share
is no contact; neighbours that lie folded onto one another are found.
"""

from __future__ import annotations

import numba
import numpy as np

#: Of a triangle's longest edge: what is nearer touches, or lies in the plane. Rounding of doubles is far below, a mesher's far above.
_TOUCHING = 1e-9


@numba.njit(cache=True)
def contact_pairs(triangles, faces):  # type: ignore[no-untyped-def]
    """List of pairs (n, m) of triangles that meet.

    Parameters
    ----------
    triangles: (F, 3 corners, 3), sorted by their lowest x.
    faces: (F, 3) vertex indices, in the same order.
    """
    count = triangles.shape[0]
    low, high = np.empty((count, 3)), np.empty((count, 3))
    for n in range(count):
        for axis in range(3):
            low[n, axis] = min(triangles[n, 0, axis], triangles[n, 1, axis], triangles[n, 2, axis])
            high[n, axis] = max(triangles[n, 0, axis], triangles[n, 1, axis], triangles[n, 2, axis])
    found = [(-1, -1)]
    # Sweep along x, compare those whose boxes overlap.
    for n in range(count):
        for m in range(n + 1, count):
            if low[m, 0] > high[n, 0]:
                break
            if low[m, 1] > high[n, 1] or high[m, 1] < low[n, 1] or low[m, 2] > high[n, 2] or high[m, 2] < low[n, 2]:
                continue
            if _meet(triangles[n], faces[n], triangles[m], faces[m]):
                found.append((n, m))
    return found[1:]


@numba.njit(cache=True)
def _meet(one, one_face, two, two_face):  # type: ignore[no-untyped-def]
    shared = 0
    for i in range(3):
        for j in range(3):
            shared += one_face[i] == two_face[j]
    if shared == 3:
        return True
    side = _side(one, two)
    if side == 0 and _side(two, one) == 0:
        return _overlap_in_plane(one, two)
    # Triangles that share an edge meet elsewhere only when they lie in one plane.
    if side == 2 or shared == 2 or _side(two, one) == 2:
        return False
    return _edge_meets(one, one_face, two, two_face) or _edge_meets(two, two_face, one, one_face)


@numba.njit(cache=True)
def _side(triangle, plane):  # type: ignore[no-untyped-def]
    """Corners of a triangle and another's plane. 0: all in the plane; 1: on both sides, or touching it; 2: all on one side."""
    ax, ay, az = plane[1, 0] - plane[0, 0], plane[1, 1] - plane[0, 1], plane[1, 2] - plane[0, 2]
    bx, by, bz = plane[2, 0] - plane[0, 0], plane[2, 1] - plane[0, 1], plane[2, 2] - plane[0, 2]
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    longest = max(ax * ax + ay * ay + az * az, bx * bx + by * by + bz * bz)
    near = _TOUCHING * np.sqrt((nx * nx + ny * ny + nz * nz) * longest)
    above, below = 0, 0
    for k in range(3):
        x, y, z = triangle[k, 0] - plane[0, 0], triangle[k, 1] - plane[0, 1], triangle[k, 2] - plane[0, 2]
        height = nx * x + ny * y + nz * z
        above += height > near
        below += height < -near
    if above == 0 and below == 0:
        return 0
    return 2 if above == 3 or below == 3 else 1


@numba.njit(cache=True)
def _edge_meets(triangle, face, other, other_face):  # type: ignore[no-untyped-def]
    """Whether an edge that does not end at a shared corner meets the other triangle."""
    for corner in range(3):
        following = (corner + 1) % 3
        shared = False
        for n in range(3):
            if face[corner] == other_face[n] or face[following] == other_face[n]:
                shared = True
        if not shared and _segment_meets(triangle[corner], triangle[following], other[0], other[1], other[2]):
            return True
    return False


@numba.njit(cache=True)
def _segment_meets(p, q, a, b, c):  # type: ignore[no-untyped-def]
    """Whether the segment from p to q passes through the triangle a, b, c, its rim and the segment's ends included."""
    dx, dy, dz = q[0] - p[0], q[1] - p[1], q[2] - p[2]
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    hx, hy, hz = dy * vz - dz * vy, dz * vx - dx * vz, dx * vy - dy * vx
    determinant = ux * hx + uy * hy + uz * hz
    lengths = (dx * dx + dy * dy + dz * dz) * (ux * ux + uy * uy + uz * uz) * (vx * vx + vy * vy + vz * vz)
    # A segment along the plane meets the triangle's rim: then the triangle's edges are found to meet the other triangle.
    if determinant * determinant <= 1e-24 * lengths:
        return False
    sx, sy, sz = p[0] - a[0], p[1] - a[1], p[2] - a[2]
    x = (sx * hx + sy * hy + sz * hz) / determinant
    if x < -_TOUCHING or x > 1 + _TOUCHING:
        return False
    kx, ky, kz = sy * uz - sz * uy, sz * ux - sx * uz, sx * uy - sy * ux
    y = (dx * kx + dy * ky + dz * kz) / determinant
    if y < -_TOUCHING or x + y > 1 + _TOUCHING:
        return False
    t = (vx * kx + vy * ky + vz * kz) / determinant
    return -_TOUCHING <= t <= 1 + _TOUCHING


@numba.njit(cache=True)
def _overlap_in_plane(one, two):  # type: ignore[no-untyped-def]
    """Whether two triangles of one plane have an area in common: no direction across an edge of either separates them."""
    normal = np.cross(one[1] - one[0], one[2] - one[0])
    for triangle in (one, two):
        for k in range(3):
            across = np.cross(normal, triangle[(k + 1) % 3] - triangle[k])
            low, high = np.empty(2), np.empty(2)
            for n in range(2):
                points = one if n == 0 else two
                a, b, c = (
                    np.dot(points[0] - one[0], across),
                    np.dot(points[1] - one[0], across),
                    np.dot(points[2] - one[0], across),
                )
                low[n], high[n] = min(a, b, c), max(a, b, c)
            common = min(high[0], high[1]) - max(low[0], low[1])
            if common <= _TOUCHING * (high[0] - low[0] + high[1] - low[1]):
                return False
    return True
