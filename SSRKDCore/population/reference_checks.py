"""Whether a user's segmentation can be a truth to train on: each check names what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from SSRKDCore.anatomy import BONES, bone
from SSRKDCore.drr.simulated_case import leg_side
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.field_of_view import flat_shaft_end
from SSRKDCore.grid import Grid
from SSRKDCore.reconstruction.components import keep_one_piece
from SSRKDCore.surface import Surface

# All limits are wide guesses, meant to tell a mistake (another unit, another segment, a shell) from an unusual knee.
_VOLUME_CM3 = {"patella": (3.0, 80.0), "fibula": (1.5, 200.0), "femur": (15.0, 1500.0), "tibia": (15.0, 1200.0)}
_LARGEST_LOOSE_SHARE = 0.1
_LARGEST_HOLLOW_SHARE = 0.1
_LEAST_INSIDE_CT = 0.99
_LEAST_RIM_CONTRAST_HU = 80.0
_LONG_BONES = ("femur", "fibula", "tibia")


def inside_share(labels: NDArray[np.uint8], grid: Grid, box: NDArray[np.float64]) -> float:
    """Part (0..1) of the labelled voxels [z, y, x] whose centres lie in a box (2, 3) in mm; 0 where nothing is labelled."""
    inside = [(axis >= box[0, i]) & (axis <= box[1, i]) for i, axis in enumerate(grid.axes)]
    marked = labels > 0
    within = marked[np.ix_(inside[2], inside[1], inside[0])]
    return float(within.sum() / max(int(marked.sum()), 1))


def check_overlap(labels: NDArray[np.uint8], grid: Grid, ct_grid: Grid, what: str) -> None:
    """Raises InputError, naming the segmentation, when it lies elsewhere than the CT, or partly beyond it."""
    if not labels.any():
        return
    share = inside_share(labels, grid, ct_grid.bounds)
    if share == 0:
        raise InputError(f"{what} does not overlap the CT at all: give the segmentation of this very scan.")
    if share < _LEAST_INSIDE_CT:
        raise InputError(
            f"{100 * (1 - share):.0f} % of {what} lies outside the CT: give the scan that was segmented, not a part of it."
        )


def checked_labels(
    labels: NDArray[np.uint8], grid: Grid, names: Mapping[str, str], what: str
) -> tuple[NDArray[np.uint8], list[str]]:
    """Labels [z, y, x] with one solid piece a bone, and warnings about what was dropped or filled.

    names: bone -> what the user calls its segment.

    Raises InputError, naming the segment, when it is empty, of an impossible size, in several large pieces, or hollow (its marrow was
    left out).
    """
    voxel_cm3 = float(np.prod(grid.spacing)) / 1000.0
    boxes = ndimage.find_objects(labels, max_label=len(BONES))
    warnings = []
    for name, given in names.items():
        label = bone(name).label
        mask = labels[boxes[label - 1] or (slice(0, 0),) * 3] == label
        count = int(mask.sum())
        if count == 0:
            raise InputError(
                f"Segment '{given}' ({name}) of {what} is empty here: segment the bone, or remove the segment."
            )
        filled = sum(int(ndimage.binary_fill_holes(layer).sum()) for layer in mask if layer.any())
        if filled - count > _LARGEST_HOLLOW_SHARE * filled:
            raise InputError(
                f"Segment '{given}' ({name}) of {what} is hollow ({100 * (filled - count) / filled:.0f} % of it is a hole): "
                "fill it, marrow and all."
            )
        low, high = _VOLUME_CM3[name]
        if not low <= count * voxel_cm3 <= high:
            raise InputError(
                f"Segment '{given}' of {what} has {count * voxel_cm3:.1f} cm3, outside {low:g} to {high:g} cm3 of a {name}: "
                "check which segment is which bone."
            )
    cleaned, pieces = keep_one_piece(labels)
    for name, given in names.items():
        found = pieces[name]
        loose = found.removed_voxels / max(found.removed_voxels + found.kept_voxels, 1)
        if loose > _LARGEST_LOOSE_SHARE:
            raise InputError(
                f"Segment '{given}' ({name}) of {what} is in {found.pieces} pieces, {100 * loose:.0f} % of it loose: "
                "keep the largest island, or choose one leg with --leg."
            )
        if found.removed_voxels:
            warnings.append(
                f"{found.pieces - 1} loose pieces of the {name} ({found.removed_voxels} voxels) were dropped."
            )
        if found.filled_voxels:
            warnings.append(f"Closed holes of the {name} ({found.filled_voxels} voxels) were filled.")
    return cleaned, warnings


def check_anatomy(surfaces: Mapping[str, Surface], side: str, what: str) -> None:
    """Raises InputError when the bones (LPS mm) do not lie to one another as those of a leg of that side do."""
    _, warnings = leg_side(surfaces, what, side)
    if warnings:
        raise InputError(f"{warnings[0][:-1]}: correct --side or --leg, or the orientation of the scan.")
    middle = {name: surface.centroid for name, surface in surfaces.items()}
    if "femur" in middle and "tibia" in middle and middle["femur"][2] <= middle["tibia"][2]:
        raise InputError(
            f"The femur of {what} lies below its tibia: check which segment is which bone, and the orientation of the scan."
        )
    behind = next((name for name in ("femur", "tibia") if name in middle), None)
    if "patella" in middle and behind and middle["patella"][1] >= middle[behind][1]:
        raise InputError(
            f"The patella of {what} lies behind its {behind}: check which segment is which bone, and the orientation of the scan."
        )


def check_against_ct(
    labels: NDArray[np.uint8], hounsfield: NDArray[np.integer], names: Mapping[str, str], what: str
) -> None:
    """Raises InputError, naming the segment, when its rim is not brighter than what surrounds it.

    labels, hounsfield: [z, y, x] on the same grid. A segmentation of another scan, or a mirrored one, shows no such step.
    """
    boxes = ndimage.find_objects(labels, max_label=len(BONES))
    for name, given in names.items():
        label = bone(name).label
        found = boxes[label - 1]
        if found is None:
            raise InputError(
                f"Segment '{given}' ({name}) of {what} has no voxel in this CT: give the scan that was segmented."
            )
        box = tuple(slice(max(part.start - 3, 0), part.stop + 3) for part in found)
        part, values = labels[box], hounsfield[box]
        mask = part == label
        inside = mask & ~ndimage.binary_erosion(mask, border_value=1)
        # A voxel's distance: the one at the rim is part bone.
        outside = ndimage.binary_dilation(mask, iterations=3) & ~ndimage.binary_dilation(mask) & (part == 0)
        step = float(values[inside].mean() - values[outside].mean()) if inside.any() and outside.any() else 0.0
        if step < _LEAST_RIM_CONTRAST_HU:
            raise InputError(
                f"Segment '{given}' ({name}) of {what} does not follow bone in this CT (its rim is {step:.0f} HU brighter than what is "
                "around it): check that it belongs to this scan, and is not mirrored or shifted."
            )


def cut_extents(
    labels: NDArray[np.uint8], grid: Grid, surfaces: Mapping[str, Surface], ct_grid: Grid
) -> dict[str, tuple[float, float]]:
    """Long bone -> (lowest z, highest z) in mm between which it is known, of those that end at a cut and not at their own end.

    A bone is cut where it meets the end of the scan or of the segmentation's volume, or ends flat. Two voxels at the cut are left out:
    the surface is rounded there.
    """
    box = np.stack([np.maximum(grid.bounds[0], ct_grid.bounds[0]), np.minimum(grid.bounds[1], ct_grid.bounds[1])])
    step = max(grid.spacing[2], ct_grid.spacing[2])
    found = {}
    for name in _LONG_BONES:
        if name not in surfaces:
            continue
        bottom, top = surfaces[name].bounds[:, 2]
        low, high = float(ct_grid.bounds[0, 2]), float(ct_grid.bounds[1, 2])
        flat = flat_shaft_end(surfaces[name], name)
        cut_above = top >= box[1, 2] - step or (name == "femur" and flat is not None)
        cut_below = bottom <= box[0, 2] + step or (name != "femur" and flat is not None)
        if cut_above or cut_below:
            if flat is not None:  # A tilted cut ends lower on one side.
                bottom, top = (bottom, min(top, flat)) if name == "femur" else (max(bottom, flat), top)
            found[name] = (
                float(bottom + 2 * step) if cut_below else low,
                float(top - 2 * step) if cut_above else high,
            )
    return found


def on_grid(labels: NDArray[np.uint8], grid: Grid, target: Grid) -> NDArray[np.uint8]:
    """Labels [z, y, x] at the voxels of another grid: of the nearest voxel, 0 outside."""
    indices, inside = [], []
    for axis, values in enumerate(target.axes):
        index = np.rint((values - grid.origin[axis]) / grid.spacing[axis]).astype(int)
        count = grid.shape[2 - axis]
        inside.append((index >= 0) & (index < count))
        indices.append(np.clip(index, 0, count - 1))
    found = labels[np.ix_(indices[2], indices[1], indices[0])].copy()
    found[~inside[2]] = 0
    found[:, ~inside[1]] = 0
    found[:, :, ~inside[0]] = 0
    return found
