"""The surface of a bone: the zero level of its logit minus the largest other logit, closed at the field of view."""

from __future__ import annotations

import math
from functools import cache, partial

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONES
from SSRKDCore.grid import Grid
from SSRKDCore.reconstruction.components import bone_boxes
from SSRKDCore.reconstruction.field_evaluation import SparseOccupancy
from SSRKDCore.side_by_side import side_by_side
from SSRKDCore.surface import Surface

#: A vertex stays this fraction of a voxel away from the samples at the ends of its edge, so that no triangle shrinks to
#: a line.
VERTEX_CLEARANCE = 2e-3


def bone_surfaces(occupancy: SparseOccupancy, labels: NDArray[np.uint8], grid: Grid) -> dict[str, Surface]:
    """Closed surfaces of all bones, by name; empty where a bone is absent.

    Every edge is shared by exactly two triangles, the winding is outward, and a sample of the grid lies inside a bone's
    surface if and only if `labels` says so.

    Parameters
    ----------
    occupancy: what the network says.
    labels: (nz, ny, nx), the labels of `occupancy` after `components.keep_one_piece`.
    grid: where the samples lie, LPS mm.
    """
    boxes = bone_boxes(labels)
    surfaces = {bone.name: Surface.empty() for bone in BONES}
    # The largest first: the others fit beside it.
    found = sorted((bone for bone in BONES if bone.name in boxes), key=lambda bone: -_volume(boxes[bone.name]))
    jobs = [partial(_surface, occupancy, labels, bone.label, boxes[bone.name], grid) for bone in found]
    made = side_by_side(jobs, torch.get_num_threads())
    surfaces.update(zip((bone.name for bone in found), made, strict=True))
    return surfaces


def _volume(box: tuple[slice, slice, slice]) -> int:
    """Samples in a box."""
    return math.prod(part.stop - part.start for part in box)


def _surface(
    occupancy: SparseOccupancy, labels: NDArray[np.uint8], label: int, box: tuple[slice, slice, slice], grid: Grid
) -> Surface:
    # Which triangles there are depends only on which samples are inside; where their vertices lie, on the logits.
    # Extracting the inside mask first gives every vertex at the middle of one grid edge, exactly, so that the edge is
    # known and the vertex can be placed from the sparse logits in double precision. The layer of padding closes the
    # surface at the faces of the field of view.
    inside = np.pad((labels[box] == label).view(np.uint8), 1)
    doubled, faces = _flying_edges(inside)
    doubled += 2 * (np.array([part.start for part in box], dtype=np.int32) - 1)
    given = doubled, occupancy.slots, occupancy.logits, label, np.array(grid.spacing), np.array(grid.origin)
    return Surface(_placed_vertices(*given), faces[:, ::-1] if _turns_inward() else faces)


@cache
def _turns_inward() -> bool:
    """Whether the triangles of `_flying_edges`, their vertices as [x, y, z], point into what they enclose: one sample tells for all."""
    sample = np.zeros((3, 3, 3), dtype=np.uint8)
    sample[1, 1, 1] = 1
    doubled, faces = _flying_edges(sample)
    return Surface(doubled[:, ::-1].astype(np.float64), faces).volume < 0


def _flying_edges(inside: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Triangles around the ones of a volume: vertices (V, 3) as [z, y, x] in half samples (odd along one axis), faces
    (F, 3).
    """
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    image = vtkImageData()
    image.SetDimensions(inside.shape[2], inside.shape[1], inside.shape[0])
    image.GetPointData().SetScalars(numpy_to_vtk(inside.reshape(-1), deep=False))
    extraction = vtkFlyingEdges3D()
    extraction.SetInputData(image)
    extraction.SetValue(0, 0.5)
    extraction.ComputeNormalsOff()
    extraction.ComputeGradientsOff()
    extraction.ComputeScalarsOff()
    extraction.InterpolateAttributesOff()
    extraction.Update()
    polydata = extraction.GetOutput()
    points = vtk_to_numpy(polydata.GetPoints().GetData())[:, ::-1]
    faces = vtk_to_numpy(polydata.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64, copy=False)
    return np.rint(2.0 * points).astype(np.int32), faces


@numba.njit(cache=True, nogil=True)
def _placed_vertices(doubled, slots, logits, label, spacing, origin):  # type: ignore[no-untyped-def]
    """(V, 3) LPS mm: where the margin of a bone is zero on grid edges, whose middles are (V, 3) [z, y, x] in half samples.

    slots, logits: as in `SparseOccupancy`. spacing, origin: (3,) mm, along x, y, z. Half way where an end lies outside the volume: that is
    the face of the field of view.
    """
    vertices = np.empty((len(doubled), 3))
    lower, upper = np.empty(3, np.int64), np.empty(3, np.int64)
    for vertex in range(len(doubled)):
        known = True
        for axis in range(3):
            lower[axis] = doubled[vertex, axis] >> 1
            upper[axis] = lower[axis] + (doubled[vertex, axis] & 1)
            known &= lower[axis] >= 0 and upper[axis] < slots.shape[axis]
        fraction = 0.5
        if known:
            here, there = slots[lower[0], lower[1], lower[2]], slots[upper[0], upper[1], upper[2]]
            if here > 0 and there > 0:
                first, second = _bone_margin(logits[here - 1], label), _bone_margin(logits[there - 1], label)
                crossing = first / (first - second) if first != second else np.nan
                # Where two logits are equal at both ends, or none is a number, there is no better place than the middle.
                if np.isfinite(crossing):
                    fraction = min(max(crossing, VERTEX_CLEARANCE), 1.0 - VERTEX_CLEARANCE)
        for axis in range(3):
            place = lower[2 - axis] + fraction * (upper[2 - axis] - lower[2 - axis])
            vertices[vertex, axis] = place * spacing[axis] + origin[axis]
    return vertices


@numba.njit(cache=True, nogil=True)
def _bone_margin(logits, label):  # type: ignore[no-untyped-def]
    """Logit of a class minus the largest of the others, float64, of float32 logits (classes,)."""
    others = np.float32(-np.inf)
    for other in range(len(logits)):
        if other != label:
            others = max(others, logits[other])
    return np.float64(logits[label]) - np.float64(others)
