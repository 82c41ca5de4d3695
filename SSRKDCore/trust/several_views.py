"""Three or more views, each checked against the others: in scale, in height, and for turns; and which of them is doubted.

Two views that disagree do not tell which of them is wrong. A third that agrees with one of them does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from SSRKDCore.geometry.rig import MINIMUM_SEPARATION_DEGREES, Rig
from SSRKDCore.refinement.view_motion import ViewMotion
from SSRKDCore.trust.flag import (
    ANGLE_DEGREES,
    HEIGHT_MM,
    LIGHTS,
    ROLL_DEGREES,
    SCALE_PERCENT,
    UNCHECKED_SCALE,
    Flag,
    beyond,
    unmeasured,
)
from SSRKDCore.trust.known_view_motion import bundled_known_view_motion
from SSRKDCore.trust.view_scales import ScaleDisagreement

Pair = frozenset[str]


@dataclass(frozen=True)
class PairScale:
    """first, second: names of two views. found: what they say of each other's scale and height; None where they cannot tell."""

    first: str
    second: str
    found: ScaleDisagreement | None


@dataclass(frozen=True)
class _Value:
    """What two views say of each other: a value of either sign, what it is known to, and the light of that."""

    first: str
    second: str
    value: float
    known_to: float
    light: str | None

    @property
    def pair(self) -> Pair:
        return frozenset((self.first, self.second))

    @property
    def is_number(self) -> bool:
        return bool(np.isfinite([self.value, self.known_to]).all())


def pairs_apart(rig: Rig) -> list[tuple[str, str]]:
    """Names of each two views whose beams are far enough from parallel to be checked against one another, in the rig's order."""
    found = []
    for first, second in combinations(range(len(rig.views)), 2):
        angle = rig.separation_degrees(first, second)
        if min(angle, 180.0 - angle) >= MINIMUM_SEPARATION_DEGREES:
            found.append((rig.views[first].name, rig.views[second].name))
    return found


def doubted_view(views: Sequence[str], flagged: Collection[Pair], cleared: Collection[Pair]) -> str | None:
    """The view that alone can be wrong where pairs disagree, or None where another could be as well.

    It is of every pair that disagrees, and what each of these holds against it agrees with a third view.

    Parameters
    ----------
    views: names of all. flagged: pairs that disagree. cleared: pairs that were seen to agree.
    """

    def alone(name: str) -> bool:
        others = [pair - {name} for pair in flagged if name in pair]
        return len(others) == len(flagged) and all(
            any(other < pair and name not in pair for pair in cleared) for other in others
        )

    found = [name for name in views if alone(name)] if flagged else []
    return found[0] if len(found) == 1 else None


def several_scale_flags(views: Sequence[str], pairs: Sequence[PairScale]) -> list[Flag]:
    """Whether views contradict one another in scale or height, which is doubted, and whether each was checked against another.

    views: names of three or more. pairs: of those far enough apart.
    """
    told = [pair for pair in pairs if pair.found is not None]
    scales = [_value(p, p.found.percent, p.found.known_to_percent, SCALE_PERCENT) for p in told if p.found]
    heights = [_value(p, p.found.shift_mm, p.found.known_to_mm, HEIGHT_MM) for p in told if p.found]
    # A pair that allows for a wrong scale does not show that both views are right.
    sure = {v.pair for v in scales if v.is_number and not v.light and abs(v.value) + v.known_to <= SCALE_PERCENT[1]}
    flags = []
    worst, doubted = _worst(views, scales, sure)
    if worst is not None:
        flags.append(
            Flag(
                "magnification",
                str(worst.light),
                f"{_disagree(worst, doubted)} in scale by {abs(worst.value):.1f} % (known to about {worst.known_to:.1f} %): the "
                f"magnification of {_which(doubted)} is wrong (calibrate, or correct its distances or pixel spacing), or the knee bent "
                "between the exposures.",
            )
        )
    checked = sure | {value.pair for value in scales if value.is_number and value.light}
    broken = [value.pair for value in scales if not value.is_number]
    unreached = _unreached(views, checked)
    alone = [name for name in views if name in unreached or any(name in pair for pair in broken)]
    if alone:
        flags.append(_unchecked(alone, pairs, scales))
    worst, doubted = _worst(views, heights, {v.pair for v in heights if v.is_number and not v.light})
    if worst is not None:
        flags.append(
            Flag(
                "view_height",
                str(worst.light),
                f"{_disagree(worst, doubted)} in height by {abs(worst.value):.1f} mm: the geometry is not that of these images, "
                f"or the leg moved or bent between them{_suspect(doubted)}.",
            )
        )
    elif not all(value.is_number for value in heights):
        flags.append(unmeasured("view_height", "amber", "Whether the views agree in height"))
    return flags


