"""Refinement as a step of a reconstruction: it makes bones better or leaves them, and never costs the user the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.grid import Grid
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.reconstruction.bone_surfaces import bone_surfaces
from SSRKDCore.reconstruction.components import keep_one_piece
from SSRKDCore.refinement.refine import refine
from SSRKDCore.refinement.surface_correction import SurfaceCorrection
from SSRKDCore.refinement.view_motion import ViewMotion
from SSRKDCore.surface import Surface


@dataclass(frozen=True)
class RefinedBones:
    """What refinement gave.

    Attributes
    ----------
    surfaces: bone -> closed surface, LPS mm, as `bone_surfaces` makes them. labels: (nz, ny, nx); None where nothing was refined.
    moved_mm: bone -> mean distance in mm from the network's surface.
    warnings: which bones, or that all of them, are as the network saw them, and why; which are fitted without the network.
    overruled: bones fitted to the radiographs' edges against the network (see `refinement.doubted_network`).
    corrected_mm: bone -> by how much a surface correction moved it on average.
    motion, pair_motions: how views seem to be turned, beyond what the rig says (see `Refinement`).
    """

    surfaces: dict[str, Surface] = field(default_factory=dict)
    labels: NDArray[np.uint8] | None = None
    moved_mm: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    overruled: tuple[str, ...] = ()
    corrected_mm: dict[str, float] = field(default_factory=dict)
    motion: ViewMotion | None = None
    pair_motions: dict[tuple[str, str], ViewMotion] = field(default_factory=dict)


def refined_bones(
    surfaces: Mapping[str, Surface],
    radiographs: Sequence[Radiograph],
    rig: Rig,
    side: str | None,
    prior: KneeShapeModel,
    grid: Grid,
    progress: Callable[[float], None] = lambda fraction: None,
    correction: SurfaceCorrection | None = None,
) -> RefinedBones:
    """Refine the network's bones and extract their surfaces; parameters as of `refine`, where `side` may be unknown."""
    if side is None:
        return RefinedBones(warnings=("The bones are the network's own, without refinement: the side is unknown.",))
    try:
        result = refine(surfaces, radiographs, rig, side, prior, grid, progress, correction)
    except InputError as error:
        reason = str(error)[0].lower() + str(error)[1:]
        return RefinedBones(warnings=(f"The bones are the network's own, without refinement: {reason}",))
    warnings = tuple(result.kept.values())
    if result.overruled:
        moves = ", ".join(f"{name} by {result.moved_mm[name]:.1f} mm" for name in result.overruled)
        warnings += (
            "The network's bones lie beside the edges in the radiographs, so the shape model was fitted to these edges without it, which "
            f"moved {moves}: look at the outlines before using the result.",
        )
    if len(result.kept) == len(result.moved_mm):
        return RefinedBones(warnings=warnings, motion=result.motion, pair_motions=dict(result.pair_motions))
    labels, _ = keep_one_piece(result.occupancy.labels)
    return RefinedBones(
        bone_surfaces(result.occupancy, labels, grid),
        labels,
        {name: value for name, value in result.moved_mm.items() if name not in result.kept},
        warnings,
        result.overruled,
        dict(result.corrected_mm),
        result.motion,
        dict(result.pair_motions),
    )
