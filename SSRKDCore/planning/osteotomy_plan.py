"""A planned osteotomy: hinge, cuts, wedge, and what they are expected to change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.planning.biplanar_cut import ascending_plane
from SSRKDCore.planning.correction_target import (
    CorrectionTarget,
    miniaci_angle,
    target_point,
    wedge_angle,
)
from SSRKDCore.planning.given_landmark_checks import BEYOND_THE_KNEE, LEAST_ALONG
from SSRKDCore.planning.hinge import Hinge, cut_through, entry_point, hinge_side, place_hinge
from SSRKDCore.planning.landmark_set import LANDMARK_BONES, LandmarkSet
from SSRKDCore.planning.osteotomy import LATERAL_CLOSING, OsteotomyParameters
from SSRKDCore.planning.osteotomy_frame import TibialAxes, mean_slope, tibial_axes
from SSRKDCore.planning.osteotomy_warnings import WarningLimits, plan_warnings
from SSRKDCore.planning.plan_warning import PlanWarning
from SSRKDCore.planning.plane import Plane
from SSRKDCore.planning.predicted_change import Change, predicted_changes
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]


_FAR_OFF = "The landmark {} lies far off the tibia: check that both are LPS and of the same leg."


@dataclass(frozen=True)
class OsteotomyPlan:
    """Everything in LPS mm.

    Attributes
    ----------
    side: "right" or "left".
    parameters: the dimensions it was planned with.
    target: what was to be reached.
    axes: of the tibia before the correction.
    hinge: axis about which the distal fragment turns.
    cut_plane: of the main cut, its normal to the joint; of a closing wedge the upper cut.
    lower_plane: lower cut of a closing wedge, or None.
    ascending_plane: second cut behind the tubercle, its normal to the front, or None.
    entry: (3,) where the main cut meets the cortex across from the hinge.
    wedge_degrees: angle by which the wedge is opened or closed.
    miniaci_degrees: the same by Miniaci's plane construction, None without hip and ankle centre.
    height_mm: of the wedge's base at the entry.
    landmarks: name -> (3,) before the correction; landmarks_after: the same after it.
    changes: name -> value before and after.
    warnings: what speaks against the plan.
    """

    side: str
    parameters: OsteotomyParameters
    target: CorrectionTarget
    axes: TibialAxes
    hinge: Hinge
    cut_plane: Plane
    lower_plane: Plane | None
    ascending_plane: Plane | None
    entry: Array
    wedge_degrees: float
    miniaci_degrees: float | None
    height_mm: float
    landmarks: Mapping[str, Array]
    landmarks_after: Mapping[str, Array]
    changes: Mapping[str, Change]
    warnings: tuple[PlanWarning, ...]

    @property
    def motion(self) -> Array:
        """(4, 4) motion of the distal fragment: a turn about the hinge axis and nothing else."""
        return self.hinge.rotation(self.wedge_degrees)


def plan_osteotomy(
    tibia: Surface,
    landmarks: LandmarkSet,
    parameters: OsteotomyParameters,
    target: CorrectionTarget,
    limits: WarningLimits | None = None,
) -> OsteotomyPlan:
    """Plan a high tibial osteotomy.

    Parameters
    ----------
    tibia: closed surface, LPS mm; it may end at the field of view.
    landmarks: of the leg; hip and ankle centre are needed for a target that is no angle.
    parameters: dimensions of the cut.
    target: what to reach.
    limits: beyond which warnings are given.

    Raises InputError when the surface is open, landmarks are missing or lie on the other side's bone, and when the geometry is impossible.
    """
    _check_surface(tibia, landmarks)
    axes = tibial_axes(landmarks)
    _check_below(landmarks, axes)
    tilt = parameters.hinge_tilt_degrees
    tilt = mean_slope(landmarks, axes) if tilt is None else tilt
    heights = {name: axes.coordinates(landmarks[f"{name}_plateau_centre"])[2] for name in ("medial", "lateral")}
    hinge_at, entry_at = ("lateral", "medial") if hinge_side(parameters.kind) > 0 else ("medial", "lateral")
    hinge = place_hinge(tibia, axes, heights[hinge_at], tilt, parameters)
    entry = entry_point(tibia, axes, heights[entry_at], parameters)
    cut = cut_through(hinge, entry, axes)
    ascending = (
        ascending_plane(tibia, cut, landmarks["tibial_tubercle"], axes, parameters) if parameters.biplanar else None
    )
    angle = wedge_angle(landmarks, hinge, target)
    lower = _lower_plane(cut, hinge, angle) if parameters.kind == LATERAL_CLOSING else None
    after = _moved_landmarks(landmarks, hinge.rotation(angle), cut, ascending)
    changes = predicted_changes(landmarks, after, axes)
    warnings = plan_warnings(
        tibia,
        landmarks,
        axes,
        hinge,
        cut,
        lower,
        ascending,
        entry,
        angle,
        changes,
        parameters,
        limits or WarningLimits(),
    )
    return OsteotomyPlan(
        landmarks.side,
        parameters,
        target,
        axes,
        hinge,
        cut,
        lower,
        ascending,
        entry,
        angle,
        _miniaci(landmarks, changes, axes, hinge),
        opening_height(hinge, entry, angle),
        dict(landmarks),
        dict(after),
        changes,
        warnings,
    )


def opening_height(hinge: Hinge, entry: Array, degrees: float) -> float:
    """Base of the wedge in mm: distance between the two places to which the entry (3,) belongs before and after the turn."""
    arm = entry - hinge.point
    arm = arm - (arm @ hinge.direction) * hinge.direction
    return float(2 * np.linalg.norm(arm) * np.sin(np.radians(degrees) / 2))


def _miniaci(landmarks: LandmarkSet, changes: Mapping[str, Change], axes: TibialAxes, hinge: Hinge) -> float | None:
    """Miniaci's angle to the place on the plateau that the plan reaches; None without hip and ankle."""
    if "fujisawa_percent" not in changes:
        return None
    hip, ankle = axes.frontal(landmarks["hip_centre"]), axes.frontal(landmarks["ankle_centre"])
    target = target_point(landmarks, changes["fujisawa_percent"].after)
    return miniaci_angle(hip, axes.frontal(target), axes.frontal(hinge.point), ankle)


