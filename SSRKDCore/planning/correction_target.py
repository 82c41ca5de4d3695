"""How much to correct: from where the mechanical axis shall run, or which hip-knee-ankle angle the leg shall have.

Target and result are what `ssrkd measure` reads, so that a plan and a later measurement agree. Beside it stands Miniaci's
construction in the tibia's frontal plane: the line from the hip centre through the target on the
plateau is drawn down to the ankle's level; the ankle centre turns about the hinge until it lies on that line; the angle between the
two radii is the wedge (Miniaci et al., Clin Orthop 246, 1989). With a hinge axis that is tilted out of the frontal plane the ankle does not
travel on a circle there, so the wedge is solved for on the real path; both agree where the axis is perpendicular to the plane.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.planning.hinge import Hinge
from SSRKDCore.planning.landmark_set import LandmarkSet
from SSRKDCore.planning.measurements import measured

Array = NDArray[np.float64]

FUJISAWA, HKA, ANGLE = "fujisawa", "hka", "angle"
#: Fujisawa et al. (Orthop Clin North Am 10(3), 1979), as practised: 62 to 62.5 % of the plateau's width from medial.
FUJISAWA_PERCENT = 62.5
LARGEST_WEDGE_DEGREES = 30.0
_RANGES = {FUJISAWA: (0.0, 100.0), HKA: (160.0, 200.0), ANGLE: (0.1, LARGEST_WEDGE_DEGREES)}
_MEASUREMENTS = {FUJISAWA: "Fujisawa", HKA: "HKA"}
_WORDS = {FUJISAWA: "Fujisawa percentage", HKA: "hip-knee-ankle angle", ANGLE: "wedge angle"}


@dataclass(frozen=True)
class CorrectionTarget:
    """What to reach: kind "fujisawa" (% of the plateau's width from medial), "hka" (degrees, above 180 valgus) or "angle" (the
    wedge itself, degrees). Raises InputError out of range.
    """

    kind: str = FUJISAWA
    value: float = FUJISAWA_PERCENT

    def __post_init__(self) -> None:
        if self.kind not in _RANGES:
            raise InputError(f"The target {self.kind!r} is not known: use {', '.join(_RANGES)}.")
        lowest, highest = _RANGES[self.kind]
        if not lowest <= self.value <= highest:
            raise InputError(
                f"The {_WORDS[self.kind]} {self.value:g} is out of range: it must lie between {lowest:g} and {highest:g}."
            )


def miniaci_angle(hip: Array, target: Array, hinge: Array, ankle: Array) -> float:
    """Wedge angle in degrees by Miniaci's construction, positive into valgus.

    Parameters
    ----------
    hip, target, hinge, ankle: (2,) points in the frontal plane, mm lateral and proximal.

    Raises InputError when the line through the target passes the hinge farther away than the ankle.
    """
    along = (target - hip) / np.linalg.norm(target - hip)
    start = hip - hinge
    middle = start @ along
    radius = float(np.linalg.norm(ankle - hinge))
    rest = middle**2 - start @ start + radius**2
    if rest < 0:
        raise InputError(
            "The mechanical axis through the target cannot be reached by turning about this hinge: move the hinge."
        )
    corrected = start + (-middle + np.sqrt(rest)) * along
    before = ankle - hinge
    turn = before[0] * corrected[1] - before[1] * corrected[0]
    return float(np.degrees(np.arctan2(turn, before @ corrected)))


def target_point(landmarks: Mapping[str, Array], percent: float) -> Array:
    """(3,) the point at a percentage of the plateau's width from its medial edge."""
    medial, lateral = landmarks["medial_plateau_edge"], landmarks["lateral_plateau_edge"]
    return np.asarray(medial + percent / 100.0 * (lateral - medial))


def wedge_angle(landmarks: LandmarkSet, hinge: Hinge, target: CorrectionTarget) -> float:
    """The wedge angle in degrees with which the target is reached, as `ssrkd measure` would then read it.

    Raises InputError when a landmark is missing that the target needs and no angle is given, and when the leg is already at or
    beyond the target or the wedge would exceed 30 degrees.
    """
    if target.kind == ANGLE:
        return target.value

    def reached(degrees: float) -> float:
        motion = hinge.rotation(degrees)
        ankle = {}
        if "ankle_centre" in landmarks:
            ankle = {"ankle_centre": motion[:3, :3] @ landmarks["ankle_centre"] + motion[:3, 3]}
        found = measured(_MEASUREMENTS[target.kind], landmarks.moved(ankle))
        if found.value is None:
            name, reason = next(iter(found.missing.items()))
            raise InputError(
                f"The {name.replace('_', ' ')} is unknown ({reason}), so no wedge follows from a target: enter it by hand, or "
                "give the wedge angle."
            )
        return found.value

    return _solved(lambda degrees: reached(degrees) - target.value, f"{_WORDS[target.kind]} {target.value:g}")


def _solved(missed: Callable[[float], float], words: str) -> float:
    from scipy.optimize import brentq

    if missed(0.0) >= 0:
        raise InputError(f"The leg already is at or beyond the {words}: there is no valgus correction to plan.")
    if missed(LARGEST_WEDGE_DEGREES) <= 0:
        raise InputError(
            f"The {words} would take a wedge of more than {LARGEST_WEDGE_DEGREES:g} degrees: check the landmarks and the side."
        )
    return float(brentq(missed, 0.0, LARGEST_WEDGE_DEGREES, xtol=1e-12, rtol=1e-14))
