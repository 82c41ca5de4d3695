"""Edge collapse by quadric error that cannot change a surface's topology.

Garland and Heckbert, "Surface simplification using quadric error metrics", SIGGRAPH 1997, with the link condition of
Dey, Edelsbrunner, Guha and Nekhayev, "Topology preserving edge contraction", Publ. Inst. Math. 66 (1999): on a closed
surface an edge may be collapsed where its two ends have exactly two neighbours in common. VTK's quadric and progressive
filters leave non-manifold edges on frayed surfaces, where a handle is as narrow as a triangle.
"""

from __future__ import annotations

import heapq

import numba
import numpy as np
from numpy.typing import NDArray

#: A triangle may turn by at most 60 degrees in a collapse: a surface does not fold over.
_LEAST_COSINE = 0.5
#: Least height of a triangle over its longest edge after a collapse, unless it was as thin before.
_LEAST_SHAPE = 0.02
#: Weight of the distance to the edge's middle, beside that to the planes: it decides on flat ground, where every place is as good.
_REGULARISATION = 1e-4


def collapse_edges(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], triangles: int, most: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Collapse the cheapest edges until at most `triangles` triangles are left, or none can be collapsed.

    Parameters
    ----------
    vertices: (V, 3) mm.
    faces: (F, 3) of a surface that is closed and manifold at every vertex that may be merged.
    most: (V,) for each vertex, how many vertices of the input the one that it becomes may stand for: 1 leaves it as it is.

    Returns
    -------
    (V', 3) vertices, (F', 3) faces, and (V,) for each vertex of the input the one of the result that it became.
    """
    moved, left, into = _collapse(vertices.copy(), faces.copy(), triangles, most.copy())
    root = into
    while not np.array_equal(root, root[root]):
        root = root[root]
    kept = left[left[:, 0] >= 0]
    used, renumbered = np.unique(kept, return_inverse=True)
    number = np.full(len(vertices), -1)
    number[used] = np.arange(len(used))
    return moved[used], renumbered.reshape(-1, 3), number[root]


@numba.njit(cache=True)
def _plane_quadrics(vertices, faces):  # type: ignore[no-untyped-def]
    """(V, 10) sums over a vertex's triangles of area times the quadric of its plane: xx xy xz xw yy yz yw zz zw ww."""
    quadrics = np.zeros((len(vertices), 10))
    for f in range(len(faces)):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        n = np.cross(b - a, c - a)
        length = np.sqrt(np.dot(n, n))
        if length == 0:
            continue
        n = n / length
        p = (n[0], n[1], n[2], -np.dot(n, a))
        at = 0
        for i in range(4):
            for j in range(i, 4):
                for k in range(3):
                    quadrics[faces[f, k], at] += 0.5 * length * p[i] * p[j]
                at += 1
    return quadrics


@numba.njit(cache=True)
def _best_place(q, a, b, place):  # type: ignore[no-untyped-def]
    """Write the place of least error for the edge from a to b; return the error."""
    # A little of the distance to the middle keeps the system solvable on flat ground and in creases.
    weight = _REGULARISATION * (q[0] + q[4] + q[7]) + 1e-12
    middle = 0.5 * (a + b)
    xx, yy, zz = q[0] + weight, q[4] + weight, q[7] + weight
    xy, xz, yz = q[1], q[2], q[5]
    rx, ry, rz = weight * middle[0] - q[3], weight * middle[1] - q[6], weight * middle[2] - q[8]
    c0, c1, c2 = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    determinant = xx * c0 + xy * c1 + xz * c2
    place[:] = middle
    if determinant > 1e-12 * xx * yy * zz:
        d1, d2, e2 = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
        place[0] = (c0 * rx + c1 * ry + c2 * rz) / determinant
        place[1] = (c1 * rx + d1 * ry + d2 * rz) / determinant
        place[2] = (c2 * rx + d2 * ry + e2 * rz) / determinant
        # Far from the edge means that the planes hardly meet.
        if np.sum((place - middle) ** 2) > np.sum((a - b) ** 2):
            place[:] = middle
    x, y, z = place[0], place[1], place[2]
    error = q[0] * x * x + q[4] * y * y + q[7] * z * z + q[9]
    error += 2 * (q[1] * x * y + q[2] * x * z + q[5] * y * z + q[3] * x + q[6] * y + q[8] * z)
    return max(error, 0.0) + weight * np.sum((a - b) ** 2)


