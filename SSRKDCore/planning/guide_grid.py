"""A grid of signed distances to the bone, in the guide's own axes, and the bone as seen from where the guide comes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.evaluation.exact_distances import DistanceToSurface
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

_COARSE_MM = 2.0
# Within this many voxels of the offset surface distances are exact; elsewhere they only shape the rounded outside.
_BAND_VOXELS = 2.5
_LEAST_LEVEL = 0.02


@dataclass(frozen=True)
class GuideAxes:
    """Unit axes (3,) and origin (3,), LPS mm: u along the cut line, v upwards, w outwards (against the seating direction)."""

    origin: Array
    u: Array
    v: Array
    w: Array

    @property
    def matrix(self) -> Array:
        """(3, 3), the axes as rows."""
        return np.stack([self.u, self.v, self.w])

    def local(self, points: Array) -> Array:
        """Points (..., 3) along u, v, w."""
        return (np.asarray(points) - self.origin) @ self.matrix.T

    def patient(self, local: Array) -> Array:
        """Back to LPS mm."""
        return np.asarray(self.origin + local @ self.matrix)


@dataclass(frozen=True)
class GuideGrid:
    """Distances on a regular grid along the guide's axes.

    Attributes
    ----------
    axes: of the guide.
    start: (3,) u, v, w of the first voxel; spacing: mm.
    distance: [u, v, w] signed distance to the bone in mm, exact near `clearance`.
    swept: the same for the bone with all that lies behind it in the seating direction: a guide outside of it comes off without a hook.
    """

    axes: GuideAxes
    start: Array
    spacing: float
    distance: Array
    swept: Array

    def coordinates(self) -> tuple[Array, Array, Array]:
        """u, v and w of the voxels, ready to be broadcast to the grid."""
        first, second, third = (self.start[i] + self.spacing * np.arange(self.distance.shape[i]) for i in range(3))
        return first[:, None, None], second[None, :, None], third[None, None, :]


def guide_grid(
    bone: DistanceToSurface, axes: GuideAxes, low: Array, high: Array, spacing: float, clearance: float
) -> GuideGrid:
    """Sample the bone's distances in the box from `low` to `high` ((3,) along u, v, w)."""
    shape = np.ceil((high - low) / spacing).astype(int) + 1
    coarse_axes = [
        np.linspace(
            low[i], low[i] + (shape[i] - 1) * spacing, max(4, int(np.ceil(shape[i] * spacing / _COARSE_MM)) + 1)
        )
        for i in range(3)
    ]
    coarse = bone.signed(axes.patient(_points(coarse_axes))).reshape([len(axis) for axis in coarse_axes])
    fine_axes = [low[i] + spacing * np.arange(shape[i]) for i in range(3)]
    distance = _resampled(coarse, coarse_axes, fine_axes)
    # Linear interpolation of distances is off by up to half a coarse voxel where the bone is rough.
    near = np.abs(distance - clearance) < _BAND_VOXELS * spacing + 0.5
    index = np.argwhere(near)
    distance[near] = bone.signed(axes.patient(low + spacing * index))
    swept = np.minimum.accumulate(distance[:, :, ::-1], axis=2)[:, :, ::-1]
    return GuideGrid(axes, np.asarray(low, dtype=np.float64), spacing, distance, swept)


def _points(axes: list[Array]) -> Array:
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _resampled(values: Array, old: list[Array], new: list[Array]) -> Array:
    """Linear interpolation along each axis in turn."""
    for axis in range(3):
        position = np.interp(new[axis], old[axis], np.arange(len(old[axis])))
        below = np.minimum(position.astype(int), len(old[axis]) - 2)
        share = (position - below).reshape([-1 if i == axis else 1 for i in range(3)])
        values = np.take(values, below, axis=axis) * (1 - share) + np.take(values, below + 1, axis=axis) * share
    return values


def surface_of_field(field: Array, grid: GuideGrid) -> Surface:
    """The zero level of a field on the grid (negative inside) as a closed surface in LPS mm; the grid's border is outside."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    # A level next to a grid point gives triangles too small for the numbers of an STL file.
    least = _LEAST_LEVEL * grid.spacing
    field = np.where(np.abs(field) < least, np.where(field < 0, -least, least), field)
    padded = np.pad(field, 1, constant_values=max(1.0, float(field.max())))
    image = vtkImageData()
    image.SetDimensions(*padded.shape)
    image.SetSpacing(grid.spacing, grid.spacing, grid.spacing)
    image.SetOrigin(*(grid.start - grid.spacing))
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(padded.transpose(2, 1, 0)).ravel(), deep=True))
    extraction = vtkFlyingEdges3D()
    extraction.SetInputData(image)
    extraction.SetValue(0, 0.0)
    extraction.ComputeNormalsOff()
    extraction.ComputeScalarsOff()
    extraction.Update()
    local = Surface.from_vtk(extraction.GetOutput())
    surface = Surface(grid.axes.patient(local.vertices), local.faces)
    return surface if surface.volume >= 0 else Surface(surface.vertices, surface.faces[:, ::-1])
