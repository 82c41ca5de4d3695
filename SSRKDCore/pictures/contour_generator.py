"""The edges of a bone on a radiograph: where the rays of a view graze its surface.

These are the lines that a reader sees in an X-ray image, those inside the shadow included (both condyles of a lateral
view), because bone hides nothing behind it. On a smooth surface they are the zeros of the ray's direction times the
normal; interpolating that product between vertices gives lines without the zigzag of triangle edges (Hertzmann and
Zorin, Illustrating smooth surfaces, SIGGRAPH 2000).
"""

from __future__ import annotations

from itertools import pairwise

import numba
import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.view import View
from SSRKDCore.surface import Surface
from SSRKDCore.vertex_normals import vertex_normals

Array = NDArray[np.float64]

#: Lines shorter than this on the detector are noise of the surface, not an edge that anyone would follow.
SHORTEST_LINE_MM = 4.0
_NORMALS = "normals"


def edges_on_detector(surface: Surface, view: View, shortest_mm: float = SHORTEST_LINE_MM) -> list[Array]:
    """Polylines (N, 3) in mm, LPS, on the detector plane, where the surface's edges fall.

    Nothing is drawn outside the detector. An empty surface has no edges.
    """
    lines = [projected_on_detector(line, view) for line in contour_lines(surface, np.array(view.source))]
    pieces = [piece for line in lines for piece in _inside_detector(line, view)]
    return [piece for piece in pieces if np.linalg.norm(np.diff(piece, axis=0), axis=1).sum() >= shortest_mm]


def projected_on_detector(points: Array, view: View) -> Array:
    """(N, 3) where the rays from the source through the points (N, 3) meet the detector plane, mm; NaN behind the source."""
    pixels, _ = view.project(points)
    return view.pixel_position(pixels[:, 0], pixels[:, 1])


def contour_lines(surface: Surface, source: Array) -> list[Array]:
    """Polylines (N, 3) in mm, LPS, on the surface, where rays from the point `source` (3,) graze it."""
    return [points for points, _ in contour_lines_with_normals(surface, source)]


def contour_lines_with_normals(
    surface: Surface, source: Array, normals: Array | None = None
) -> list[tuple[Array, Array]]:
    """As `contour_lines`, each line with the surface's normals (N, 3) along it: interpolated between vertices, and so of no exact length.

    normals: (V, 3) of `vertex_normals`, for whoever has them; None computes them.
    """
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkFiltersCore import vtkContourFilter, vtkStripper

    if surface.is_empty:
        return []
    normals = vertex_normals(surface.vertices, surface.faces) if normals is None else normals
    # Lines cross only triangles that look both ways: a hundredth of them.
    both = _looking_both_ways(surface.vertices, surface.faces, normals, source)
    if not len(both):
        return []
    vertices, corners = np.unique(surface.faces[both], return_inverse=True)
    part = Surface(surface.vertices[vertices], corners.reshape(-1, 3))
    rays = part.vertices - source
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    polydata, own = part.to_vtk(), normals[vertices]
    polydata.GetPointData().SetScalars(numpy_to_vtk(np.einsum("ij,ij->i", rays, own), deep=True))
    carried = numpy_to_vtk(own, deep=True)
    carried.SetName(_NORMALS)
    polydata.GetPointData().AddArray(carried)
    contour = vtkContourFilter()
    contour.SetInputData(polydata)
    contour.SetValue(0, 0.0)
    strips = vtkStripper()
    strips.SetInputConnection(contour.GetOutputPort())
    strips.SetMaximumLength(100_000)
    strips.JoinContiguousSegmentsOn()
    strips.Update()
    found = strips.GetOutput()
    if found.GetNumberOfLines() == 0:
        return []
    points = vtk_to_numpy(found.GetPoints().GetData()).astype(np.float64)
    along = vtk_to_numpy(found.GetPointData().GetArray(_NORMALS)).astype(np.float64)
    offsets = vtk_to_numpy(found.GetLines().GetOffsetsArray())
    order = vtk_to_numpy(found.GetLines().GetConnectivityArray())
    return [(points[order[start:end]], along[order[start:end]]) for start, end in pairwise(offsets)]


@numba.njit(cache=True, nogil=True)
def _looking_both_ways(vertices, faces, normals, source):  # type: ignore[no-untyped-def]
    """Numbers of the triangles with a corner whose normal points away from `source`, and one whose normal does not."""
    away = np.empty(len(vertices), np.bool_)
    for vertex in range(len(vertices)):
        facing = 0.0
        for axis in range(3):
            facing += (vertices[vertex, axis] - source[axis]) * normals[vertex, axis]
        away[vertex] = facing >= 0
    found = np.empty(len(faces), np.int64)
    count = 0
    for face in range(len(faces)):
        first = away[faces[face, 0]]
        if away[faces[face, 1]] != first or away[faces[face, 2]] != first:
            found[count] = face
            count += 1
    return found[:count]


def _inside_detector(line: Array, view: View) -> list[Array]:
    """The parts of a line on the detector plane that lie on the detector's pixels."""
    offset = line - np.array(view.detector_origin)
    rows = offset @ np.array(view.row_direction) / view.pixel_spacing[0]
    columns = offset @ np.array(view.column_direction) / view.pixel_spacing[1]
    with np.errstate(invalid="ignore"):
        inside = (rows >= -0.5) & (rows <= view.rows - 0.5) & (columns >= -0.5) & (columns <= view.columns - 0.5)
    changes = np.flatnonzero(np.diff(inside.astype(np.int8))) + 1
    parts = np.split(np.arange(len(line)), changes)
    return [line[part] for part in parts if len(part) > 1 and inside[part[0]]]
