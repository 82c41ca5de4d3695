"""A training case in memory: its CT, its true bones, and what follows from them (attenuation, visible box, shadows of bone)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.cases import Case, load_case
from SSRKDCore.drr.attenuation import attenuation_from_hounsfield
from SSRKDCore.drr.siddon import line_integrals
from SSRKDCore.drr.volume_reader import read_ct
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.field_of_view import clipped_triangles
from SSRKDCore.evaluation.label_surfaces import surfaces_of_segmentation
from SSRKDCore.geometry.view import View
from SSRKDCore.grid import Grid
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface
from SSRKDCore.training.case_checks import check_solid
from SSRKDCore.training.random_rigs import RandomRig
from SSRKDCore.training.sample_store import UNKNOWN_LABEL

Array = NDArray[np.float64]

_LOWEST_HU, _HIGHEST_HU = -1024, 32767


@dataclass(frozen=True)
class CaseVolume:
    """A case read for training.

    Attributes
    ----------
    case: the case.
    hounsfield: int16 [z, y, x], from -1024 (padding below counts as air) to 32767.
    grid: where its voxels are, LPS mm.
    bones: the four closed bone surfaces, LPS mm; None when the case is used without labels.
    """

    case: Case
    hounsfield: NDArray[np.int16]
    grid: Grid
    bones: Mapping[str, Surface] | None

    @property
    def center(self) -> tuple[float, float, float]:
        """Where the knee is: the centre of the field of view of the case's own rig, (x, y, z) in mm."""
        return self.case.rig.field_of_view.center

    @property
    def known_heights(self) -> tuple[float, float]:
        """(lowest, highest) z in mm between which the truth is known of every bone: see `Case.reference_extent`."""
        extents = list(self.case.reference_extent.values())
        return max((low for low, _ in extents), default=-np.inf), min((high for _, high in extents), default=np.inf)

    def scanned_box(self, cut: tuple[float, float] = (-np.inf, np.inf)) -> Array:
        """(2, 3): lowest and highest corner in mm of the CT, or of what is left of it between two heights.

        Whole slices are kept or dropped, so that radiographs and labels end at the same height.
        """
        box = self.grid.bounds.copy()
        first, last = self._slices(cut)
        box[:, 2] = self.grid.origin[2] + (np.array([first, last]) - 0.5) * self.grid.spacing[2]
        return box

    def seen_part(self) -> NDArray[np.int16]:
        """The voxels [z, y, x] inside the field of view of the case's own rig; none where the CT does not reach it."""
        bounds = self.case.rig.field_of_view.bounds
        first = np.clip(np.ceil(self.grid.indices(bounds[0])), 0, self.grid.shape).astype(int)
        last = np.clip(np.floor(self.grid.indices(bounds[1])) + 1, 0, self.grid.shape).astype(int)
        return self.hounsfield[first[0] : last[0], first[1] : last[1], first[2] : last[2]]

    def radiographs(self, rig: RandomRig, rays: int = 1) -> NDArray[np.float32]:
        """Line integrals (V, rows, columns) in the rig's views of the CT between its cutting planes, at its energy.

        `rays`^2 rays a pixel are averaged: with one, voxels larger than pixels show as steps along edges.
        """
        first, last = self._slices(rig.cut)
        x, y, z = self.grid.origin
        grid = Grid((x, y, z + first * self.grid.spacing[2]), self.grid.spacing, (last - first, *self.grid.shape[1:]))
        # A table of all CT numbers, since a volume has hundreds of times as many voxels.
        numbers = np.arange(_LOWEST_HU, int(self.hounsfield.max()) + 1, dtype=np.int32)
        table = attenuation_from_hounsfield(numbers, rig.energy_kev)
        attenuation = _looked_up(self.hounsfield[first:last], table, _LOWEST_HU)
        images = []
        for view in rig.views:
            fine = line_integrals(attenuation, grid, view.resampled(view.rows * rays, view.columns * rays))
            images.append(fine.reshape(view.rows, rays, view.columns, rays).mean(axis=(1, 3)))
        return np.stack(images)

    def bone_masks(self, views: Sequence[View], box: Array) -> NDArray[np.uint8]:
        """(V, rows, columns) uint8 of a labelled case: see `bone_shadow`; UNKNOWN_LABEL where a ray meets none of the bones as far as they
        are known, and passes the box (2, 3) in mm at heights at which not all of them are.
        """
        assert self.bones is not None
        low, high = np.clip(self.known_heights, *box[:, 2])
        below, above = box.copy(), box.copy()
        below[1, 2], above[0, 2] = low, high
        masks = []
        for view in views:
            shadow = bone_shadow(self.bones, box, view)
            unknown = _rays_through(below, view) | _rays_through(above, view)
            masks.append(np.where((shadow == 0) & unknown, np.uint8(UNKNOWN_LABEL), shadow))
        return np.stack(masks)

    def _slices(self, cut: tuple[float, float]) -> tuple[int, int]:
        """First slice and one past the last whose centres lie between two heights."""
        inside = np.flatnonzero((self.grid.axes[2] >= cut[0]) & (self.grid.axes[2] <= cut[1]))
        if not len(inside):
            raise InputError(
                f"{self.case.folder}: the CT has no slice within {cut[0]:.0f} to {cut[1]:.0f} mm, where the rig looks: "
                "correct the field of view of the case's rig."
            )
        return int(inside[0]), int(inside[-1]) + 1


