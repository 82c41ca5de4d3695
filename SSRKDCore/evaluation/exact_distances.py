"""Exact distances between surfaces: from points to the closest point of any triangle, averaged over area.

"Exact" means point to triangle. The averages are surface integrals, approximated on a deterministic, area-weighted set
of samples (every triangle is cut into pieces of at most 2.5 mm, or 1/40 of the surface's extent if that is less; the
distance is taken at their centroids). The maximum is then searched between the samples by cutting the most
promising triangles further, corners included.

ASSD is pooled over both surfaces' area (Heimann et al., IEEE TMI 28(8), 2009); HD95 is the larger of the two directed,
area-weighted 95th percentiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.evaluation.field_of_view import (
    DEFAULT_MARGIN_MM,
    clipped_triangles,
    everywhere,
    inside_by,
    without_cut_faces,
)
from SSRKDCore.evaluation.surface_sampling import SurfaceSamples, sampled, split_at_longest_edge
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

SAMPLE_SPACING_MM = 2.5
_EDGES_PER_EXTENT = 40
_MAXIMUM_TOLERANCE_MM = 0.005
_FIRST_TRIANGLES = 1000
_MAXIMUM_ROUNDS = 10
_TRIANGLES_PER_ROUND = 200
_POINTS_FOR_THREADS = 5000


class EmptySurface(ValueError):
    """A surface without area where distances are asked for."""


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances in mm between surface A and surface B; see the module for what each one is.

    Attributes
    ----------
    assd: average symmetric surface distance, over the area of both.
    hd: Hausdorff distance, the larger of the two directed maxima.
    hd95: the larger of the two directed 95th percentiles.
    mean_a_to_b, mean_b_to_a: the directed averages.
    """

    assd: float
    hd: float
    hd95: float
    mean_a_to_b: float
    mean_b_to_a: float


class DistanceToSurface:
    """Point-to-triangle distances to one surface, prepared once and asked many times.

    Raises EmptySurface when the surface has no area.
    """

    def __init__(self, surface: Surface) -> None:
        from vtkmodules.vtkFiltersCore import vtkImplicitPolyDataDistance

        # Triangles without area have no normal, and their edges belong to their neighbours.
        target = Surface(surface.vertices, surface.faces[surface.triangle_areas > 0])
        if target.is_empty:
            raise EmptySurface("the surface has no area, so no distance to it exists")
        self._polydata = target.to_vtk()
        self._function = vtkImplicitPolyDataDistance()
        self._function.SetInput(self._polydata)

    def signed(self, points: Array) -> Array:
        """Signed distances (N,) in mm from points (N, 3): positive outside the surface, negative inside.

        The sign comes from the angle-weighted normal at the closest point (Baerentzen and Aanaes, IEEE TVCG 11(3),
        2005): right for a closed surface with outward winding; on an open one it only tells the side of the nearest
        face.
        """
        from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
        from vtkmodules.vtkCommonCore import vtkDoubleArray

        points = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 3)
        if len(points) == 0:
            return np.zeros(0)
        if len(points) >= _POINTS_FOR_THREADS:
            return self._signed_in_threads(points)
        result = vtkDoubleArray()
        self._function.FunctionValue(numpy_to_vtk(points, deep=True), result)
        return vtk_to_numpy(result).astype(np.float64)

    def unsigned(self, points: Array) -> Array:
        """Distances (N,) in mm, never negative, from points (N, 3)."""
        return np.abs(self.signed(points))

    def _signed_in_threads(self, points: Array) -> Array:
        from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy
        from vtkmodules.vtkCommonCore import vtkPoints, vtkSMPTools
        from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
        from vtkmodules.vtkFiltersGeneral import vtkDistancePolyDataFilter

        # VTK's wheels start with one thread; this filter works in blocks of points and gives the same figures with
        # several.
        if vtkSMPTools.GetBackend() == "Sequential":
            vtkSMPTools.SetBackend("STDThread")
        positions = vtkPoints()
        positions.SetData(numpy_to_vtk(points, deep=True))
        cells = vtkCellArray()
        cells.SetData(1, numpy_to_vtkIdTypeArray(np.arange(len(points), dtype=np.int64), deep=True))
        cloud = vtkPolyData()
        cloud.SetPoints(positions)
        cloud.SetVerts(cells)
        distance = vtkDistancePolyDataFilter()
        distance.SetInputData(0, cloud)
        distance.SetInputData(1, self._polydata)
        distance.ComputeSecondDistanceOff()
        distance.ComputeCellCenterDistanceOff()
        distance.Update()
        return vtk_to_numpy(distance.GetOutput().GetPointData().GetArray("Distance")).astype(np.float64)


