"""The surface of a bone: the zero level of its logit minus the largest other logit, closed at the field of view."""

from __future__ import annotations

import math
from functools import cache, partial, reduce

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
    lower, along = doubled >> 1, doubled & 1
    fraction = _crossing(occupancy, label, lower, along)
    position = lower + fraction[:, None] * along
    vertices = position[:, ::-1] * np.array(grid.spacing) + np.array(grid.origin)
    return Surface(vertices, faces[:, ::-1] if _turns_inward() else faces)


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
    faces = vtk_to_numpy(polydata.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    return np.rint(2.0 * points).astype(np.int32), faces


def _crossing(
    occupancy: SparseOccupancy, label: int, lower: NDArray[np.int32], along: NDArray[np.int32]
) -> NDArray[np.float64]:
    """(V,): where the margin of a bone is zero on the edges from samples (V, 3) to the next ones along the axes in which (V, 3) is 1, as a
    fraction of the edge.

    Half way where an end lies outside the volume: that is the face of the field of view.
    """
    shape = np.array(occupancy.labels.shape)
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    first = lower @ strides
    known = ((lower >= 0) & (lower + along < shape.astype(np.int32))).all(axis=1)
    # Positions outside are clipped to any sample; they are not known.
    ends = [occupancy.rows(end) for end in (first, first + along @ strides)]
    known &= (ends[0] >= 0) & (ends[1] >= 0)
    chosen = slice(None) if known.all() else known
    here, there = (_bone_margin(occupancy.logits.take(rows[chosen], axis=0), label) for rows in ends)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = here / (here - there)
    # Where two logits are equal at both ends, there is no better place than the middle.
    crossing = np.where(np.isfinite(crossing), crossing, 0.5)
    fraction = np.full(len(lower), 0.5)
    fraction[chosen] = np.clip(crossing, VERTEX_CLEARANCE, 1.0 - VERTEX_CLEARANCE)
    return fraction


def _bone_margin(logits: NDArray[np.float32], label: int) -> NDArray[np.float64]:
    """(N,): logit of a class minus the largest of the others."""
    # Column by column: rows of five are too short to be reduced fast.
    others = reduce(np.maximum, (logits[:, other] for other in range(logits.shape[1]) if other != label))
    return logits[:, label].astype(np.float64) - others
