"""Are these four surfaces the bones of a leg of that side, and which way do they lie?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES, SIDES
from SSRKDCore.errors import InputError
from SSRKDCore.planning.bone_samples import across, lateral_of, unit
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

_NEAR_CONTACT_MM = 5.0
_THINNED_MM = 2.0
_LPS_UP, _LPS_FRONT = np.array([0.0, 0.0, 1.0]), np.array([0.0, -1.0, 0.0])


@dataclass(frozen=True)
class RoughDirections:
    """Roughly where a bone's axes point: unit vectors (3,) at right angles to one another."""

    up: Array
    lateral: Array


def check_surfaces(bones: Mapping[str, Surface], side: str) -> None:
    """Raise InputError for an unknown side, names that are no bones, no femur and no tibia, and surfaces that are empty, open or
    inside out.
    """
    if side not in SIDES:
        raise InputError(f"The side is {side!r}, and it must be right or left.")
    unknown = sorted(set(bones) - set(BONE_NAMES))
    if unknown:
        raise InputError(f"{unknown[0]!r} is no bone of the knee: use {', '.join(BONE_NAMES)}.")
    if "femur" not in bones and "tibia" not in bones:
        raise InputError("There is neither a femur nor a tibia: give at least one of them.")
    for name, surface in bones.items():
        if surface.is_empty:
            raise InputError(f"The surface of the {name} has no triangles: leave it out, or reconstruct it again.")
        if not surface.is_closed():
            raise InputError(
                f"The surface of the {name} is open or not manifold: repair it first, or give the segmentation it came from."
            )
        if surface.volume <= 0:
            raise InputError(f"The surface of the {name} is inside out: turn its triangles round.")


def rough_directions(bones: Mapping[str, Surface], side: str) -> dict[str, RoughDirections]:
    """Where femur and tibia of a right leg point, from where the other bones lie, in any pose; LPS stands in for what is absent. side: for
    messages, of the leg whose mirror image they may be.

    The shafts lead away from where femur and tibia are nearest to each other; the patella lies in front of both.

    Raises InputError where the fibula then lies medial of the tibia: a mirrored surface, or the other side.
    """
    joint = _joint(bones)
    found = {}
    for name, sign in (("femur", 1.0), ("tibia", -1.0)):
        if name not in bones:
            continue
        up = _LPS_UP if joint is None else unit(sign * (bones[name].centroid - joint))
        front = _LPS_FRONT if joint is None or "patella" not in bones else bones["patella"].centroid - joint
        front = across(front, up)
        found[name] = RoughDirections(up, lateral_of(up, front))
    if "tibia" in found and "fibula" in bones:
        check_fibula(bones["tibia"].vertices, bones["fibula"].vertices, found["tibia"].up, found["tibia"].lateral, side)
    return found


def check_fibula(tibia: Array, fibula: Array, up: Array, lateral: Array, side: str) -> None:
    """Raise InputError where the upper part of the fibula's points (N, 3) lies medial of the tibia's (M, 3). side: for the message."""
    top = fibula[fibula @ up > (fibula @ up).max() - 40.0]
    height = top @ up
    beside = tibia[(tibia @ up > height.min()) & (tibia @ up < height.max())]
    if len(beside) and (top.mean(axis=0) - beside.mean(axis=0)) @ lateral < 0:
        raise InputError(
            f"The fibula lies medial of the tibia for a {side} leg: correct the side, or the surfaces are mirrored."
        )


def _joint(bones: Mapping[str, Surface]) -> Array | None:
    """(3,) middle of where femur and tibia are nearest to each other; None without one of them."""
    from scipy.spatial import cKDTree

    if "femur" not in bones or "tibia" not in bones:
        return None
    femur, tibia = (_thinned(bones[name].vertices) for name in ("femur", "tibia"))
    distance, index = cKDTree(tibia).query(femur)
    near = distance < distance.min() + _NEAR_CONTACT_MM
    return np.asarray(0.5 * (femur[near] + tibia[index[near]]).mean(axis=0))


def _thinned(points: Array) -> Array:
    """One of the points (N, 3) in each cube of 2 mm."""
    cells = np.floor((points - points.min(axis=0)) / _THINNED_MM).astype(np.int64)
    keys = np.ravel_multi_index(tuple(cells.T), tuple(cells.max(axis=0) + 1))
    return np.asarray(points[np.unique(keys, return_index=True)[1]])