def signed_distances(points: Array, surface: Surface) -> Array:
    """Signed distances (N,) in mm from points (N, 3) to a surface, as DistanceToSurface.signed gives them. Raises
    EmptySurface.
    """
    return DistanceToSurface(surface).signed(points)


def weighted_percentile(values: Array, weights: Array, fraction: float) -> float:
    """The smallest value such that at least `fraction` (0..1) of the weight lies on values up to it."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    index = int(np.searchsorted(cumulative, fraction * cumulative[-1]))
    return float(values[order[min(index, len(values) - 1)]])


def surface_distances(
    a: Surface, b: Surface, box: Array | None = None, margin: float = DEFAULT_MARGIN_MM
) -> SurfaceDistances:
    """Exact distances between two surfaces, open or closed.

    Parameters
    ----------
    a, b: surfaces in the same frame, mm.
    box: (2, 3) lowest and highest corner in mm of the region that counts (evaluation/field_of_view.py says how), or
        None for all.
    margin: mm at the box's faces that count as the cut.

    Raises EmptySurface when one has no area (inside the box).
    """
    region = everywhere() if box is None else np.asarray(box, dtype=np.float64)
    targets = [without_cut_faces(surface, region, margin) for surface in (a, b)]
    samples = []
    for name, target in zip(("first", "second"), targets, strict=True):
        triangles = clipped_triangles(target.triangles, inside_by(region, margin))
        chosen = sampled(triangles, _sample_spacing(triangles)) if len(triangles) else None
        if chosen is None or chosen.areas.sum() <= 0:
            raise EmptySurface(f"the {name} surface has no area there")
        samples.append(chosen)
    to_other = [DistanceToSurface(targets[1]), DistanceToSurface(targets[0])]
    directed = [to_other[i].unsigned(samples[i].points) for i in (0, 1)]
    areas = [chosen.areas for chosen in samples]
    integrals = [float(area @ distance) for area, distance in zip(areas, directed, strict=True)]
    totals = [float(area.sum()) for area in areas]
    maxima = [_largest_distance(samples[i], directed[i], to_other[i]) for i in (0, 1)]
    return SurfaceDistances(
        assd=sum(integrals) / sum(totals),
        hd=max(maxima),
        hd95=max(weighted_percentile(directed[i], areas[i], 0.95) for i in (0, 1)),
        mean_a_to_b=integrals[0] / totals[0],
        mean_b_to_a=integrals[1] / totals[1],
    )


def _sample_spacing(triangles: Array) -> float:
    corners = triangles.reshape(-1, 3)
    # Taken about the middle, so that turning the surface changes nothing.
    extent = 2 * float(np.linalg.norm(corners - corners.mean(axis=0), axis=1).max())
    return min(SAMPLE_SPACING_MM, extent / _EDGES_PER_EXTENT)


def _largest_distance(samples: SurfaceSamples, distances: Array, target: DistanceToSurface) -> float:
    """The directed maximum in mm: branch and bound over the sample triangles.

    A distance changes by no more than the way one walks, so a triangle can hold at most its centroid's distance plus
    its radius. Triangles that could beat the best value are cut and measured, the most promising first, until none can
    by more than 0.005 mm or the rounds are used up (which happens where the distance is constant over large parts, and
    the best value is then right already).
    """
    best = float(distances.max())
    bound = distances + _radii(samples.triangles)
    triangles = samples.triangles[np.argsort(-bound, kind="stable")[:_FIRST_TRIANGLES]]
    bound = np.sort(bound)[::-1][:_FIRST_TRIANGLES]
    best = max(best, float(target.unsigned(triangles[bound > best].reshape(-1, 3)).max(initial=0.0)))
    for _ in range(_MAXIMUM_ROUNDS):
        promising = np.flatnonzero(bound > best + _MAXIMUM_TOLERANCE_MM)
        if len(promising) == 0:
            break
        chosen = promising[np.argsort(-bound[promising], kind="stable")[:_TRIANGLES_PER_ROUND]]
        rest = np.setdiff1d(promising, chosen, assume_unique=True)
        pieces = split_at_longest_edge(triangles[chosen])
        # The first half of the pieces end in the new corner, the middle of the edge that was cut.
        new_corners = pieces[: len(chosen), 1]
        measured = target.unsigned(np.concatenate([pieces.mean(axis=1), new_corners]))
        best = max(best, float(measured.max()))
        triangles = np.concatenate([triangles[rest], pieces])
        bound = np.concatenate([bound[rest], measured[: len(pieces)] + _radii(pieces)])
    return best


def _radii(triangles: Array) -> Array:
    return np.linalg.norm(triangles - triangles.mean(axis=1, keepdims=True), axis=2).max(axis=1)