@numba.njit(cache=True)
def _fan(vertex, faces, first, following, corners):  # type: ignore[no-untyped-def]
    """Corners (3 * face + place) of the live triangles at a vertex; dead ones are taken out of its list on the way."""
    count, before, corner = 0, -1, first[vertex]
    while corner >= 0:
        after = following[corner]
        if faces[corner // 3, 0] < 0:
            if before < 0:
                first[vertex] = after
            else:
                following[before] = after
        else:
            if count == len(corners):
                return -1
            corners[count] = corner
            count += 1
            before = corner
        corner = after
    return count


@numba.njit(cache=True)
def _stays_sound(corners, count, faces, vertices, other, place):  # type: ignore[no-untyped-def]
    """Whether no triangle of the fan that survives turns over or becomes a needle when its corner moves to `place`."""
    for n in range(count):
        f, k = corners[n] // 3, corners[n] % 3
        i, j = faces[f, (k + 1) % 3], faces[f, (k + 2) % 3]
        if i == other or j == other:
            continue
        b, c, here = vertices[i], vertices[j], vertices[faces[f, k]]
        old, new = np.cross(b - here, c - here), np.cross(b - place, c - place)
        old_square, new_square = np.dot(old, old), np.dot(new, new)
        if np.dot(old, new) <= _LEAST_COSINE * np.sqrt(old_square * new_square):
            return False
        longest = max(np.sum((b - c) ** 2), np.sum((b - place) ** 2), np.sum((c - place) ** 2))
        longest_before = max(np.sum((b - c) ** 2), np.sum((b - here) ** 2), np.sum((c - here) ** 2))
        shape = np.sqrt(new_square) / longest
        if shape < _LEAST_SHAPE and shape < np.sqrt(old_square) / longest_before:
            return False
    return True


@numba.njit(cache=True)
def _common_neighbours(near, near_count, far, far_count, faces, mark, stamp):  # type: ignore[no-untyped-def]
    """How many vertices are neighbours of both fans' vertices (their own two do not count)."""
    for n in range(near_count):
        f, k = near[n] // 3, near[n] % 3
        mark[faces[f, (k + 1) % 3]] = stamp
        mark[faces[f, (k + 2) % 3]] = stamp
    common = 0
    for n in range(far_count):
        f, k = far[n] // 3, far[n] % 3
        for vertex in (faces[f, (k + 1) % 3], faces[f, (k + 2) % 3]):
            if mark[vertex] == stamp:
                common += 1
                mark[vertex] = 0
    return common


@numba.njit(cache=True)
def _collapse(vertices, faces, triangles, most):  # type: ignore[no-untyped-def]
    quadrics = _plane_quadrics(vertices, faces)
    # The corners of each vertex as a linked list: merging two vertices joins two lists.
    first = np.full(len(vertices), -1, dtype=np.int64)
    following = np.full(3 * len(faces), -1, dtype=np.int64)
    for corner in range(3 * len(faces)):
        vertex = faces[corner // 3, corner % 3]
        following[corner] = first[vertex]
        first[vertex] = corner
    into = np.arange(len(vertices))
    stands_for = np.ones(len(vertices), dtype=np.int64)
    version = np.zeros(len(vertices), dtype=np.int64)
    mark = np.zeros(len(vertices), dtype=np.int64)
    near, far = np.empty(512, dtype=np.int64), np.empty(512, dtype=np.int64)
    place = np.empty(3)
    heap = [(0.0, np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)]
    for f in range(len(faces)):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            if a < b and most[a] > 1 and most[b] > 1:
                error = _best_place(quadrics[a] + quadrics[b], vertices[a], vertices[b], place)
                heap.append((error, a, b, np.int64(0)))
    heapq.heapify(heap)
    left, stamp = len(faces), 0
    while left > triangles and len(heap) > 0:
        _, a, b, age = heapq.heappop(heap)
        if into[a] != a or into[b] != b or age != version[a] + version[b]:
            continue
        near_count, far_count = _fan(a, faces, first, following, near), _fan(b, faces, first, following, far)
        # A tetrahedron meets the link condition and would be left flat; a fan of three would be left with two triangles.
        if near_count < 0 or far_count < 0 or (near_count == 3 and far_count == 3):
            continue
        stamp += 1
        # Each neighbour of both vertices is met once, a and b themselves not: they are no neighbours of themselves.
        if _common_neighbours(near, near_count, far, far_count, faces, mark, stamp) != 2:
            continue
        _best_place(quadrics[a] + quadrics[b], vertices[a], vertices[b], place)
        if not _stays_sound(near, near_count, faces, vertices, b, place):
            continue
        if not _stays_sound(far, far_count, faces, vertices, a, place):
            continue
        vertices[a] = place
        quadrics[a] += quadrics[b]
        into[b] = a
        stands_for[a] += stands_for[b]
        most[a] = min(most[a], most[b])
        version[a] += version[b] + 1
        last = -1
        for n in range(far_count):
            f, k = far[n] // 3, far[n] % 3
            if faces[f, (k + 1) % 3] == a or faces[f, (k + 2) % 3] == a:
                faces[f, 0] = -1
                left -= 1
            else:
                faces[f, k] = a
            last = far[n]
        following[last] = first[a]
        first[a] = first[b]
        near_count = _fan(a, faces, first, following, near)
        for n in range(near_count):
            f, k = near[n] // 3, near[n] % 3
            other = faces[f, (k + 1) % 3]
            if stands_for[a] + stands_for[other] <= min(most[a], most[other]):
                error = _best_place(quadrics[a] + quadrics[other], vertices[a], vertices[other], place)
                heapq.heappush(heap, (error, a, other, version[a] + version[other]))
    return vertices, faces, into