def several_turn_flags(views: Sequence[str], motions: Mapping[tuple[str, str], ViewMotion]) -> list[Flag]:
    """Whether a view is turned against what the rig says, as far as edges and the shape of knees tell, and which is doubted.

    views: names of three or more. motions: by the names of the view that stays and of the one that seems to be turned.
    """
    known, flags = bundled_known_view_motion(), []
    angles: dict[Pair, _Value] = {}
    rolls = []
    for (beside, view), motion in motions.items():
        precision = known.angle_degrees(motion.angle_spread_degrees)
        light = beyond(motion.angle_degrees, ANGLE_DEGREES, precision)
        angle = _Value(beside, view, motion.angle_degrees, precision, light)
        # Either may move: the angle is told twice.
        other = angles.get(angle.pair)
        if other is None or not other.is_number or (angle.is_number and angle.known_to < other.known_to):
            angles[angle.pair] = angle
        precision = known.roll_degrees(motion.roll_spread_degrees)
        light = beyond(motion.roll_degrees, ROLL_DEGREES, precision)
        rolls.append(_Value(beside, view, motion.roll_degrees, precision, light))
    cleared = {value.pair for value in angles.values() if value.is_number and not value.light}
    worst, doubted = _worst(views, list(angles.values()), cleared)
    if worst is not None:
        way = "further apart" if worst.value > 0 else "closer together"
        flags.append(
            Flag(
                "view_angle",
                str(worst.light),
                f"The bones look like a knee between beams of the views '{worst.first}' and '{worst.second}' {abs(worst.value):.0f} "
                f"degrees {way} than the rig says (known to about {worst.known_to:.0f} degrees): the angle between them is another, or "
                f"the leg turned between them{_suspect(doubted)}. Measure it, or calibrate with an object.",
            )
        )
    elif not all(value.is_number for value in angles.values()):
        flags.append(unmeasured("view_angle", "amber", "Whether the angles between the views are the stated ones"))
    worst, _ = _worst(views, rolls, ())
    if worst is not None:
        flags.append(
            Flag(
                "view_roll",
                str(worst.light),
                f"The image of view '{worst.second}' looks turned in its plane by {abs(worst.value):.0f} degrees, beside view "
                f"'{worst.first}', against what the rig says (known to about {worst.known_to:.0f} degrees): its detector was tilted, or "
                "the leg leant over or bent between the views. Calibrate with an object.",
            )
        )
    elif not all(value.is_number for value in rolls):
        flags.append(unmeasured("view_roll", "amber", "Whether a view's image is turned in its plane"))
    return flags


def _value(pair: PairScale, value: float, known_to: float, limits: tuple[float, float]) -> _Value:
    return _Value(pair.first, pair.second, value, known_to, beyond(value, limits, known_to))


def _worst(
    views: Sequence[str], values: Sequence[_Value], cleared: Collection[Pair]
) -> tuple[_Value | None, str | None]:
    """The worst of the values that disagree, and the view that alone can be wrong, if one can."""
    flagged = [value for value in values if value.light and value.is_number]
    if not flagged:
        return None, None
    doubted = doubted_view(views, {value.pair for value in flagged}, cleared)
    return max(flagged, key=lambda value: (LIGHTS.index(str(value.light)), abs(value.value))), doubted


def _disagree(worst: _Value, doubted: str | None) -> str:
    if doubted is None:
        return f"The views '{worst.first}' and '{worst.second}' disagree"
    (other,) = worst.pair - {doubted}
    return f"View '{doubted}' disagrees with view '{other}', which others agree with,"


def _which(doubted: str | None) -> str:
    return "one" if doubted is None else f"view '{doubted}'"


def _suspect(doubted: str | None) -> str:
    return "" if doubted is None else f"; the others agree, so view '{doubted}' is the one to doubt"


def _unreached(views: Sequence[str], checked: Collection[Pair]) -> list[str]:
    """Views that no chain of checked pairs joins with the most others; all of them where no pair was checked."""
    groups = [{name} for name in views]
    for pair in checked:
        joined = [group for group in groups if group & pair]
        groups = [set().union(*joined), *(group for group in groups if group not in joined)]
    largest = max(groups, key=lambda group: (len(group), views[0] in group))
    return list(views) if len(largest) == 1 else [name for name in views if name not in largest]


def _unchecked(names: Sequence[str], pairs: Sequence[PairScale], values: Sequence[_Value]) -> Flag:
    """The flag of views whose scale was not checked."""
    of_them = [value for value in values if value.pair & set(names)]
    numbers = [abs(value.value) + value.known_to for value in of_them if value.is_number]
    if len(numbers) < len(of_them):
        why = "it could not be measured"
    elif numbers:
        why = f"they allow for {min(numbers):.1f} %"
    elif any({pair.first, pair.second} & set(names) for pair in pairs):
        why = "they show too little alike"
    else:
        why = "its beam is nearly parallel to every other"
    shown = " and ".join(f"'{name}'" for name in names)
    return Flag(
        UNCHECKED_SCALE,
        "amber",
        f"The images cannot exclude that the scale of view {shown} is wrong by {SCALE_PERCENT[1]:.0f} % ({why}), so it could not be "
        "checked: make sure of its magnification, or calibrate.",
    )
