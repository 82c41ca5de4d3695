"""The edges of a bone on a radiograph: where the rays of a view graze its surface.

These are the lines that a reader sees in an X-ray image, those inside the shadow included (both condyles of a lateral
view), because bone hides nothing behind it. On a smooth surface they are the zeros of the ray's direction times the
normal; interpolating that product between vertices gives lines without the zigzag of triangle edges (Hertzmann and
Zorin, Illustrating smooth surfaces, SIGGRAPH 2000).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.view import View
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

#: Lines shorter than this on the detector are noise of the surface, not an edge that anyone would follow.
SHORTEST_LINE_MM = 4.0


def vertex_normals(surface: Surface) -> Array:
    """(V, 3) area-weighted unit normals, outwards for outward winding; 0 where a vertex belongs to no triangle."""
    # Axis by axis: each pass reads one array from front to back, which is three times faster than whole corners at once.
    faces, count = np.ascontiguousarray(surface.faces.T), len(surface.vertices)
    along = [[axis.take(corner) for corner in faces] for axis in np.ascontiguousarray(surface.vertices.T)]
    first, second = ([corners[number] - corners[0] for corners in along] for number in (1, 2))
    normals = np.empty((count, 3))
    for axis, (one, other) in enumerate(((1, 2), (2, 0), (0, 1))):
        areas = first[one] * second[other] - first[other] * second[one]
        # Counting is several times faster than np.add.at.
        normals[:, axis] = sum(np.bincount(corner, areas, count) for corner in faces)
    lengths = np.sqrt(np.einsum("ij,ij->i", normals, normals))[:, None]
    normals /= np.where(lengths > 0, lengths, 1.0)
    return normals


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


def contour_lines(surface: Surface, source: Array, normals: Array | None = None) -> list[Array]:
    """Polylines (N, 3) in mm, LPS, on the surface, where rays from the point `source` (3,) graze it.

    normals: (V, 3) of `vertex_normals`, for whoever has them; None computes them.
    """
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkFiltersCore import vtkContourFilter, vtkStripper

    if surface.is_empty:
        return []
    normals = vertex_normals(surface) if normals is None else normals
    # Lines cross only triangles that look both ways: a hundredth of them.
    away = np.einsum("ij,ij->i", surface.vertices - source, normals) >= 0
    count = sum(away.take(corner).astype(np.int8) for corner in surface.faces.T)
    both = (count == 1) | (count == 2)
    if not both.any():
        return []
    vertices, corners = np.unique(surface.faces[both], return_inverse=True)
    part = Surface(surface.vertices[vertices], corners.reshape(-1, 3))
    rays = part.vertices - source
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    polydata = part.to_vtk()
    polydata.GetPointData().SetScalars(numpy_to_vtk(np.einsum("ij,ij->i", rays, normals[vertices]), deep=True))
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
    offsets = vtk_to_numpy(found.GetLines().GetOffsetsArray())
    order = vtk_to_numpy(found.GetLines().GetConnectivityArray())
    return [points[order[start:end]] for start, end in pairwise(offsets)]


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
