"""Both surfaces of a comparison with the distance of every vertex, for programs that colour them, and histograms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.evaluation.exact_distances import signed_distances
from SSRKDCore.evaluation.field_of_view import inside_by, without_cut_faces
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

SIGNED, ABSOLUTE = "signed_distance_mm", "absolute_distance_mm"
HISTOGRAM_STEP_MM = 0.25
HISTOGRAM_REACH_MM = 5.0


def vertex_distances(surface: Surface, other: Surface, box: Array, margin: float) -> Array:
    """(V,) signed distances in mm of the vertices to the other surface, positive outside it; NaN outside the scored box (2, 3)."""
    inner = inside_by(box, margin)
    distances = signed_distances(surface.vertices, without_cut_faces(other, box, margin))
    scored = ((surface.vertices >= inner[0]) & (surface.vertices <= inner[1])).all(axis=1)
    return np.where(scored, distances, np.nan)


def write_with_distances(path: Path, surface: Surface, distances: Array) -> None:
    """Write a surface (LPS mm) as VTK XML with the point arrays `signed_distance_mm` and `absolute_distance_mm`."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

    polydata = surface.to_vtk()
    for name, values in ((SIGNED, distances), (ABSOLUTE, np.abs(distances))):
        array = numpy_to_vtk(values.astype(np.float32), deep=True)
        array.SetName(name)
        polydata.GetPointData().AddArray(array)
    polydata.GetPointData().SetActiveScalars(SIGNED)
    writer = vtkXMLPolyDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(polydata)
    if writer.Write() != 1:
        raise OSError(f"{path} could not be written")


def area_histogram(surface: Surface, distances: Array) -> dict[str, Any]:
    """Share of the scored area by signed distance: bins of 0.25 mm from -5 to 5 mm, the outermost ones open-ended.

    Each vertex stands for a third of the triangles around it. The shares add up to 1, or are all 0 where nothing is scored.
    """
    areas = np.zeros(len(surface.vertices))
    for corner in range(3):
        np.add.at(areas, surface.faces[:, corner], surface.triangle_areas / 3)
    steps = round(2 * HISTOGRAM_REACH_MM / HISTOGRAM_STEP_MM)
    edges = np.linspace(-HISTOGRAM_REACH_MM, HISTOGRAM_REACH_MM, steps + 1)
    scored = np.isfinite(distances)
    inside = np.clip(distances[scored], edges[0], np.nextafter(edges[-1], 0))
    shares = np.histogram(inside, edges, weights=areas[scored])[0]
    total = shares.sum()
    return {"edges_mm": edges, "share_of_area": shares / total if total > 0 else shares}
