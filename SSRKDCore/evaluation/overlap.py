"""Dice overlap of closed surfaces, on voxels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.grid import Grid
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

DICE_VOXEL_SIZE_MM = 0.5
# 512^3 voxels: more would take too much memory for a figure that no longer changes.
_LARGEST_VOXEL_COUNT = 512**3


class NoEnclosedVolume(ValueError):
    """A surface with holes, which has no inside to overlap with."""


def encloses_volume(surface: Surface) -> bool:
    """True when every edge is run along equally often in both directions.

    Weaker than Surface.is_closed: solids that touch along an edge, as voxels do, enclose a volume too.
    """
    if surface.is_empty:
        return False
    start = surface.faces.ravel()
    end = surface.faces[:, [1, 2, 0]].ravel()
    count = len(surface.vertices)
    return bool(np.array_equal(np.sort(start * count + end), np.sort(end * count + start)))


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Dice coefficient 2 |A and B| / (|A| + |B|) of two masks on the same grid; 1.0 when both are empty."""
    if a.shape != b.shape:
        raise ValueError(f"masks on the same grid are needed, not {a.shape} and {b.shape}")
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 1.0 if total == 0 else float(2.0 * np.count_nonzero(a & b) / total)


def voxelized(surface: Surface, grid: Grid) -> NDArray[np.bool_]:
    """Which voxel centres [z, y, x] of a grid lie inside a closed surface (either winding). Raises NoEnclosedVolume."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkImagingStencil import vtkImageStencilToImage, vtkPolyDataToImageStencil

    if not encloses_volume(surface):
        raise NoEnclosedVolume("the surface is not closed, so it has no inside")
    nz, ny, nx = grid.shape
    stencil = vtkPolyDataToImageStencil()
    stencil.SetInputData(surface.to_vtk())
    stencil.SetOutputOrigin(*grid.origin)
    stencil.SetOutputSpacing(*grid.spacing)
    stencil.SetOutputWholeExtent(0, nx - 1, 0, ny - 1, 0, nz - 1)
    stencil.SetTolerance(0.0)
    image = vtkImageStencilToImage()
    image.SetInputConnection(stencil.GetOutputPort())
    image.SetInsideValue(1)
    image.SetOutsideValue(0)
    image.SetOutputScalarTypeToUnsignedChar()
    image.Update()
    return vtk_to_numpy(image.GetOutput().GetPointData().GetScalars()).reshape(nz, ny, nx).astype(bool)


def common_grid(surfaces: list[Surface], box: Array, voxel_size: float = DICE_VOXEL_SIZE_MM) -> Grid | None:
    """Voxels of `voxel_size` mm that cover surfaces inside a box (2, 3); None when no surface reaches into the box.

    Voxel faces lie at multiples of the voxel size. Very large regions get larger voxels: at most 512^3 of them.
    """
    bounds = [surface.bounds for surface in surfaces if not surface.is_empty]
    if not bounds:
        return None
    low = np.maximum(np.min([b[0] for b in bounds], axis=0), box[0])
    high = np.minimum(np.max([b[1] for b in bounds], axis=0), box[1])
    if (high <= low).any():
        return None
    size = max(voxel_size, float((np.prod(high - low) / _LARGEST_VOXEL_COUNT) ** (1 / 3)))
    # Voxels whose centres lie inside, so that none counts half in and half out of the box.
    first = np.ceil(low / size - 0.5 - 1e-9)
    last = np.floor(high / size - 0.5 + 1e-9)
    counts = np.maximum(last - first + 1, 1).astype(int)
    x, y, z = (first + 0.5) * size
    return Grid((x, y, z), (size, size, size), (int(counts[2]), int(counts[1]), int(counts[0])))


def surface_dice(a: Surface, b: Surface, box: Array, voxel_size: float = DICE_VOXEL_SIZE_MM) -> float:
    """Dice coefficient of the volumes enclosed by two surfaces, inside a box (2, 3) in mm.

    Raises NoEnclosedVolume when one is open, rather than give a wrong number.
    """
    for name, surface in (("first", a), ("second", b)):
        if not encloses_volume(surface):
            raise NoEnclosedVolume(f"the {name} surface is not closed, so it has no inside")
    grid = common_grid([a, b], box, voxel_size)
    if grid is None:
        return 1.0
    return dice(voxelized(a, grid), voxelized(b, grid))
