"""Gaps between bones, and how deep one lies in another."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.evaluation.exact_distances import DistanceToSurface
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

# Gaps are asked for at points this close together. Between them the surfaces of joints, whose radii are 10 mm and more, fall
# short of the points by less than spacing^2 / (8 * 10 mm) = 0.03 mm.
SAMPLE_SPACING = 1.5


def smallest_gap(first: Surface, second: Surface, reach: float = 4.0) -> float:
    """Smallest distance in mm between two closed surfaces; where they intersect, minus the greatest depth found.

    Points at most 1.5 mm apart on either surface, those within `reach` mm of the other surface, against its triangles. `reach`
    where there are none: surfaces that far apart; so depths beyond `reach` are understated, but never read as a gap.
    """
    from scipy.spatial import cKDTree

    margin = reach + SAMPLE_SPACING
    clouds = [
        surface_points(_near_box(one, other.bounds, margin), SAMPLE_SPACING)
        for one, other in ((first, second), (second, first))
    ]
    gap = reach
    for points, others, target in ((clouds[0], clouds[1], second), (clouds[1], clouds[0], first)):
        if len(points) and len(others):
            apart = cKDTree(others).query(points, distance_upper_bound=margin)[0]
            near = points[np.isfinite(apart)]
            if len(near):
                gap = min(gap, float(DistanceToSurface(target).signed(near).min()))
    return gap


def closest_pair(bones: Mapping[str, Surface]) -> tuple[float, tuple[str, str]]:
    """The smallest gap in mm among all pairs of bones, as `smallest_gap` gives it, and the names of that pair."""
    return min((smallest_gap(bones[a], bones[b]), (a, b)) for a, b in combinations(bones, 2))


def surface_points(surface: Surface, spacing: float) -> Array:
    """(N, 3) points on a surface: its vertices, and lattices in the triangles whose edges are longer than `spacing` mm.

    Neighbouring points of one triangle lie at most `spacing` mm apart.
    """
    if surface.is_empty:
        return np.zeros((0, 3))
    triangles = surface.triangles
    longest = np.linalg.norm(triangles - np.roll(triangles, 1, axis=1), axis=2).max(axis=1)
    parts = np.ceil(longest / spacing).astype(int)
    found = [surface.vertices[np.unique(surface.faces)]]
    for count in np.unique(parts[parts > 1]):
        weights = _lattice(int(count))
        found.append(np.einsum("lc,tcd->tld", weights, triangles[parts == count]).reshape(-1, 3))
    return np.concatenate(found)


def thinned(points: Array, spacing: float) -> Array:
    """Points (N, 3) of which each cell of a lattice of `spacing` mm keeps one."""
    cells = np.floor(points / spacing).astype(np.int64)
    return points[np.unique(cells, axis=0, return_index=True)[1]]


def _near_box(surface: Surface, bounds: Array, margin: float) -> Surface:
    """The triangles of a surface whose own boxes reach within `margin` mm of a box (2, 3)."""
    triangles = surface.triangles
    reaching = (triangles.max(axis=1) > bounds[0] - margin) & (triangles.min(axis=1) < bounds[1] + margin)
    return Surface(surface.vertices, surface.faces[reaching.all(axis=1)])


def _lattice(count: int) -> Array:
    """(L, 3) barycentric coordinates of the points that part a triangle's edges into `count`, without its corners."""
    steps = np.array([(i, j, count - i - j) for i in range(count + 1) for j in range(count + 1 - i)])
    return steps[steps.max(axis=1) < count] / count
