"""One connected piece a bone, without cavities: decided on voxels, before surfaces exist, so that both agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from SSRKDCore.anatomy import BONES
from SSRKDCore.reconstruction.label_runs import LabelRuns

# Surface extraction separates bone voxels that touch along an edge or at a corner only, and joins background voxels
# that touch along an edge: the pieces and the cavities of the surface are those of these neighbourhoods.
_BONE_NEIGHBOURHOOD = ndimage.generate_binary_structure(3, 1)
_BACKGROUND_NEIGHBOURHOOD = ndimage.generate_binary_structure(3, 2)
_PLANES = 16


@dataclass(frozen=True)
class PieceCount:
    """What was done to one bone.

    Attributes
    ----------
    pieces: connected pieces found (0 for an absent bone).
    kept_voxels: voxels of the largest piece, the one that stays, before cavities were filled.
    removed_voxels: voxels of all other pieces, now outside.
    filled_voxels: voxels of closed cavities, now bone.
    """

    pieces: int
    kept_voxels: int
    removed_voxels: int
    filled_voxels: int


def bone_boxes(labels: NDArray[np.uint8]) -> dict[str, tuple[slice, slice, slice]]:
    """The smallest box [z, y, x] that holds a bone, by name; absent bones are left out.

    labels: (nz, ny, nx) with the label values of `anatomy.BONES`.
    """
    # One bit a label finds all boxes at once; few planes at a time stay in a CPU's cache.
    below, across = (np.zeros((labels.shape[axis], labels.shape[2]), dtype=np.uint8) for axis in (1, 0))
    for first in range(0, len(labels), _PLANES):
        bits = np.left_shift(np.uint8(1), labels[first : first + _PLANES])
        below |= np.bitwise_or.reduce(bits, axis=0)
        np.bitwise_or.reduce(bits, axis=1, out=across[first : first + _PLANES])
    along = (
        np.bitwise_or.reduce(across, axis=1),
        np.bitwise_or.reduce(below, axis=1),
        np.bitwise_or.reduce(below, axis=0),
    )
    boxes = {}
    for bone in BONES:
        z, y, x = (np.flatnonzero(axis & (1 << bone.label)) for axis in along)
        if len(z):
            boxes[bone.name] = (slice(z[0], z[-1] + 1), slice(y[0], y[-1] + 1), slice(x[0], x[-1] + 1))
    return boxes


def keep_one_piece(labels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], dict[str, PieceCount]]:
    """Keep the largest connected piece of every bone and fill its closed cavities.

    Parameters
    ----------
    labels: (nz, ny, nx) with the label values of `anatomy.BONES`.

    Returns
    -------
    cleaned: a new label volume. Cavities that hold another bone stay open.
    counts: what was done, by bone name.
    """
    cleaned = labels.copy()
    boxes = bone_boxes(cleaned)
    if not boxes:
        return cleaned, {bone.name: PieceCount(0, 0, 0, 0) for bone in BONES}
    runs = LabelRuns.of(cleaned[_around(boxes)])
    sizes, region_labels = runs.sizes(), runs.region_labels()
    kept: dict[str, tuple[int, int, int]] = {}
    loose = np.zeros(len(sizes), dtype=bool)
    for bone in BONES:
        pieces = np.flatnonzero(region_labels == bone.label)
        if not len(pieces):
            kept[bone.name] = (0, 0, 0)
            continue
        largest = pieces[sizes[pieces].argmax()]
        loose[pieces[pieces != largest]] = True
        kept[bone.name] = (len(pieces), int(sizes[largest]), int(sizes[pieces].sum() - sizes[largest]))
    if loose.any():
        cleaned[_around(boxes)][runs.voxels(loose)] = 0
    # Background without a way out, before or after pieces went, is the sign of a cavity.
    enclosed = loose.any() or not runs.at_the_border()[region_labels == 0].all()
    counts = {}
    for bone in BONES:
        box = boxes.get(bone.name)
        # Only now: another bone's loose pieces may have been inside.
        filled = _fill_cavities(cleaned[box], bone.label) if enclosed and box is not None else 0
        counts[bone.name] = PieceCount(*kept[bone.name], filled)
    return cleaned, counts


def _around(boxes: dict[str, tuple[slice, slice, slice]]) -> tuple[slice, slice, slice]:
    """The smallest box about all boxes."""
    z, y, x = (
        slice(min(box[axis].start for box in boxes.values()), max(box[axis].stop for box in boxes.values()))
        for axis in range(3)
    )
    return z, y, x


def _fill_cavities(crop: NDArray[np.uint8], label: int) -> int:
    """Give closed cavities of a bone in its box the bone's label, in place; returns how many voxels."""
    outside = np.pad(crop != label, 1, constant_values=True)
    # The neighbourhood of faces is faster, and what is one region by it is one by the larger one.
    if ndimage.label(outside, structure=_BONE_NEIGHBOURHOOD)[1] == 1:
        return 0
    regions, count = ndimage.label(outside, structure=_BACKGROUND_NEIGHBOURHOOD)
    if count == 1:
        return 0
    inner = regions[1:-1, 1:-1, 1:-1]
    closed = np.ones(count + 1, dtype=bool)
    closed[[0, regions[0, 0, 0]]] = False
    closed[np.unique(inner[(crop != label) & (crop != 0)])] = False
    cavities = closed[inner]
    crop[cavities] = label
    return int(np.count_nonzero(cavities))
