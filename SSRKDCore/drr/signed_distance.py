"""Signed distance from a closed surface on a voxel grid: exact near the surface, by fast sweeping deeper inside.

Depths follow H. Zhao, "A fast sweeping method for Eikonal equations", Mathematics of Computation 74, 2005.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from SSRKDCore.grid import Grid
from SSRKDCore.surface import Surface

_EXACT_VOXELS = 1.5
_SWEEP_ROUNDS = 2


@numba.njit(cache=True, error_model="numpy", inline="always")
def _squared_distance(px, py, pz, abx, aby, abz, acx, acy, acz, ab_ab, ab_ac, ac_ac):  # type: ignore[no-untyped-def]
    """Squared distance from a point to a triangle, by the region of the triangle's plane that the point projects to.

    The point is given relative to corner a, the triangle by its edges ab, ac and their products.
    """
    d1, d2 = abx * px + aby * py + abz * pz, acx * px + acy * py + acz * pz
    d3, d4 = d1 - ab_ab, d2 - ab_ac
    d5, d6 = d1 - ab_ac, d2 - ac_ac
    if d1 <= 0.0 and d2 <= 0.0:
        u, v = 0.0, 0.0
    elif d3 >= 0.0 and d4 <= d3:
        u, v = 1.0, 0.0
    elif d6 >= 0.0 and d5 <= d6:
        u, v = 0.0, 1.0
    else:
        va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
        if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
            u, v = d1 / (d1 - d3), 0.0
        elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
            u, v = 0.0, d2 / (d2 - d6)
        elif va <= 0.0 and (d4 - d3) >= 0.0 and (d5 - d6) >= 0.0:
            v = (d4 - d3) / ((d4 - d3) + (d5 - d6))
            u = 1.0 - v
        else:
            share = 1.0 / (va + vb + vc)
            u, v = vb * share, vc * share
    rx, ry, rz = px - u * abx - v * acx, py - u * aby - v * acy, pz - u * abz - v * acz
    return rx * rx + ry * ry + rz * rz


@numba.njit(cache=True, error_model="numpy")
def _near_surface(triangles, origin, spacing, reach, distance):  # type: ignore[no-untyped-def]
    """Lower `distance` [z, y, x] to the exact distance from the triangles in the voxels within `reach` mm of one."""
    shape = distance.shape
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for t in range(len(triangles)):
        for axis in range(3):
            first = min(triangles[t, 0, axis], triangles[t, 1, axis], triangles[t, 2, axis]) - reach
            last = max(triangles[t, 0, axis], triangles[t, 1, axis], triangles[t, 2, axis]) + reach
            low[axis] = max(0, math.ceil((first - origin[axis]) / spacing[axis]))
            high[axis] = min(shape[2 - axis] - 1, math.floor((last - origin[axis]) / spacing[axis]))
        ax, ay, az = triangles[t, 0, 0], triangles[t, 0, 1], triangles[t, 0, 2]
        abx, aby, abz = triangles[t, 1, 0] - ax, triangles[t, 1, 1] - ay, triangles[t, 1, 2] - az
        acx, acy, acz = triangles[t, 2, 0] - ax, triangles[t, 2, 1] - ay, triangles[t, 2, 2] - az
        ab_ab, ac_ac = abx * abx + aby * aby + abz * abz, acx * acx + acy * acy + acz * acz
        ab_ac = abx * acx + aby * acy + abz * acz
        nx, ny, nz = aby * acz - abz * acy, abz * acx - abx * acz, abx * acy - aby * acx
        # A voxel farther than `reach` from the triangle's plane needs no closer look.
        limit = reach * math.sqrt(nx * nx + ny * ny + nz * nz) * (1.0 + 1e-9)
        for z in range(low[2], high[2] + 1):
            pz = origin[2] + z * spacing[2] - az
            for y in range(low[1], high[1] + 1):
                py = origin[1] + y * spacing[1] - ay
                rest = ny * py + nz * pz
                for x in range(low[0], high[0] + 1):
                    px = origin[0] + x * spacing[0] - ax
                    if abs(nx * px + rest) > limit:
                        continue
                    squared = _squared_distance(px, py, pz, abx, aby, abz, acx, acy, acz, ab_ab, ab_ac, ac_ac)
                    if squared <= reach * reach and squared < distance[z, y, x] ** 2:
                        distance[z, y, x] = math.sqrt(squared)


@numba.njit(cache=True)
def _toggle_crossings(triangles, origin, spacing, inside):  # type: ignore[no-untyped-def]
    """Mark in `inside` [z, y, x] the first voxel after each crossing of the surface by the rays along x; then fill by
    parity.

    Edges are half-open and always followed from their lower end, so that a ray through the edge of two triangles
    crosses just one.
    """
    nz, ny, nx = inside.shape
    for t in range(len(triangles)):
        p = triangles[t]
        # One line more than needed on either side: which lines cross is decided below, the same way for neighbouring
        # triangles.
        z_low = max(0, math.floor((min(p[0, 2], p[1, 2], p[2, 2]) - origin[2]) / spacing[2]))
        z_high = min(nz - 1, math.ceil((max(p[0, 2], p[1, 2], p[2, 2]) - origin[2]) / spacing[2]))
        y_low = max(0, math.floor((min(p[0, 1], p[1, 1], p[2, 1]) - origin[1]) / spacing[1]))
        y_high = min(ny - 1, math.ceil((max(p[0, 1], p[1, 1], p[2, 1]) - origin[1]) / spacing[1]))
        for z in range(z_low, z_high + 1):
            at_z = origin[2] + z * spacing[2]
            for y in range(y_low, y_high + 1):
                at_y = origin[1] + y * spacing[1]
                # Crossing number of the triangle's outline about (y, z), with half-open edges in z.
                within = False
                for i in range(3):
                    q, r = p[i], p[(i + 1) % 3]
                    if (q[2] <= at_z) != (r[2] <= at_z):
                        # Always from the lower end, so that both triangles of an edge compute the same number.
                        if q[2] > r[2]:
                            q, r = r, q
                        if q[1] + (at_z - q[2]) / (r[2] - q[2]) * (r[1] - q[1]) > at_y:
                            within = not within
                if not within:
                    continue
                # The plane of the triangle gives x; its normal is the cross product of two edges.
                e_x, e_y, e_z = p[1, 0] - p[0, 0], p[1, 1] - p[0, 1], p[1, 2] - p[0, 2]
                f_x, f_y, f_z = p[2, 0] - p[0, 0], p[2, 1] - p[0, 1], p[2, 2] - p[0, 2]
                normal_x, normal_y, normal_z = e_y * f_z - e_z * f_y, e_z * f_x - e_x * f_z, e_x * f_y - e_y * f_x
                if normal_x == 0.0:
                    continue
                at_x = p[0, 0] - (normal_y * (at_y - p[0, 1]) + normal_z * (at_z - p[0, 2])) / normal_x
                first = max(0, math.ceil((at_x - origin[0]) / spacing[0]))
                if first < nx:
                    inside[z, y, first] = not inside[z, y, first]
    for z in range(nz):
        for y in range(ny):
            state = False
            for x in range(nx):
                state = state != inside[z, y, x]
                inside[z, y, x] = state


@numba.njit(cache=True)
def _sweep(distance, inside, spacing, exact, limit, flip_z, flip_y, flip_x):  # type: ignore[no-untyped-def]
    """One Gauss-Seidel sweep of |grad d| = 1 over the inside, in one of the eight orders.

    Values up to `exact` mm stay; values above `limit` mm are of no interest.
    """
    nz, ny, nx = distance.shape
    a, h = np.empty(3), np.empty(3)
    for iz in range(nz):
        z = nz - 1 - iz if flip_z else iz
        for iy in range(ny):
            y = ny - 1 - iy if flip_y else iy
            for ix in range(nx):
                x = nx - 1 - ix if flip_x else ix
                if not inside[z, y, x] or distance[z, y, x] <= exact:
                    continue
                a[0] = min(distance[z, y, max(x - 1, 0)], distance[z, y, min(x + 1, nx - 1)])
                a[1] = min(distance[z, max(y - 1, 0), x], distance[z, min(y + 1, ny - 1), x])
                a[2] = min(distance[max(z - 1, 0), y, x], distance[min(z + 1, nz - 1), y, x])
                h[0], h[1], h[2] = spacing[0], spacing[1], spacing[2]
                smallest = min(a[0], a[1], a[2])
                if smallest >= distance[z, y, x] or smallest >= limit:
                    continue
                for i in range(2):
                    for j in range(2 - i):
                        if a[j] > a[j + 1]:
                            a[j], a[j + 1] = a[j + 1], a[j]
                            h[j], h[j + 1] = h[j + 1], h[j]
                value = a[0] + h[0]
                weight, first, second = 1 / h[0] ** 2, a[0] / h[0] ** 2, a[0] ** 2 / h[0] ** 2
                for j in range(1, 3):
                    if value <= a[j]:
                        break
                    weight += 1 / h[j] ** 2
                    first += a[j] / h[j] ** 2
                    second += a[j] ** 2 / h[j] ** 2
                    value = (first + math.sqrt(max(first * first - weight * (second - 1.0), 0.0))) / weight
                if value < distance[z, y, x]:
                    distance[z, y, x] = value


def signed_distance(
    surface: Surface, grid: Grid, limit: float, exact_reach: float | None = None
) -> NDArray[np.float32]:
    """Distance in mm from a surface to the centre of each voxel, negative inside, float32 [z, y, x].

    Exact within `exact_reach` mm of the surface (1.5 voxels when None); deeper inside right to first order of the spacing,
    down to -`limit` (mm); +`limit` further outside. Inside is where a ray along x has crossed the surface an odd number
    of times: a shaft that is cut open across z is still filled.

    surface: triangles in LPS mm, not empty. Raises ValueError for an empty one.
    """
    if surface.is_empty:
        raise ValueError("an empty surface has no distance")
    spacing = np.array(grid.spacing)
    reach = _EXACT_VOXELS * float(spacing.max()) if exact_reach is None else exact_reach
    limit = max(limit, reach)
    nz, ny, nx = grid.shape
    result = np.full(grid.shape, np.float32(limit))
    # Only the part of the grid near the surface is worked on.
    low = np.floor((surface.bounds[0] - limit - grid.origin) / spacing).astype(int)
    high = np.ceil((surface.bounds[1] + limit - grid.origin) / spacing).astype(int) + 1
    low, high = np.clip(low, 0, (nx, ny, nz)), np.clip(high, 0, (nx, ny, nz))
    if (high <= low).any():
        return result
    origin = np.array(grid.origin) + low * spacing
    shape = tuple(int(n) for n in (high - low)[::-1])
    # A triangle without area has no plane to project to; its edges belong to its neighbours as well.
    triangles = surface.triangles[surface.triangle_areas > 0.0]
    distance = np.full(shape, np.float32(1e6))
    _near_surface(triangles, origin, spacing, reach, distance)
    inside = np.zeros(shape, dtype=np.bool_)
    _toggle_crossings(triangles, origin, spacing, inside)
    if limit > reach:
        for _ in range(_SWEEP_ROUNDS):
            for order in range(8):
                _sweep(distance, inside, spacing, reach, limit, bool(order & 4), bool(order & 2), bool(order & 1))
    np.minimum(distance, np.float32(limit), out=distance)
    result[low[2] : high[2], low[1] : high[1], low[0] : high[0]] = np.where(inside, -distance, distance)
    return result