@numba.njit(cache=True)
def _looked_up(numbers, table, lowest):  # type: ignore[no-untyped-def]
    """table[numbers - lowest] for an int16 volume, float32."""
    result = np.empty(numbers.shape, np.float32)
    flat_numbers, flat_result = numbers.reshape(-1), result.reshape(-1)
    for index in range(flat_numbers.size):
        flat_result[index] = table[np.int32(flat_numbers[index]) - lowest]
    return result


def load_case_volume(folder: str | Path, labelled: bool | None = None, voxel_mm: float = 0.9) -> CaseVolume:
    """Read the CT and the true bones of a case.

    Parameters
    ----------
    folder: the case's folder.
    labelled: False leaves the reference unread; True insists on one; None takes what is there.
    voxel_mm: voxels much smaller than this are averaged in whole blocks to about this size, which bounds memory and time.

    Raises InputError, naming the case, when a file is missing or damaged, there is no CT, or the reference lacks a bone.
    """
    case = load_case(folder)
    if case.ct is None:
        raise InputError(f"{folder} has no CT, so it cannot be trained on: leave it out, or add its CT.")
    if labelled and case.reference is None:
        raise InputError(f"{folder} has no reference: use it as an unlabelled case.")
    hounsfield, grid, _ = read_ct(case.ct)
    hounsfield, grid = block_means(hounsfield, grid, voxel_mm)
    bones = None if labelled is False or case.reference is None else reference_bones(case)
    return CaseVolume(case, np.clip(np.rint(hounsfield), _LOWEST_HU, _HIGHEST_HU).astype(np.int16), grid, bones)


def reference_bones(case: Case) -> dict[str, Surface]:
    """The true surfaces of all four bones, in the order of the labels, LPS mm.

    Label maps become surfaces by constrained surface nets, which keep every vertex within its voxel; on a ball of 12 voxels' radius
    they lose 2 % of the volume, which is 0.08 voxels of radius (see `evaluation.label_surfaces`): less than the label map itself knows.

    Raises InputError, naming the case and the bone, when one of the four is missing, empty, open or inside out.
    """
    if isinstance(case.reference, Mapping):
        bones = {name: read_surface(path) for name, path in case.reference.items()}
    elif case.reference is not None:
        bones = surfaces_of_segmentation(case.reference, smooth=True)
    else:
        bones = {}
    missing = [name for name in BONE_NAMES if name not in bones]
    if missing:
        raise InputError(
            f"{case.folder}: the reference has no {' and no '.join(missing)}: segment every bone, or use the case without labels."
        )
    for name in BONE_NAMES:
        check_solid(bones[name], f"{case.folder}: the surface of the {name}")
    return {name: bones[name] for name in BONE_NAMES}


