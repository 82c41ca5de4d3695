"""Deterministic area-weighted sampling of triangles: the quadrature behind every exact distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def triangle_areas(triangles: Array) -> Array:
    """(T,) areas in mm^2 of triangles (T, 3 corners, 3)."""
    return 0.5 * np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1)


def split_at_longest_edge(triangles: Array) -> Array:
    """Cut each triangle (T, 3, 3) in two at the middle of its longest edge: (2 T, 3, 3), winding kept.

    Piece t and piece T + t come from triangle t; corner 1 of piece t is the middle of the edge that was cut.
    """
    first, second, third = _turned(triangles, np.argmax(_squared_edges(triangles), axis=1))
    middle = (first + second) / 2
    return np.concatenate([_stacked(first, middle, third), _stacked(middle, second, third)])


def subdivided(triangles: Array, spacing: float) -> Array:
    """Cut triangles (T, 3, 3) into pieces that measure at most `spacing` mm along and across; winding kept.

    Each triangle is cut in rows parallel to its shortest edge, and each row in as many columns as its width needs. A long
    thin triangle becomes one row of pieces as wide as itself, where bisection would make needles without end.
    """
    lengths = np.sqrt(_squared_edges(triangles))
    base_left, base_right, apex = _turned(triangles, np.argmin(lengths, axis=1))
    row_count = np.maximum(np.ceil(lengths.max(axis=1) / spacing), 1).astype(np.int64)
    triangle, row = _enumerated(row_count)
    above, below = row / row_count[triangle], (row + 1) / row_count[triangle]
    column_count = np.maximum(np.ceil(lengths.min(axis=1)[triangle] * below / spacing), 1).astype(np.int64)
    strip, column = _enumerated(column_count)
    left, right = column / column_count[strip], (column + 1) / column_count[strip]
    triangle, row, above, below = triangle[strip], row[strip], above[strip], below[strip]

    def point(down: Array, across: Array) -> Array:
        start, end, top = base_left[triangle], base_right[triangle], apex[triangle]
        return top + down[:, None] * (start + across[:, None] * (end - start) - top)

    upper_left, upper_right = point(above, left), point(above, right)
    lower_left, lower_right = point(below, left), point(below, right)
    # In the first row the upper corners are both the apex, and only one piece is left.
    full = row > 0
    upper = _stacked(lower_left[full], upper_right[full], upper_left[full])
    return np.concatenate([_stacked(lower_left, lower_right, upper_right), upper])


def _enumerated(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For counts (2, 3): owners (0, 0, 1, 1, 1) and places (0, 1, 0, 1, 2)."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)


def _squared_edges(triangles: Array) -> Array:
    """(T, 3) squared lengths of the edges from corner 0 to 1, 1 to 2, 2 to 0."""
    edges = np.roll(triangles, -1, axis=1) - triangles
    return np.asarray(np.einsum("tij,tij->ti", edges, edges))


def _turned(triangles: Array, first: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """The three corners (T, 3) of each triangle in its winding, corner `first` (T,) leading."""
    order = (first[:, None] + np.arange(3)) % 3
    corners = np.take_along_axis(triangles, order[:, :, None], axis=1)
    return corners[:, 0], corners[:, 1], corners[:, 2]


def _stacked(a: Array, b: Array, c: Array) -> Array:
    return np.stack([a, b, c], axis=1)


@dataclass(frozen=True)
class SurfaceSamples:
    """Small triangles that tile a surface, with one sample at the centroid of each.

    Attributes
    ----------
    triangles: (N, 3 corners, 3) mm.
    points: (N, 3) centroids, mm.
    areas: (N,) mm^2; the integral of f over the surface is about sum(areas * f(points)), exact for f linear on each
        triangle.
    """

    triangles: Array
    points: Array
    areas: Array


def sampled(triangles: Array, spacing: float) -> SurfaceSamples:
    """Samples of triangles (T, 3, 3) at most `spacing` mm apart; triangles without area are dropped."""
    small = subdivided(triangles[triangle_areas(triangles) > 0], spacing)
    return SurfaceSamples(small, small.mean(axis=1), triangle_areas(small))
