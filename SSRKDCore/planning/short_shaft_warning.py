"""The warning about a plan whose tibia shows too little shaft for its axis: slope, hinge and wedge are measured against that axis."""

from __future__ import annotations

from SSRKDCore.planning.landmark_set import LandmarkSet, SeenShaft
from SSRKDCore.planning.osteotomy_frame import TibialAxes
from SSRKDCore.planning.plan_warning import PlanWarning
from SSRKDCore.planning.shaft_axis import FARTHEST
from SSRKDCore.planning.short_shaft_table import least_reach, short_shaft_error
from SSRKDCore.surface import Surface

_SAGITTAL = ("slope_medial", "slope_lateral")


def short_shaft_warning(
    tibia: Surface, landmarks: LandmarkSet, axes: TibialAxes, limit_degrees: float
) -> PlanWarning | None:
    """The warning with the expected (root mean square) error of the axis in degrees, from the table of short_shaft_errors; None where the
    axis runs to the ankle's centre, or enough of the shaft is seen.

    Parameters
    ----------
    tibia: as planned on, LPS mm.
    landmarks: of the leg. Where a person set the shaft's ends, the stretch is taken to end at the distal one.
    axes: of the tibia.
    limit_degrees: larger expected errors are warned about.
    """
    if "ankle_centre" in landmarks or "tibial_shaft_distal" not in landmarks:
        return None
    computed = landmarks.shafts.get("tibia")
    shaft = computed or _given_shaft(tibia, landmarks, axes)
    frontal = short_shaft_error("aMPTA", {"tibia": shaft}) or 0.0
    sagittal = max(short_shaft_error(name, {"tibia": shaft}) or 0.0 for name in _SAGITTAL)
    if max(frontal, sagittal) <= limit_degrees:
        return None
    more = " or more" if shaft.reach_in_widths < least_reach("tibia") else ""
    by_hand = "" if computed else ", measured on computed axes (an end was set by hand here)"
    message = (
        f"The tibia's shaft is used for {shaft.reach:.0f} mm from the joint, {shaft.reach_in_widths:.2f} of the bone's width where "
        f"{FARTHEST:g} are wanted: its axis, and with it slope, hinge and cut, is expected to be off by {frontal:.1f} degrees{more} in "
        f"the frontal and {sagittal:.1f} degrees{more} in the sagittal plane{by_hand} (limit {limit_degrees:g} degrees). Give the ankle's "
        "centre, or take a larger field of view."
    )
    return PlanWarning("short-shaft", message, max(frontal, sagittal), limit_degrees)


def _given_shaft(tibia: Surface, landmarks: LandmarkSet, axes: TibialAxes) -> SeenShaft:
    height = axes.coordinates(tibia.vertices)[:, 2].max()
    reach = height - axes.coordinates(landmarks["tibial_shaft_distal"])[2]
    across = axes.coordinates(landmarks["lateral_plateau_edge"]) - axes.coordinates(landmarks["medial_plateau_edge"])
    return SeenShaft(float(reach), float(abs(across[0])))
