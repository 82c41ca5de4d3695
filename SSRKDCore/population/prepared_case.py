"""A user's own CT, with or without a segmentation, as a case like those of the synthetic population."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SSRKDCore.anatomy import BONE_NAMES, SIDES
from SSRKDCore.drr.attenuation import check_hounsfield_like
from SSRKDCore.drr.simulated_case import placed_rig
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.grid import Grid
from SSRKDCore.output_folder import check_output_folder, complete_folder
from SSRKDCore.population.case_writer import CaseContent, write_case_folder
from SSRKDCore.population.dicom_series import read_ct_series
from SSRKDCore.population.knee_choice import PrepareOptions, chosen_leg, knee_place, stated_or_seen_side
from SSRKDCore.population.leg_selection import (
    Center,
    bone_blocks,
    check_bone,
    knee_box,
    legs_in_x,
    widest_bone,
    within_box,
)
from SSRKDCore.population.mask_surface import mask_surfaces
from SSRKDCore.population.reference_checks import (
    check_against_ct,
    check_anatomy,
    check_overlap,
    checked_labels,
    cut_extents,
    on_grid,
)
from SSRKDCore.population.synthetic_case import UNLABELLED
from SSRKDCore.population.user_segmentation import UserSegmentation, read_user_segmentation

Progress = Callable[[float, str], None]

_LOWEST_HU, _HIGHEST_HU = -1024, 32767
_THICK_SLICES_MM = 2.0
_LEAST_HEIGHT_SHARE = 0.7


@dataclass(frozen=True)
class PreparedCase:
    """What was made: the case's folder and side, the bones of its reference, and warnings in words."""

    folder: Path
    side: str
    reference: tuple[str, ...]
    radiographs: Mapping[str, str]
    center: Center
    warnings: tuple[str, ...]


def prepare_case(
    ct: str | Path,
    segmentation: str | Path | None,
    out: str | Path,
    options: PrepareOptions | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PreparedCase:
    """Check a CT and its segmentation, keep one knee of it, and write it as a case.

    Voxels stay as they are, in a box of the one leg that reaches 150 mm above and below the knee. Reference surfaces are made of the
    segmentation's own voxels (see `mask_surface`); where a bone is cut, `reference_extent` says so.

    Parameters
    ----------
    ct: DICOM folder, NRRD, NIfTI or MetaImage, in HU. segmentation: see `read_user_segmentation`; None makes an unlabelled case.
    out: the new folder. progress: called with a fraction 0..1 and words.

    Raises InputError, with what to do, for anything that would spoil a training: see `dicom_series`, `leg_selection`,
    `user_segmentation` and `reference_checks`.
    """
    options, show = options or PrepareOptions(), progress or (lambda fraction, words: None)
    check_output_folder(out, overwrite)
    ct, out = Path(ct), Path(out)
    what = ct.resolve().name
    values, grid, warnings = read_ct_series(ct, options.series)
    show(0.3, f"Read {what}")
    warnings += check_hounsfield_like(values, what)
    if max(grid.spacing) > _THICK_SLICES_MM:
        warnings.append(
            f"The voxels of {what} are {max(grid.spacing):g} mm apart: what lies between them is not known."
        )
    bone = bone_blocks(values, grid)
    check_bone(bone, what)
    given = None
    if segmentation is not None:
        given = read_user_segmentation(segmentation, options.segments, options.stated_side)
        check_overlap(given.labels, given.grid, grid, Path(segmentation).name)
        show(0.4, f"Read {Path(segmentation).name}")
    legs = legs_in_x(bone)
    index = chosen_leg(legs, options, given, what)
    side = SIDES[index] if len(legs) == 2 else stated_or_seen_side(options.stated_side, given, what)
    bone = bone.between(*legs[index])
    check_bone(bone, what)
    center, words = knee_place(options.center, given, legs[index], bone_center=widest_bone(bone))
    warnings += words
    values, ct_grid = within_box(values, grid, knee_box(values, grid, legs[index], center))
    hounsfield = np.clip(np.rint(values), _LOWEST_HU, _HIGHEST_HU).astype(np.int16)
    provenance = {"prepared_from": what, "description": "a user's CT; simulated radiographs"}
    if given is None:
        # Nothing to be measured against: an evaluation leaves it out, and does not count it as a failure.
        provenance["kind"] = UNLABELLED
    content = CaseContent(options.id or out.resolve().name, side, hounsfield, ct_grid, provenance=provenance)
    if given is not None and segmentation is not None:
        show(0.5, "Checking the segmentation")
        content, words = _with_reference(content, given, Path(segmentation).name)
        warnings += words
    rig = placed_rig(options.rig, side, center, center)
    warnings += rig.check() + _height_warning(rig, ct_grid)
    show(0.7, "Simulating radiographs")
    with complete_folder(out, overwrite) as folder:
        files = write_case_folder(folder, content, rig, options.noise, options.seed)
    return PreparedCase(out, side, tuple(content.surfaces), files, center, tuple(warnings))


def _with_reference(content: CaseContent, given: UserSegmentation, what: str) -> tuple[CaseContent, list[str]]:
    """The content with its bones, and warnings. Raises InputError when they cannot be a truth."""
    labels, grid = within_box(given.labels, given.grid, content.grid.bounds)
    labels, warnings = checked_labels(labels, grid, given.segments, what)
    if given.side not in (None, content.side):
        raise InputError(
            f"The segments of {what} are named {given.side}, and the leg is the {content.side} one: choose the other leg."
        )
    surfaces = mask_surfaces(labels, grid, given.segments)
    check_anatomy(surfaces, content.side, what)
    ct_labels = on_grid(labels, grid, content.grid)
    check_against_ct(ct_labels, content.hounsfield, given.segments, what)
    missing = [name for name in BONE_NAMES if name not in surfaces]
    if missing:
        warnings.append(
            f"{what} has no {' and no '.join(missing)}: the case can be evaluated, but only be trained on as an unlabelled one."
        )
    provenance = {**content.provenance, "segmentation": what, "segments": dict(given.segments)}
    extent = cut_extents(labels, grid, surfaces, content.grid)
    return CaseContent(
        content.id, content.side, content.hounsfield, content.grid, surfaces, ct_labels, provenance, extent
    ), warnings


def _height_warning(rig: Rig, grid: Grid) -> list[str]:
    low, high = rig.field_of_view.bounds[:, 2]
    covered = max(0.0, min(high, grid.bounds[1, 2]) - max(low, grid.bounds[0, 2])) / (high - low)
    if covered >= _LEAST_HEIGHT_SHARE:
        return []
    return [
        f"The CT covers {100 * covered:.0f} % of the height of the field of view: the rest of the radiographs is empty."
    ]
