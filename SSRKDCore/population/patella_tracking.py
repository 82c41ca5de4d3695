"""Where the patella goes as the knee bends: along its groove, at the end of the patellar tendon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.evaluation.exact_distances import DistanceToSurface
from SSRKDCore.population.joint_frames import KneeFrame
from SSRKDCore.population.rigid_transforms import rotation_about, translation

Array = NDArray[np.float64]

# The patella's flexion lags by 30 to 40 % behind the tibia's: Yu et al., Journal of Healthcare Engineering 2019, 9159267, a review.
FLEXION_SHARE = 0.65
# Tendon over patella length as measured here, to the most prominent point of the tuberosity, which lies below the insertion's
# upper edge of Insall and Salvati (Radiology 101, 1971: mean 1.02). Legs that shape models are fitted to: 1.1 to 1.7.
_TENDON_RATIOS = (0.9, 1.7)

# In extension the patella lies above the groove, where the leg has it; the groove takes hold of it over the first 30 degrees:
# mm that it may be moved sideways, at no flexion and for each degree of it, and mm of depth that one mm^2 sideways must gain.
_SIDE_AT_ONCE, _SIDE_PER_DEGREE, _FURTHEST_SIDE = 1.0, 0.15, 6.0
_STAY = 0.03
_TOLERANCE = 0.05
_ROUNDS = 30


@dataclass(frozen=True)
class PatellaOffset:
    """How a patella departs from the middle of its track.

    Attributes
    ----------
    shift_mm: towards medial.
    tilt_deg: medial tilt, the medial edge turned towards the femur.
    spin_deg: medial rotation, the distal pole turned towards medial.
    """

    shift_mm: float = 0.0
    tilt_deg: float = 0.0
    spin_deg: float = 0.0


def tracked_patella(
    frame: KneeFrame,
    femur: DistanceToSurface,
    points: Array,
    tuberosity: Array,
    flexion_deg: float,
    space: float,
    offset: PatellaOffset,
) -> Array | None:
    """4x4 motion of the patella of a right knee that has been flexed by `flexion_deg`, or None where it finds no place.

    Three conditions hold its position. Along the groove: the straight patellar tendon keeps its length (taken as inextensible, as
    van Eijden et al., "A mathematical model of the patellofemoral joint", J Biomech 19, 1986). Across it: the patella lies where it
    sits deepest, plus `offset.shift_mm`. Off it: the smallest distance from the femur is `space` mm. Its flexion follows the
    tibia's with a lag; tilt and rotation, on which studies do not agree, are left to `offset`.

    Parameters
    ----------
    frame: of the knee as given.
    femur: its surface, which does not move.
    points: (N, 3) on the patella as given.
    tuberosity: (3,) where the tendon's end is now.
    """
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
    turn = (
        rotation_about(frame.flexion_axis, FLEXION_SHARE * flexion_deg, middle)
        @ rotation_about(np.array([0.0, 0.0, 1.0]), offset.tilt_deg, middle)
        @ rotation_about(np.array([0.0, 1.0, 0.0]), -offset.spin_deg, middle)
    )[:3, :3]
    shape, apex = (points - middle) @ turn.T, turn @ (frame.apex - middle)
    axis = frame.flexion_axis
    across = float((middle - frame.centre) @ axis)
    outward = middle - frame.centre - across * axis
    radius = float(np.linalg.norm(outward))
    outward = outward / radius
    low, high = (ratio * frame.patella_length for ratio in _TENDON_RATIOS)
    tendon = float(np.clip(frame.tendon_length, low, high))

    def place(along: float, side: float, height: float) -> Array:
        """(3,) middle of the patella: degrees along the groove, mm towards medial, mm off the femur."""
        direction = rotation_about(axis, along, np.zeros(3))[:3, :3] @ outward
        return frame.centre + (across + side) * axis + (radius + height) * direction

    def gap(position: Array) -> float:
        return float(femur.signed(shape + position).min())

    def stretched(along: float, side: float, height: float) -> float:
        """Length in mm of the tendon."""
        return float(np.linalg.norm(place(along, side, height) + apex - tuberosity))

    along, height, side = FLEXION_SHARE * flexion_deg, 0.0, 0.0
    for centring in (True, False):
        for _ in range(_ROUNDS):
            found = _along_groove(along, partial(stretched, side=side, height=height), tendon)
            if found is None:
                return None
            along = found
            missing = space - gap(place(along, side, height))
            height += missing
            if abs(missing) < _TOLERANCE:
                break
        else:
            return None
        if centring:
            furthest = min(_SIDE_AT_ONCE + _SIDE_PER_DEGREE * abs(flexion_deg), _FURTHEST_SIDE)
            sides = np.linspace(-furthest, furthest, 2 * round(furthest) + 1)
            depths = np.array([gap(place(along, candidate, height)) for candidate in sides])
            side = float(sides[np.argmax(depths - _STAY * sides**2)]) + offset.shift_mm
    transform = translation(place(along, side, height) - turn @ middle)
    transform[:3, :3] = turn
    return transform


def _along_groove(start: float, tendon: Callable[[float], float], length: float) -> float | None:
    """Degrees along the groove at which `tendon(degrees)` is `length` mm long, found from `start` by secants; None if nowhere."""
    first, second = start, start + 1.0
    value = tendon(first) - length
    for _ in range(40):
        following = tendon(second) - length
        if abs(following) < 0.01:
            return second if abs(second - start) < 60.0 else None
        if following == value:
            return None
        step = float(np.clip(-following * (second - first) / (following - value), -10.0, 10.0))
        first, second, value = second, second + step, following
    return None
