"""Refined meshes as a label volume with depths, from which surfaces are extracted as from a network's: closed, apart, and in agreement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from SSRKDCore.anatomy import BONES
from SSRKDCore.drr.signed_distance import signed_distance
from SSRKDCore.grid import Grid
from SSRKDCore.reconstruction.field_evaluation import SparseOccupancy, filled_slots
from SSRKDCore.surface import Surface

# Distances are computed on a grid of about this spacing (mm) and interpolated: meshes of templates are no finer.
_SPACING_MM = 1.25
# Exact this far from the surface, in spacings of that grid, so that interpolation next to the surface has exact corners.
_EXACT_SPACINGS = 2.5
# Depths are told apart down to this many mm: bones that overlap by more are none.
_DEEPEST_MM = 12.0


@dataclass(frozen=True)
class RefinedBone:
    """A closed surface, LPS mm, that ends where `end` is: `along` (3,) is a unit vector and nothing lies beyond `end` mm along it."""

    surface: Surface
    along: NDArray[np.float64]
    end: float


def refined_occupancy(bones: Mapping[str, RefinedBone], grid: Grid) -> SparseOccupancy:
    """Labels of all samples, and depths (mm inside) as logits next to where labels change; background has 0.

    Where bones overlap, a sample belongs to the one that it lies deeper in.

    bones: those that exist. grid: where the samples lie, LPS mm.
    """
    coarse = _coarse_grid(grid)
    depths = {name: _depth(bone, coarse) for name, bone in bones.items()}
    labels = np.zeros(grid.shape, dtype=np.uint8)
    best = np.zeros(grid.shape, dtype=np.float32)
    for bone in BONES:
        if bone.name not in depths:
            continue
        fine = _interpolated(depths[bone.name], grid.shape)
        inside = fine > best
        labels[inside] = bone.label
        best[inside] = fine[inside]
    samples = _next_to_changes(labels)
    slots = filled_slots(grid.shape, np.ravel_multi_index(samples, grid.shape))
    share = (np.array(coarse.shape) - 1) / (np.array(grid.shape) - 1)
    places = np.stack(samples) * share[:, None]
    logits = np.full((len(samples[0]), max(bone.label for bone in BONES) + 1), -np.inf, dtype=np.float32)
    logits[:, 0] = 0.0
    for bone in BONES:
        if bone.name in depths:
            logits[:, bone.label] = map_coordinates(depths[bone.name], places, order=1, mode="nearest")
    return SparseOccupancy(labels, slots, logits, 0)


def _coarse_grid(grid: Grid) -> Grid:
    count = int(np.ceil(grid.spacing[0] * (grid.shape[0] - 1) / _SPACING_MM)) + 1
    count = min(count, grid.shape[0])
    scale = (grid.shape[0] - 1) / (count - 1)
    spacing = tuple(float(step * scale) for step in grid.spacing)
    return Grid(grid.origin, (spacing[0], spacing[1], spacing[2]), (count, count, count))


def _depth(bone: RefinedBone, grid: Grid) -> NDArray[np.float32]:
    """mm inside the bone, negative outside, float32 [z, y, x]; right near its surface and its end, and in sign everywhere."""
    reach = _EXACT_SPACINGS * grid.spacing[0]
    outside = signed_distance(bone.surface, grid, _DEEPEST_MM, reach)
    x, y, z = grid.axes
    beyond = bone.along[0] * x + (bone.along[1] * y[:, None] + bone.along[2] * z[:, None, None]) - bone.end
    return -np.maximum(outside, beyond.astype(np.float32))


def _interpolated(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Values [z, y, x] on a finer grid between the same corners, trilinear."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))[None, None]
    return torch.nn.functional.interpolate(tensor, size=tuple(shape), mode="trilinear", align_corners=True)[
        0, 0
    ].numpy()


def _next_to_changes(labels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], ...]:
    """Indices of the samples with a neighbour along an axis whose label is another."""
    edge = np.zeros(labels.shape, dtype=bool)
    for axis in range(3):
        first = tuple(slice(None, -1) if i == axis else slice(None) for i in range(3))
        second = tuple(slice(1, None) if i == axis else slice(None) for i in range(3))
        change = labels[first] != labels[second]
        edge[first] |= change
        edge[second] |= change
    return np.nonzero(edge)
