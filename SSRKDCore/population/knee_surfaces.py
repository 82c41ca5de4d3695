"""The bones of a random knee as surfaces."""

from __future__ import annotations

import numpy as np

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.grid import Grid
from SSRKDCore.population.knee_sampler import Knee, bone_distances
from SSRKDCore.surface import Surface

_SLAB = 64


def knee_surfaces(knee: Knee, grid: Grid) -> dict[str, Surface]:
    """Closed surfaces (LPS mm) of a knee's bones by name: the zero level of their signed distances on `grid`.

    Where two bones overlap, the one that a point is deeper in keeps it. A bone that leaves the grid is closed at its rim.
    """
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D, vtkPolyDataConnectivityFilter

    x, y, z = grid.axes
    distances = np.empty((*grid.shape, 4), dtype=np.float32)
    for start in range(0, len(z), _SLAB):
        zz, yy, xx = np.meshgrid(z[start : start + _SLAB], y, x, indexing="ij")
        points = np.stack([xx.ravel(), yy.ravel(), zz.ravel()], axis=1)
        distances[start : start + _SLAB] = bone_distances(knee, points).reshape(*zz.shape, 4)
    surfaces = {}
    for index, name in enumerate(BONE_NAMES):
        others = np.delete(distances, index, axis=3).min(axis=3)
        field = np.maximum(distances[..., index], (distances[..., index] - others) / 2)
        padded = np.pad(field, 1, constant_values=float(grid.spacing[0]))
        image = vtkImageData()
        image.SetDimensions(*(count + 2 for count in grid.shape[::-1]))
        image.SetSpacing(*grid.spacing)
        image.SetOrigin(*(origin - step for origin, step in zip(grid.origin, grid.spacing, strict=True)))
        image.GetPointData().SetScalars(numpy_to_vtk(padded.ravel(), deep=True))
        edges = vtkFlyingEdges3D()
        edges.SetInputData(image)
        edges.SetValue(0, 0.0)
        edges.ComputeNormalsOff()
        edges.ComputeScalarsOff()
        largest = vtkPolyDataConnectivityFilter()
        largest.SetInputConnection(edges.GetOutputPort())
        largest.SetExtractionModeToLargestRegion()
        largest.Update()
        surface = Surface.from_vtk(largest.GetOutput())
        used, faces = np.unique(surface.faces, return_inverse=True)
        surface = Surface(surface.vertices[used], faces.reshape(-1, 3))
        surfaces[name] = surface if surface.volume > 0 else Surface(surface.vertices, surface.faces[:, ::-1])
    return surfaces
