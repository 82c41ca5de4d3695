"""Which knee of a user's scan a case is made of: what the user says, else what the segmentation and the bone show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import SIDES
from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.drr.simulated_case import knee_center, leg_side
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.label_surfaces import surfaces_of_labels
from SSRKDCore.grid import Grid
from SSRKDCore.population.leg_selection import Center
from SSRKDCore.population.reference_checks import inside_share
from SSRKDCore.population.user_segmentation import UserSegmentation
from SSRKDCore.surface import Surface

_ONE_LEG_SHARE = 0.99
_COARSE_STEP = 4


@dataclass(frozen=True)
class PrepareOptions:
    """What a CT does not say, and how its radiographs are made.

    Attributes
    ----------
    side: which knee it is; leg: which of two legs in the volume is meant. Either says the other.
    center: (x, y, z) in mm, LPS, of the knee; None finds it.
    segments: bone -> segment of the user's segmentation, where names do not tell.
    series: number, description or UID of the DICOM series.
    rig: preset or rig.json of the radiographs. noise, seed: of the radiographs.
    id: the case's id; None takes the name of its folder.
    """

    side: str | None = None
    leg: str | None = None
    center: Center | None = None
    segments: Mapping[str, str] | None = None
    series: str | None = None
    rig: str | Path = "room"
    noise: NoiseModel | None = None
    seed: int = 0
    id: str | None = None

    def __post_init__(self) -> None:
        for word in (self.side, self.leg):
            if word is not None and word not in SIDES:
                raise InputError(f"The side is '{word}': it must be right or left.")
        if self.side and self.leg and self.side != self.leg:
            raise InputError(f"The {self.leg} leg was chosen and side {self.side} stated: leave one of them out.")
        if self.center is not None and not np.isfinite(self.center).all():
            raise InputError("The centre of the knee needs three finite numbers in mm.")

    @property
    def stated_side(self) -> str | None:
        """The side that the user says, in whichever way."""
        return self.leg or self.side


def chosen_leg(
    legs: list[tuple[float, float]], options: PrepareOptions, given: UserSegmentation | None, what: str
) -> int:
    """Index of the leg that is meant. Raises InputError when that is not said, or said in two ways."""
    if len(legs) == 1:
        return 0
    wanted = options.stated_side
    if options.center is not None:
        index = int(options.center[0] > legs[0][1])
    elif wanted is not None:
        index = SIDES.index(wanted)
    else:
        shares = [0.0, 0.0] if given is None else [_share_in_x(given.labels, given.grid, leg) for leg in legs]
        if max(shares) < _ONE_LEG_SHARE:
            raise InputError(f"{what} shows two legs: choose one with --leg right or --leg left.")
        index = int(np.argmax(shares))
    if wanted not in (None, SIDES[index]):
        raise InputError(
            f"The centre lies in the {SIDES[index]} leg of {what}, and {wanted} was stated: correct --center or --leg."
        )
    return index


def _share_in_x(labels: NDArray[np.uint8], grid: Grid, leg: tuple[float, float]) -> float:
    return inside_share(labels, grid, np.array([[leg[0], -np.inf, -np.inf], [leg[1], np.inf, np.inf]]))


def _coarse_surfaces(given: UserSegmentation, leg: tuple[float, float]) -> dict[str, Surface]:
    """Rough surfaces of the segmented bones of one leg: enough to see where they lie to one another."""
    step = _COARSE_STEP
    labels = given.labels[::step, ::step, ::step].copy()
    grid = Grid(given.grid.origin, tuple(step * size for size in given.grid.spacing), labels.shape)  # type: ignore[arg-type]
    x = grid.axes[0]
    labels[:, :, (x <= leg[0]) | (x >= leg[1])] = 0
    return surfaces_of_labels(labels, grid, list(given.segments))


def stated_or_seen_side(stated: str | None, given: UserSegmentation | None, what: str) -> str:
    """The side of the only leg. Raises InputError when nobody says it."""
    if stated is not None:
        return stated
    if given is not None:
        surfaces = _coarse_surfaces(given, (-np.inf, np.inf))
        if "fibula" in surfaces and "tibia" in surfaces:
            side, warnings = leg_side(surfaces, what, None)
            if not warnings:
                return side
        if given.side is not None:
            return given.side
    raise InputError(f"{what} does not tell which knee it shows: state --side right or --side left.")


def knee_place(
    stated: Center | None, given: UserSegmentation | None, leg: tuple[float, float], bone_center: Center
) -> tuple[Center, list[str]]:
    """Where the knee is: as stated, else between the segmented femur and tibia, else where there is most bone."""
    if stated is not None:
        return stated, []
    surfaces = {} if given is None else _coarse_surfaces(given, leg)
    if "femur" in surfaces or "tibia" in surfaces:
        return knee_center(surfaces), []
    x, y, z = (round(value, 1) for value in bone_center)
    return (x, y, z), [
        f"The knee was taken to be at {x:g} {y:g} {z:g} mm, where the leg has most bone: state --center if it is elsewhere."
    ]