def _lower_plane(cut: Plane, hinge: Hinge, degrees: float) -> Plane:
    return Plane(cut.point, hinge.rotation(-degrees)[:3, :3] @ cut.normal)


def _moved_landmarks(landmarks: LandmarkSet, motion: Array, cut: Plane, ascending: Plane | None) -> LandmarkSet:
    """The landmarks after the correction: those of the distal fragment and the ankle are moved."""
    after = {}
    for name, position in landmarks.items():
        of_tibia = LANDMARK_BONES[name] == "tibia"
        below = cut.distances(position[None])[0] < 0
        in_front = ascending is not None and ascending.distances(position[None])[0] > 0
        # The plateau stays in one piece, whatever a bad cut does; the warnings tell of it.
        distal = of_tibia and (below or in_front) and not ("plateau" in name or name == "tibial_eminence")
        if distal or name == "ankle_centre":
            after[name] = motion[:3, :3] @ position + motion[:3, 3]
    return landmarks.moved(after)


def _check_surface(tibia: Surface, landmarks: LandmarkSet) -> None:
    if tibia.is_empty:
        raise InputError("The tibia has no surface: an osteotomy needs one.")
    if not tibia.is_closed() or tibia.volume <= 0:
        raise InputError("The tibia's surface is open or inside out: close it first (ssrkd export says where).")
    low, high = tibia.bounds
    for name, position in landmarks.items():
        on_bone = LANDMARK_BONES[name] == "tibia" and name not in BEYOND_THE_KNEE
        if on_bone and ((position < low - 20) | (position > high + 20)).any():
            raise InputError(_FAR_OFF.format(name))
    if "medial_plateau_edge" in landmarks and "lateral_plateau_edge" in landmarks:
        across = (landmarks["lateral_plateau_edge"] - landmarks["medial_plateau_edge"])[0]
        if across * (-1.0 if landmarks.side == "right" else 1.0) <= 0:
            raise InputError(
                f"The lateral plateau lies where that of the other leg does, but the leg is said to be a {landmarks.side} one: "
                "correct the side, or convert the bones to LPS."
            )


def _check_below(landmarks: LandmarkSet, axes: TibialAxes) -> None:
    """Raise InputError for what may lie beyond a cut tibia, as a long film shows it, and lies elsewhere than down the leg."""
    for name, position in landmarks.items():
        if LANDMARK_BONES[name] == "tibia" and name in BEYOND_THE_KNEE:
            line = position - axes.origin
            if -(line @ axes.proximal) < LEAST_ALONG * float(np.linalg.norm(line)):
                raise InputError(_FAR_OFF.format(name))