def block_means(values: NDArray[np.float32], grid: Grid, voxel_mm: float) -> tuple[NDArray[np.float32], Grid]:
    """Averages over whole blocks of voxels, as many along each axis as come nearest to `voxel_mm`; one is no change.

    values: [z, y, x]. An incomplete block at the far end is dropped.
    """
    factors = np.maximum(np.rint(voxel_mm / np.array(grid.spacing)), 1).astype(int)
    factors = np.minimum(factors, np.array(grid.shape[::-1]))
    if (factors == 1).all():
        return values, grid
    fx, fy, fz = (int(factor) for factor in factors)
    nz, ny, nx = (count // factor for count, factor in zip(grid.shape, (fz, fy, fx), strict=True))
    blocks = values[: nz * fz, : ny * fy, : nx * fx].reshape(nz, fz, ny, fy, nx, fx)
    origin = np.array(grid.origin) + (factors - 1) / 2 * np.array(grid.spacing)
    spacing = factors * np.array(grid.spacing)
    return blocks.mean(axis=(1, 3, 5), dtype=np.float32), Grid(tuple(origin), tuple(spacing), (nz, ny, nx))


def bone_shadow(bones: Mapping[str, Surface], box: Array, view: View) -> NDArray[np.uint8]:
    """(rows, columns) uint8: 1 where the ray through a pixel's centre meets a bone inside a box (2, 3) in mm.

    The shadows of the triangles of closed surfaces cover the shadow of what they enclose. Where the box cuts a bone this still holds for
    rays that leave through the bone's side, and a ray that enters and leaves through two cuts would have to run along the leg.
    """
    mask = np.zeros((view.rows, view.columns), dtype=np.uint8)
    for surface in bones.values():
        pixels, depth = view.project(clipped_triangles(surface.triangles, box))
        in_front = (depth > 0).all(axis=1)
        _fill_triangles(np.ascontiguousarray(pixels[in_front]), mask)
    return mask


def _rays_through(box: Array, view: View) -> NDArray[np.bool_]:
    """(rows, columns): whether the ray to a pixel's centre passes a box (2, 3) in mm; none does where the box is empty."""
    if (box[1] <= box[0]).any():
        return np.zeros((view.rows, view.columns), dtype=bool)
    source = np.array(view.source)
    rows, columns = np.arange(view.rows)[:, None], np.arange(view.columns)[None, :]
    ways = view.pixel_position(*np.broadcast_arrays(rows, columns)) - source
    with np.errstate(divide="ignore", invalid="ignore"):
        # Along a plane of the box a ray never or always lies between two of them: infinities of one or of both signs.
        first, last = (box[0] - source) / ways, (box[1] - source) / ways
    enter, leave = np.fmin(first, last).max(axis=-1), np.fmax(first, last).min(axis=-1)
    return np.asarray(np.maximum(enter, 0.0) < np.minimum(leave, 1.0))


@numba.njit(cache=True)
def _fill_triangles(triangles, mask):  # type: ignore[no-untyped-def]
    """Set the pixels whose centres lie in one of the triangles (T, 3, [row, column]), edges included."""
    rows, columns = mask.shape
    for t in range(len(triangles)):
        r0, c0 = triangles[t, 0, 0], triangles[t, 0, 1]
        r1, c1 = triangles[t, 1, 0], triangles[t, 1, 1]
        r2, c2 = triangles[t, 2, 0], triangles[t, 2, 1]
        area = (r1 - r0) * (c2 - c0) - (r2 - r0) * (c1 - c0)
        if area == 0.0:
            continue
        # A pixel centre on an edge shared by two triangles must not fall between them by rounding.
        slack = -1e-9 * abs(area)
        sign = 1.0 if area > 0.0 else -1.0
        for row in range(max(0, int(np.ceil(min(r0, r1, r2)))), min(rows - 1, int(np.floor(max(r0, r1, r2)))) + 1):
            first = max(0, int(np.ceil(min(c0, c1, c2))))
            for column in range(first, min(columns - 1, int(np.floor(max(c0, c1, c2)))) + 1):
                w0 = sign * ((r1 - row) * (c2 - column) - (r2 - row) * (c1 - column))
                w1 = sign * ((r2 - row) * (c0 - column) - (r0 - row) * (c2 - column))
                w2 = sign * ((r0 - row) * (c1 - column) - (r1 - row) * (c0 - column))
                if w0 >= slack and w1 >= slack and w2 >= slack:
                    mask[row, column] = 1
