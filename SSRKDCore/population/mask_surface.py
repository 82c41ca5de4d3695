"""Closed smooth surfaces of segmented bones: the half level of the blurred mask, by flying edges."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from SSRKDCore.anatomy import BONES, bone
from SSRKDCore.grid import Grid
from SSRKDCore.surface import Surface

# Labels of synthetic knees, made surfaces again, lie about a tenth of a voxel from the true surface on the mean, as constrained surface
# nets do (see `evaluation.label_surfaces`); 0.5 voxels leave steps, 1.0 rounds off the rims of coarse scans. Surface nets join voxels
# that touch along an edge only, and the surface is then not closed, as here it is.
_BLUR_VOXELS = 0.7
_PADDING = 3


def mask_surfaces(labels: NDArray[np.uint8], grid: Grid, names: Iterable[str]) -> dict[str, Surface]:
    """Surfaces (LPS mm, outward winding) of the named bones of a label volume [z, y, x] with values as in `anatomy`.

    A bone that meets the volume's end is closed there. Bones without a voxel are left out.
    """
    boxes = ndimage.find_objects(labels, max_label=len(BONES))
    surfaces = {}
    for name in names:
        label = bone(name).label
        box = boxes[label - 1]
        if box is None:
            continue
        corner = np.array([part.start for part in box[::-1]]) * np.array(grid.spacing) + np.array(grid.origin)
        surface = _surface(labels[box] == label, corner, np.array(grid.spacing))
        if not surface.is_empty:
            surfaces[name] = surface
    return surfaces


def _surface(mask: NDArray[np.bool_], corner: NDArray[np.float64], spacing: NDArray[np.float64]) -> Surface:
    """corner: centre (x, y, z) in mm of voxel [0, 0, 0]; spacing: (x, y, z) in mm."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    field = ndimage.gaussian_filter(np.pad(mask, _PADDING).astype(np.float32), _BLUR_VOXELS)
    image = vtkImageData()
    image.SetDimensions(*field.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(field.ravel(), deep=True))
    extraction = vtkFlyingEdges3D()
    extraction.SetInputData(image)
    extraction.SetValue(0, 0.5)
    extraction.ComputeNormalsOff()
    extraction.ComputeScalarsOff()
    extraction.Update()
    surface = Surface.from_vtk(extraction.GetOutput())
    vertices = (surface.vertices - _PADDING) * spacing + corner
    return Surface(vertices, surface.faces if surface.volume >= 0 else surface.faces[:, ::-1])
