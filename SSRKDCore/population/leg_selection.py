"""Which leg of a CT is meant, where its knee is, and the part of the volume that shows it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from SSRKDCore.errors import InputError
from SSRKDCore.grid import Grid

Array = NDArray[np.float64]
Center = tuple[float, float, float]

# Trabecular bone of the knee's ends lies between about 100 and 300 HU, muscle below 80 and contrast-free blood below 60; averaged over
# blocks of about 3 mm, noise and the air of a rough edge do not reach this.
BONE_HU = 150.0
TISSUE_HU = -500.0
_BLOCK_MM = 3.0
_SMALLEST_PIECE_CM3 = 3.0
_SMALLEST_KNEE_CM3 = 20.0
# Condyles of one knee leave no gap in x; those of two are apart by the skin and fat of both (a guess on the safe side).
_GAP_MM = 12.0
_SMALLEST_LEG_SHARE = 0.2
_KNEE_HEIGHT_MM = 60.0
_REACH_MM = 150.0
_RIM_MM = 3.0


@dataclass(frozen=True)
class BoneBlocks:
    """Where a CT is bone, in blocks of about 3 mm.

    Attributes
    ----------
    mask: bool [z, y, x].
    grid: where the blocks lie, LPS mm.
    """

    mask: NDArray[np.bool_]
    grid: Grid

    @property
    def volume_cm3(self) -> float:
        """Volume of the bone."""
        return float(self.mask.sum() * np.prod(self.grid.spacing) / 1000.0)

    def between(self, low: float, high: float) -> BoneBlocks:
        """Only what lies between two x in mm."""
        x = self.grid.axes[0]
        return BoneBlocks(self.mask & (x > low) & (x < high), self.grid)


def bone_blocks(hounsfield: NDArray[np.floating], grid: Grid) -> BoneBlocks:
    """Bone of a CT [z, y, x] in HU; pieces below 3 cm3 (calcifications, the table's parts, noise) are left out."""
    factors = np.maximum(np.rint(_BLOCK_MM / np.array(grid.spacing)), 1).astype(int)
    factors = np.minimum(factors, np.array(grid.shape[::-1]))
    fx, fy, fz = (int(factor) for factor in factors)
    nz, ny, nx = (count // factor for count, factor in zip(grid.shape, (fz, fy, fx), strict=True))
    means = np.empty((nz, ny, nx), dtype=np.float32)
    for k in range(nz):  # A slab at a time: no second copy of the volume.
        slab = hounsfield[k * fz : (k + 1) * fz, : ny * fy, : nx * fx]
        means[k] = slab.reshape(fz, ny, fy, nx, fx).mean(axis=(0, 2, 4))
    origin = np.array(grid.origin) + (factors - 1) / 2 * np.array(grid.spacing)
    coarse = Grid(tuple(origin), tuple(factors * np.array(grid.spacing)), (nz, ny, nx))
    pieces, count = ndimage.label(means > BONE_HU, structure=np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1) * np.prod(coarse.spacing) / 1000.0
    large = sizes >= _SMALLEST_PIECE_CM3
    large[0] = False
    return BoneBlocks(large[pieces], coarse)


def legs_in_x(bone: BoneBlocks) -> list[tuple[float, float]]:
    """(lowest x, highest x) in mm for each leg, from the lowest x, the patient's right: one or two, the outermost limits infinite.

    Two legs are two large parts of the bone with an upright gap between. Legs that cross, or hips in the volume, show no gap and count
    as one.
    """
    columns = bone.mask.sum(axis=(0, 1))
    x, step = bone.grid.axes[0], bone.grid.spacing[0]
    filled = np.flatnonzero(columns)
    if not len(filled):
        return [(-np.inf, np.inf)]
    total, best = columns.sum(), None
    for left, right in itertools.pairwise(filled):
        width = (right - left - 1) * step
        share = min(columns[: left + 1].sum(), columns[right:].sum()) / total
        if width >= _GAP_MM and share >= _SMALLEST_LEG_SHARE and (best is None or width > best[0]):
            best = (width, (x[left] + x[right]) / 2)
    if best is None:
        return [(-np.inf, np.inf)]
    return [(-np.inf, float(best[1])), (float(best[1]), np.inf)]


def check_bone(bone: BoneBlocks, what: str) -> None:
    """Raises InputError, naming the CT, when there is less bone than in any knee."""
    if bone.volume_cm3 < _SMALLEST_KNEE_CM3:
        raise InputError(
            f"{what} shows {bone.volume_cm3:.0f} cm3 of bone ({BONE_HU:.0f} HU and more), less than any knee: "
            "choose a CT of the knee in Hounsfield units."
        )


def widest_bone(bone: BoneBlocks) -> Center:
    """A guess at the knee's centre (x, y, z) in mm: the middle of the 60 mm of a leg that hold the most bone, marrow included.

    Both ends that meet in a knee are several times as thick as the shafts. A hip or a foot in the volume is thicker still.
    """
    areas = np.array([ndimage.binary_fill_holes(layer).sum() for layer in bone.mask], dtype=np.float64)
    window = max(1, round(_KNEE_HEIGHT_MM / bone.grid.spacing[2]))
    best = int(ndimage.uniform_filter1d(areas, window, mode="nearest").argmax())
    x, y, z = bone.grid.axes
    near = np.abs(z - z[best]) <= _KNEE_HEIGHT_MM / 2
    rows = np.flatnonzero(bone.mask[near].any(axis=(0, 2)))
    columns = np.flatnonzero(bone.mask[near].any(axis=(0, 1)))
    return float(x[columns[[0, -1]]].mean()), float(y[rows[[0, -1]]].mean()), float(z[best])


def knee_box(hounsfield: NDArray[np.floating], grid: Grid, leg: tuple[float, float], center: Center) -> Array:
    """(2, 3) lowest and highest corner in mm of what a case keeps of a CT [z, y, x].

    In x the leg, in z 150 mm to either side of the knee (rays through a cube of 160 mm pass no further), in x and y without the air
    about the leg.
    """
    x, y, z = grid.axes
    inside_x = np.flatnonzero((x > leg[0]) & (x < leg[1]))
    inside_z = np.flatnonzero(np.abs(z - center[2]) <= _REACH_MM)
    if not (len(inside_x) and len(inside_z)):
        raise InputError("The CT holds nothing where the knee is said to be: check --center.")
    tissue = np.zeros((len(y), len(inside_x)), dtype=bool)
    for k in inside_z:
        tissue |= hounsfield[k][:, inside_x[0] : inside_x[-1] + 1] > TISSUE_HU
    rows, columns = np.flatnonzero(tissue.any(axis=1)), np.flatnonzero(tissue.any(axis=0))
    if not len(rows):
        raise InputError("The CT holds nothing but air where the knee is said to be: check --center.")
    low = [x[inside_x[columns[0]]], y[rows[0]], z[inside_z[0]]]
    high = [x[inside_x[columns[-1]]], y[rows[-1]], z[inside_z[-1]]]
    rim = np.array([_RIM_MM, _RIM_MM, 0.0])
    rim = np.maximum(rim, np.array(grid.spacing) / 2)
    box = np.stack([np.array(low) - rim, np.array(high) + rim])
    box[0, 0], box[1, 0] = max(box[0, 0], leg[0]), min(box[1, 0], leg[1])
    return box


def within_box(volume: NDArray, grid: Grid, box: Array) -> tuple[NDArray, Grid]:
    """The voxels [z, y, x] whose centres lie in a box (2, 3) in mm, and their grid. Raises InputError when there are none."""
    parts, origin = [], []
    for axis, values in enumerate(grid.axes):
        inside = np.flatnonzero((values >= box[0, axis]) & (values <= box[1, axis]))
        if not len(inside):
            raise InputError("The volume has nothing where the knee is: check --center, --leg and the segmentation.")
        parts.append(slice(int(inside[0]), int(inside[-1]) + 1))
        origin.append(float(values[inside[0]]))
    part = np.ascontiguousarray(volume[parts[2], parts[1], parts[0]])
    nz, ny, nx = part.shape
    return part, Grid((origin[0], origin[1], origin[2]), grid.spacing, (nz, ny, nx))
