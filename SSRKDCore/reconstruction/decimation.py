"""Fewer triangles, still closed, with the deviation measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.surface import Surface

#: Attempts to find the coarsest surface within a maximum deviation.
_ATTEMPTS = 6


@dataclass(frozen=True)
class Decimation:
    """A surface with fewer triangles.

    Attributes
    ----------
    surface: closed, every edge shared by two triangles, outward winding.
    deviation_mm: the largest distance between the two surfaces, measured both ways (see `largest_deviation`).
    reached: whether the triangle budget was met.
    """

    surface: Surface
    deviation_mm: float
    reached: bool


def decimated(surface: Surface, triangles: int, max_deviation_mm: float | None = None) -> Decimation:
    """A closed surface with at most `triangles` triangles, or the fewest (about) that stay within `max_deviation_mm`.

    Where quadric decimation (Garland and Heckbert 1997) would leave an edge with other than two triangles, a
    topology-preserving one (Schroeder 1992) is used instead; where neither does, fewer triangles are removed.
    """
    count = len(surface.faces)
    if count <= triangles:
        return Decimation(surface, 0.0, True)
    best = Decimation(surface, 0.0, False)
    # The deviation grows as triangles go: bisect between what fits and what does not, starting with the budget itself.
    too_few, enough = triangles - 1, count
    target = triangles
    for _ in range(_ATTEMPTS):
        candidate = _closed_with(surface, target)
        if candidate is not None:
            deviation = largest_deviation(surface, candidate)
            if max_deviation_mm is None or deviation <= max_deviation_mm:
                best = Decimation(candidate, deviation, len(candidate.faces) <= triangles)
                enough = target
                if best.reached:
                    break
            else:
                too_few = target
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

    corners = from_surface.triangles
    middles = (corners + corners[:, [1, 2, 0]]) / 2
    points = np.concatenate([from_surface.vertices, middles.reshape(-1, 3), corners.mean(axis=1)])
    distance = vtkImplicitPolyDataDistance()
    distance.SetInput(to_surface.to_vtk())
    result = vtkDoubleArray()
    distance.FunctionValue(numpy_to_vtk(np.ascontiguousarray(points), deep=False), result)
    return np.abs(vtk_to_numpy(result))


def _closed_with(surface: Surface, triangles: int) -> Surface | None:
    """The surface with about this many triangles, or None where no method keeps it closed."""
    from vtkmodules.vtkFiltersCore import vtkDecimatePro, vtkQuadricDecimation

    reduction = 1.0 - triangles / len(surface.faces)
    quadric = vtkQuadricDecimation()
    quadric.SetTargetReduction(reduction)
    preserving = vtkDecimatePro()
    preserving.SetTargetReduction(reduction)
    preserving.PreserveTopologyOn()
    preserving.SplittingOff()
    preserving.BoundaryVertexDeletionOff()
    for method in (quadric, preserving):
        method.SetInputData(surface.to_vtk())
        method.Update()
        candidate = _without_unused_vertices(Surface.from_vtk(method.GetOutput()))
        if candidate.is_closed() and candidate.triangle_areas.min() > 0:
            return candidate if candidate.volume > 0 else Surface(candidate.vertices, candidate.faces[:, ::-1])
    return None


def _without_unused_vertices(surface: Surface) -> Surface:
    used, faces = np.unique(surface.faces, return_inverse=True)
    return Surface(surface.vertices[used], faces.reshape(-1, 3))
