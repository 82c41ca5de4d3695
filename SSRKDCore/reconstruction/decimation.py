"""Fewer triangles, still closed, with the deviation measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.reconstruction.edge_collapse import collapse_edges
from SSRKDCore.reconstruction.mesh_check import self_intersections, unsound_vertices
from SSRKDCore.surface import Surface

#: Attempts to find the coarsest surface within a maximum deviation.
_ATTEMPTS = 6
#: Attempts to keep a surface out of itself, each finer where the one before touched itself.
_UNTANGLING = 10
#: How much finer.
_FINER = 4


@dataclass(frozen=True)
class Decimation:
    """A surface with fewer triangles.

    Attributes
    ----------
    surface: as closed and manifold as the original.
    deviation_mm: the largest distance between the two surfaces, measured both ways (see `largest_deviation`).
    reached: whether the triangle budget was met.
    """

    surface: Surface
    deviation_mm: float
    reached: bool


def decimated(surface: Surface, triangles: int, max_deviation_mm: float | None = None) -> Decimation:
    """A surface with at most `triangles` triangles, or the fewest (about) that stay within `max_deviation_mm`.

    Edges are collapsed in the order of their quadric error, none that would change the topology or fold the surface (see
    `edge_collapse`): a closed surface stays closed and manifold. Where the result would pass through itself, that place keeps more of its
    vertices, at the cost of others while the budget allows. Open and non-manifold edges stay as they are. Where fewer triangles would
    fold the surface, take it through itself or close a handle, more are kept than the budget; then `reached` is False.
    """
    count = len(surface.faces)
    if count <= triangles:
        return Decimation(surface, 0.0, True)
    best = Decimation(surface, 0.0, False)
    # The deviation grows as triangles go: bisect between what fits and what does not, starting with the budget itself.
    too_few, enough = triangles - 1, count
    target = triangles
    for _ in range(_ATTEMPTS):
        candidate = _with_triangles(surface, target)
        deviation = largest_deviation(surface, candidate)
        if max_deviation_mm is None or deviation <= max_deviation_mm:
            best = Decimation(candidate, deviation, len(candidate.faces) <= triangles)
            enough = target
            if best.reached or max_deviation_mm is None:
                break
        else:
            too_few = target
        target = int(np.sqrt(float(max(too_few, 1)) * enough))
        if enough - too_few < 0.05 * enough or target in (too_few, enough):
            break
    return best


def largest_deviation(first: Surface, second: Surface) -> float:
    """The largest distance in mm between two surfaces, both ways, measured at vertices, edge midpoints and triangle
    centres.
    """
    return max(float(_distances(first, second).max()), float(_distances(second, first).max()))


def _distances(from_surface: Surface, to_surface: Surface) -> NDArray[np.float64]:
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkDoubleArray
    from vtkmodules.vtkFiltersCore import vtkImplicitPolyDataDistance

    vertices, faces = from_surface.vertices, from_surface.faces
    ends = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
    points = np.concatenate([vertices, vertices[ends].mean(axis=1), vertices[faces].mean(axis=1)])
    distance = vtkImplicitPolyDataDistance()
    distance.SetInput(to_surface.to_vtk())
    result = vtkDoubleArray()
    distance.FunctionValue(numpy_to_vtk(np.ascontiguousarray(points), deep=False), result)
    return np.abs(vtk_to_numpy(result))


def _with_triangles(surface: Surface, triangles: int) -> Surface:
    """About this many triangles, or the next doubling of it that the shape allows."""
    candidate, collapsed = _attempt(surface, triangles)
    target = triangles
    # Asked for too few, what can still be collapsed is ruined and little is gained: more triangles come out better and fewer.
    while len(candidate.faces) > target and 2 * target < len(candidate.faces):
        target *= 2
        # Below what is left when nothing more can be collapsed, every target ends in the same surface.
        if target > collapsed:
            candidate = min(candidate, _attempt(surface, target)[0], key=lambda found: len(found.faces))
    return candidate


def _attempt(surface: Surface, triangles: int) -> tuple[Surface, int]:
    """About this many triangles, without contacts of triangles where that could be had, else with the fewest found.

    And how many are left when contacts are not looked at.
    """
    most = np.full(len(surface.vertices), len(surface.vertices))
    most[unsound_vertices(surface)] = 1
    best, fewest, collapsed = surface, -1, -1
    for _ in range(_UNTANGLING):
        vertices, faces, became = collapse_edges(surface.vertices, surface.faces, triangles, most)
        # Rounded as STL will round it, so that what is checked is what is written.
        candidate = Surface(vertices.astype(np.float32), faces)
        crossing = self_intersections(candidate)
        collapsed = len(faces) if collapsed < 0 else collapsed
        if fewest < 0 or len(crossing) < fewest:
            best, fewest = candidate, len(crossing)
        if fewest == 0:
            break
        # What was merged into the corners of these triangles is merged less in the next attempt: left alone altogether, it
        # would use up the budget.
        touched = np.zeros(len(vertices), dtype=bool)
        touched[faces[np.unique(crossing)]] = True
        stands_for = np.bincount(became[became >= 0], minlength=len(vertices))
        finer = np.maximum(stands_for // _FINER, 1)
        most = np.where((became >= 0) & touched[became], np.minimum(most, finer[became]), most)
    return best, collapsed
