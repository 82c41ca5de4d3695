"""An osteotomy whose cut was set by hand: the dimensions that give this plane."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.planning.hinge import cortex_position, hinge_side
from SSRKDCore.planning.landmark_set import LandmarkSet
from SSRKDCore.planning.osteotomy import OsteotomyParameters
from SSRKDCore.planning.osteotomy_frame import TibialAxes, tibial_axes
from SSRKDCore.planning.plane import Plane
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

_STEPS = 60
_EXACT_MM = 1e-3
#: Cosine of the steepest cut against the tibia's axis: beyond it the plane runs along the bone.
_LEAST_COSINE = 0.35


def parameters_of_cut(
    tibia: Surface, landmarks: LandmarkSet, plane: Plane, parameters: OsteotomyParameters
) -> OsteotomyParameters:
    """`parameters` with the heights of hinge and entry and the tilt of the hinge axis changed, so that the main cut lies in `plane`.

    Parameters
    ----------
    tibia: closed surface, LPS mm.
    landmarks: of the leg, as for `plan_osteotomy`.
    plane: LPS mm; which way its normal points does not matter.
    parameters: everything that a plane does not say, such as the bone left at the hinge.

    Raises InputError for a plane that runs along the bone or leaves it, and for dimensions out of their range.
    """
    axes = tibial_axes(landmarks)
    normal = axes.matrix @ plane.normal
    if abs(normal[2]) < _LEAST_COSINE:
        raise InputError("The cut plane runs along the tibia instead of across it: turn it.")
    side = hinge_side(parameters.kind)
    names = ("lateral", "medial") if side > 0 else ("medial", "lateral")
    hinge_top, entry_top = (float(axes.coordinates(landmarks[f"{name}_plateau_centre"])[2]) for name in names)
    hinge = _height(tibia, axes, plane, side, parameters.hinge_to_cortex_mm, "hinge")
    entry = _height(tibia, axes, plane, -side, 0.0, "entry of the cut")
    turn = np.radians(parameters.hinge_rotation_degrees)
    fall = -(np.sin(turn) * normal[0] + np.cos(turn) * normal[1]) / normal[2]
    return replace(
        parameters,
        hinge_below_plateau_mm=hinge_top - hinge,
        entry_below_plateau_mm=entry_top - entry,
        hinge_tilt_degrees=float(np.degrees(np.arctan(fall))),
    )


def _height(tibia: Surface, axes: TibialAxes, plane: Plane, side: float, inwards: float, what: str) -> float:
    """mm proximal of the origin, where the plane lies `inwards` of the cortex on one side, halfway between front and back."""
    normal = axes.matrix @ plane.normal
    point = axes.coordinates(plane.point)
    height = float(point[2])
    for _ in range(_STEPS):
        lateral = side * (cortex_position(tibia, axes, side, height, what) - inwards)
        wanted = float(point[2] - (normal[0] * (lateral - point[0]) - normal[1] * point[1]) / normal[2])
        if abs(wanted - height) < _EXACT_MM:
            return wanted
        # Half the way: the cortex runs obliquely there, and whole steps can swing about the place.
        height += 0.5 * (wanted - height)
    raise InputError(f"The cut plane does not meet the cortex at one place near the {what}: move it.")
