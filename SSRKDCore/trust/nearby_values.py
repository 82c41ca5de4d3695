"""Values at every vertex of a surface from those at some of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numba
import numpy as np
from numpy.typing import NDArray

from SSRKDCore.side_by_side import side_by_side
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

#: Keeps the weight of a vertex at its own place finite; mm.
_LEAST_DISTANCE_MM = 0.1
#: Side of the cells, as a share of the distance between known vertices about: smaller ones have fewer candidates, and are more.
_CELL = 0.4
#: Cells along a side at most, for what their table takes.
_MOST_CELLS = 128


def at_vertices_of_all(
    surfaces: Mapping[str, Surface],
    vertices: Mapping[str, NDArray[np.int64]],
    values: Mapping[str, Array],
    threads: int,
) -> dict[str, Array]:
    """`at_all_vertices` of every bone that has values; threads: bones at a time."""
    jobs = [partial(at_all_vertices, surfaces[name], vertices[name], known) for name, known in values.items()]
    return dict(zip(values, side_by_side(jobs, threads), strict=True))


def at_all_vertices(surface: Surface, vertices: NDArray[np.int64], values: Array) -> Array:
    """(V,) values at every vertex from those (N,) at some of them: the mean of the three nearest, nearer ones counting more.

    surface: mm. vertices: (N,) indices of the known ones, one at least.
    """
    known = np.ascontiguousarray(surface.vertices[vertices], dtype=np.float64)
    everywhere = np.ascontiguousarray(surface.vertices, dtype=np.float64)
    low, extent = everywhere.min(axis=0), np.ptp(everywhere, axis=0)
    # Its box stands for the surface.
    area = 2 * (extent[0] * extent[1] + extent[1] * extent[2] + extent[2] * extent[0])
    edge = max(_CELL * float(np.sqrt(area / len(known))), float(extent.max()) / _MOST_CELLS, 1e-9)
    shape = np.floor(extent / edge).astype(np.int64) + 1
    given = np.ascontiguousarray(values, dtype=np.float64)
    return np.asarray(_from_nearest(everywhere, known, given, low, edge, shape))


@numba.njit(cache=True, nogil=True)
def _from_nearest(places, known, values, low, edge, shape):  # type: ignore[no-untyped-def]
    """The places lie in cells of a grid. For each cell that holds any, the known ones are found once that may be among the nearest of a
    place in it: no farther from its centre than the third nearest is from there, and its diagonal.
    """
    count, diagonal = len(known), np.sqrt(3.0) * edge
    first = np.full(shape[0] * shape[1] * shape[2], -1, np.int64)
    last = np.zeros(len(first), np.int64)
    # Of every candidate x, y, z and its value, each in a row of its own: sums over them are several at a time.
    candidates, used = np.empty((4, 64 * count)), 0
    squares = np.empty(count)
    result = np.empty(len(places))
    for n in range(len(places)):
        px, py, pz = places[n, 0], places[n, 1], places[n, 2]
        i = min(int((px - low[0]) / edge), shape[0] - 1)
        j = min(int((py - low[1]) / edge), shape[1] - 1)
        k = min(int((pz - low[2]) / edge), shape[2] - 1)
        cell = (i * shape[1] + j) * shape[2] + k
        if first[cell] < 0:
            x, y, z = low[0] + (i + 0.5) * edge, low[1] + (j + 0.5) * edge, low[2] + (k + 0.5) * edge
            for m in range(count):
                squares[m] = (known[m, 0] - x) ** 2 + (known[m, 1] - y) ** 2 + (known[m, 2] - z) ** 2
            # A little more, for what rounding takes.
            reach = (np.sqrt(_third_smallest(squares, count)) + diagonal) ** 2 * (1 + 1e-9)
            if used + count > candidates.shape[1]:
                candidates = np.concatenate((candidates, np.empty_like(candidates)), axis=1)
            first[cell] = used
            for m in range(count):
                if squares[m] <= reach:
                    candidates[0, used], candidates[1, used], candidates[2, used] = (
                        known[m, 0],
                        known[m, 1],
                        known[m, 2],
                    )
                    candidates[3, used] = values[m]
                    used += 1
            last[cell] = used
        start, near = first[cell], last[cell] - first[cell]
        for m in range(near):
            x, y, z = px - candidates[0, start + m], py - candidates[1, start + m], pz - candidates[2, start + m]
            squares[m] = x * x + y * y + z * z
        farthest = _third_smallest(squares, near)
        total, weights = 0.0, 0.0
        for m in range(near):
            if squares[m] <= farthest:
                weight = 1.0 / (np.sqrt(squares[m]) + _LEAST_DISTANCE_MM)
                total += weight * candidates[3, start + m]
                weights += weight
        result[n] = total / weights
    return result


@numba.njit(cache=True, nogil=True)
def _third_smallest(values, count):  # type: ignore[no-untyped-def]
    """The third smallest of the first `count` values; infinite where there are fewer."""
    least, second, third = np.inf, np.inf, np.inf
    for m in range(count):
        value = values[m]
        third = min(third, max(second, value))
        second = min(second, max(least, value))
        least = min(least, value)
    return third
