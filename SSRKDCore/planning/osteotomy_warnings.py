"""What speaks against a plan: thin hinge, cut near the joint or through the tubercle, large opening, changed slope, lower patella, an axis
from a short shaft.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.planning.biplanar_cut import ascending_outline
from SSRKDCore.planning.hinge import Hinge
from SSRKDCore.planning.landmark_set import LandmarkSet
from SSRKDCore.planning.measurements import measure
from SSRKDCore.planning.named_dimensions import check_dimensions, dimension
from SSRKDCore.planning.osteotomy import LATERAL_CLOSING, OsteotomyParameters
from SSRKDCore.planning.osteotomy_frame import TibialAxes
from SSRKDCore.planning.plan_warning import PlanWarning
from SSRKDCore.planning.plane import Plane
from SSRKDCore.planning.plausible_ranges import doubts
from SSRKDCore.planning.predicted_change import Change
from SSRKDCore.planning.short_shaft_warning import short_shaft_warning
from SSRKDCore.planning.surface_rays import ray_hits, section_segments
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]


@dataclass(frozen=True)
class WarningLimits:
    """Limits beyond which a plan is warned about, all from practice; set them to your own. Raises InputError for a
    value out of its range.
    """

    least_hinge_to_cortex_mm: float = dimension(5.0, 0.0, 40.0, "bone between hinge and cortex")
    largest_hinge_to_cortex_mm: float = dimension(15.0, 5.0, 60.0, "beyond it the hinge does not bend, it breaks")
    least_hinge_to_joint_mm: float = dimension(12.0, 0.0, 60.0, "bone between the hinge or a cut and the plateau")
    least_ascending_to_joint_mm: float = dimension(
        5.0, 0.0, 60.0, "bone between the end of the ascending cut and the plateau"
    )
    least_tubercle_to_cut_mm: float = dimension(5.0, 0.0, 30.0, "distance between the tubercle and a cut")
    largest_height_mm: float = dimension(13.0, 1.0, 40.0, "base of an opening wedge")
    largest_slope_change_degrees: float = dimension(2.0, 0.1, 20.0, "change of the posterior slope")
    largest_tubercle_shift_mm: float = dimension(5.0, 0.1, 40.0, "way of the tubercle, and with it of the patella")
    largest_axis_error_degrees: float = dimension(
        1.0, 0.1, 20.0, "expected error of the tibia's axis where its shaft is cut short"
    )

    def __post_init__(self) -> None:
        check_dimensions(self)


def plan_warnings(
    tibia: Surface,
    landmarks: LandmarkSet,
    axes: TibialAxes,
    hinge: Hinge,
    cut: Plane,
    lower: Plane | None,
    ascending: Plane | None,
    entry: Array,
    wedge_degrees: float,
    changes: Mapping[str, Change],
    parameters: OsteotomyParameters,
    limits: WarningLimits,
) -> tuple[PlanWarning, ...]:
    """All warnings of a plan; the arguments are its parts as in OsteotomyPlan."""
    found = [
        *_hinge_warnings(tibia, landmarks, axes, hinge, cut, entry, limits),
        *_cut_warnings(tibia, landmarks, axes, hinge, cut, lower, ascending, entry, limits),
        *_change_warnings(hinge, entry, wedge_degrees, changes, parameters, limits),
    ]
    found += [
        PlanWarning("implausible", doubt.message, doubt.value, doubt.limit) for doubt in doubts(measure(landmarks))
    ]
    short = short_shaft_warning(tibia, landmarks, axes, limits.largest_axis_error_degrees)
    return tuple(found if short is None else [*found, short])


def joint_plane(landmarks: Mapping[str, Array], axes: TibialAxes) -> Plane:
    """The plateau as a plane: through both middles, falling to the back as both sides do on average (level where that is unknown)."""
    across = landmarks["lateral_plateau_centre"] - landmarks["medial_plateau_centre"]
    forwards = axes.anterior.copy()
    lines = []
    for name in ("medial", "lateral"):
        ends = [f"{name}_plateau_anterior", f"{name}_plateau_posterior"]
        if all(end in landmarks for end in ends):
            line = landmarks[ends[0]] - landmarks[ends[1]]
            lines.append(line / np.linalg.norm(line))
    if lines:
        forwards = np.mean(lines, axis=0)
    normal = np.cross(across, forwards)
    return Plane(axes.origin, normal if normal @ axes.proximal > 0 else -normal)


def _hinge_warnings(
    tibia: Surface,
    landmarks: Mapping[str, Array],
    axes: TibialAxes,
    hinge: Hinge,
    cut: Plane,
    entry: Array,
    limits: WarningLimits,
) -> list[PlanWarning]:
    found = []
    onwards = hinge.point - entry
    onwards -= (onwards @ hinge.direction) * hinge.direction
    ways = [float(ray_hits(tibia, hinge.point, way / np.linalg.norm(way))[0]) for way in _to_cortex(onwards, axes)]
    cortex = min(ways)
    if cortex < limits.least_hinge_to_cortex_mm:
        words = f"The hinge is thin: {cortex:.1f} mm of bone to its cortex"
        found.append(_warning("hinge-thin", words, cortex, limits.least_hinge_to_cortex_mm, "mm"))
    if cortex > limits.largest_hinge_to_cortex_mm:
        words = f"The hinge is stiff: {cortex:.1f} mm of bone to its cortex"
        found.append(_warning("hinge-stiff", words, cortex, limits.largest_hinge_to_cortex_mm, "mm"))
    joint = -float(joint_plane(landmarks, axes).distances(hinge.point[None])[0])
    if joint < limits.least_hinge_to_joint_mm:
        words = f"The hinge lies near the joint: {joint:.1f} mm below the plateau"
        found.append(_warning("hinge-near-joint", words, joint, limits.least_hinge_to_joint_mm, "mm"))
    return found


def _to_cortex(onwards: Array, axes: TibialAxes) -> list[Array]:
    """Ways from the hinge to its cortex: on in the cut, and level."""
    side = 1.0 if onwards @ axes.lateral > 0 else -1.0
    return [onwards, side * axes.lateral]


def _cut_warnings(
    tibia: Surface,
    landmarks: Mapping[str, Array],
    axes: TibialAxes,
    hinge: Hinge,
    cut: Plane,
    lower: Plane | None,
    ascending: Plane | None,
    entry: Array,
    limits: WarningLimits,
) -> list[PlanWarning]:
    found = []
    joint = joint_plane(landmarks, axes)
    outlines = (
        ("main", _main_outline(tibia, cut, hinge, entry), limits.least_hinge_to_joint_mm),
        ("ascending", _second_outline(tibia, cut, ascending), limits.least_ascending_to_joint_mm),
    )
    for name, outline, limit in outlines:
        nearest = -float(joint.distances(outline).max(initial=-np.inf))
        if nearest < limit:
            words = f"The {name} cut comes near the joint: {nearest:.1f} mm below the plateau"
            found.append(_warning(f"{name}-cut-near-joint", words, nearest, limit, "mm"))
    tubercle = landmarks["tibial_tubercle"][None]
    if ascending is not None:
        room = float(ascending.distances(tubercle)[0])
        words = f"The ascending cut runs {room:.1f} mm behind the tubercle"
    else:
        below = -float(cut.distances(tubercle)[0])
        room = below if lower is None else -float(lower.distances(tubercle)[0])
        words = f"The cut runs {room:.1f} mm above the tubercle"
    if room < limits.least_tubercle_to_cut_mm:
        found.append(_warning("cut-at-tubercle", words, room, limits.least_tubercle_to_cut_mm, "mm"))
    return found


def _main_outline(tibia: Surface, cut: Plane, hinge: Hinge, entry: Array) -> Array:
    """(N, 3) points on the outline of the main cut, which ends at the hinge."""
    points = section_segments(tibia, cut).reshape(-1, 3)
    back = entry - hinge.point
    back -= (back @ hinge.direction) * hinge.direction
    return np.asarray(points[(points - hinge.point) @ back > 0])


def _second_outline(tibia: Surface, cut: Plane, ascending: Plane | None) -> Array:
    return np.zeros((0, 3)) if ascending is None else ascending_outline(tibia, cut, ascending)


def _change_warnings(
    hinge: Hinge,
    entry: Array,
    wedge_degrees: float,
    changes: Mapping[str, Change],
    parameters: OsteotomyParameters,
    limits: WarningLimits,
) -> list[PlanWarning]:
    found = []
    arm = np.linalg.norm(np.cross(hinge.direction, entry - hinge.point))
    height = float(2 * arm * np.sin(np.radians(wedge_degrees) / 2))
    if parameters.kind != LATERAL_CLOSING and height > limits.largest_height_mm:
        words = f"The opening is large: {height:.1f} mm at the cortex"
        found.append(_warning("opening-large", words, height, limits.largest_height_mm, "mm"))
    for name in ("medial", "lateral"):
        slope = changes.get(f"{name}_slope_degrees")
        if slope is not None and abs(slope.change) > limits.largest_slope_change_degrees:
            words = f"The {name} slope changes by {slope.change:+.1f} degrees"
            limit = limits.largest_slope_change_degrees
            found.append(_warning(f"{name}-slope-changes", words, slope.change, limit, "degrees"))
    shift = changes["tubercle_height_mm"].change
    if abs(shift) > limits.largest_tubercle_shift_mm:
        words = f"The tubercle moves {abs(shift):.1f} mm {'down' if shift < 0 else 'up'}, and the patella with it"
        found.append(_warning("patella-height-changes", words, shift, limits.largest_tubercle_shift_mm, "mm"))
    return found


def _warning(code: str, words: str, value: float, limit: float, unit: str) -> PlanWarning:
    return PlanWarning(code, f"{words} (limit {limit:g} {unit}).", value, limit)
