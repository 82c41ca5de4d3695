"""A rigid guide pressed onto a bone over its whole face: the pose that leaves the least room between them.

The hand's pressure is taken as even over the contact patch, so that it has a potential: the mean gap E(pose), the room left between
patch and bone over the patch's area. A seat is a pose that minimises E while no gap of the guide's surface is below zero. The contact
forces are the multipliers of these constraints.

Solved by sequential linearisation with a trust region (Fletcher, Practical Methods of Optimization, 1987, section 14.4, exact
penalty): gaps and E are linear in a small twist about the patch's centre, the gradient of the distance field gives their slopes. The
linear programme's step is taken in its proximal form (contact_step.py), the nearest feasible point to a step of trusted length down the
slope: with a long one that is the solution of the linear programme itself, and along motions that change nothing it stays. A step counts
when it lowers E plus a multiple of the deepest penetration; otherwise the trust shrinks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.planning.contact_step import contact_step
from SSRKDCore.planning.guide_contacts import GuideContacts, Pose
from SSRKDCore.planning.guide_gaps import BoneNearGuide, Gaps

Array = NDArray[np.float64]
Measure = Callable[[Pose], Gaps]

#: A finished seat lies nowhere deeper in the bone than this.
PENETRATION_TOLERANCE_MM = 0.02
#: Points of a seat this near to the bone carry the pressure.
TOUCHING_MM = 0.05
_PENETRATION_COST = 8.0
_LONGEST_STEP_MM, _FIRST_TRUST_MM, _LARGEST_TRUST_MM = 1.5, 2.0, 10.0
_FINISHING_TRUST_MM, _FINISHING_WITHIN_MM = 1.0, 0.6
_SMALLEST_TRUST_MM = 1e-3
_LEAST_GAIN_MM = 2e-5
_STEPS, _FINISHING_STEPS = 60, 25
_FRESH_STARTS, _BALANCED = 3, 0.02
_FREE_MM = 0.002
_HIGHEST_LIFT_MM, _FARTHEST_WAY_MM = 20.0, 30.0
_ROOM_MM = 0.02


@dataclass(frozen=True)
class Seat:
    """Where a guide came to rest.

    Attributes
    ----------
    pose: from the designed pose.
    mean_gap_mm: what the seat minimises.
    penetration_mm: deepest point of either body in the other; exact for a finished seat, by the grid otherwise.
    unbalanced: share of the pressure that the contacts do not carry (0 in equilibrium).
    touches: False when it met no bone.
    """

    pose: Pose
    mean_gap_mm: float
    penetration_mm: float
    unbalanced: float
    touches: bool


def seat_from(bone: BoneNearGuide, contacts: GuideContacts, start: Pose) -> Seat:
    """Press a guide onto the bone from a start, which is first raised or lowered along the seating direction until it just touches.

    Returns the seat by the grid; `finished` makes it exact.
    """

    def measure(pose: Pose) -> Gaps:
        return bone.fast_gaps(contacts, pose)

    pose, met = _at_first_touch(measure, contacts, start)
    if not met:
        return Seat(pose, np.inf, 0.0, 1.0, False)
    return _rest(measure, contacts, pose, _FIRST_TRUST_MM, _STEPS)


def finished(bone: BoneNearGuide, contacts: GuideContacts, seat: Seat) -> Seat:
    """The seat with exact distances, from both sides: points of the guide against the bone, points of the bone against the patch."""

    def measure(pose: Pose) -> Gaps:
        return bone.exact_gaps(contacts, pose, _FINISHING_WITHIN_MM)

    return _rest(measure, contacts, seat.pose, _FINISHING_TRUST_MM, _FINISHING_STEPS)


def _rest(measure: Measure, contacts: GuideContacts, pose: Pose, trust: float, most: int) -> Seat:
    for _ in range(_FRESH_STARTS):
        pose = _settled(measure, contacts, pose, trust, most)
        seat = _seat(measure, _freed(measure, contacts, pose))
        # At a kink of the bone the trust can shrink to nothing before the end: from there once more.
        if seat.unbalanced < _BALANCED:
            break
    return seat


def _seat(measure: Measure, pose: Pose) -> Seat:
    from scipy.optimize import nnls

    found = measure(pose)
    rows = found.rows[found.gaps < TOUCHING_MM]
    size = max(float(np.linalg.norm(found.slope)), 1e-12)
    unbalanced = float(nnls(np.ascontiguousarray(rows.T), found.slope)[1]) / size if len(rows) else 1.0
    return Seat(pose, found.mean_mm, found.depth_mm, unbalanced, bool(len(found.gaps)))


def _at_first_touch(measure: Measure, contacts: GuideContacts, start: Pose) -> tuple[Pose, bool]:
    """The start, raised against the seating direction until nothing lies in the bone, or lowered until something touches."""
    pose, way = start, 0.0
    while -_HIGHEST_LIFT_MM < way < _FARTHEST_WAY_MM:
        found = measure(pose)
        least = float(found.gaps.min()) if len(found.gaps) else 1.0
        if 0 <= least < 2 * _ROOM_MM or (way < 0 <= least):
            return pose, True
        # No further than the gap itself: nothing is passed through.
        advance = least - _ROOM_MM
        way += advance
        pose = Pose(pose.rotation, pose.shift + advance * contacts.direction)
    return pose, False


def _settled(measure: Measure, contacts: GuideContacts, pose: Pose, trust: float, most: int) -> Pose:
    found = measure(pose)
    for _ in range(most):
        size = float(np.linalg.norm(found.slope))
        if size < 1e-9 or trust < _SMALLEST_TRUST_MM:
            break
        step, possible = contact_step(-trust / size * found.slope, found.rows, -found.gaps)
        if not possible:
            # No small motion frees all of it: at least nothing gets deeper.
            step, possible = contact_step(-trust / size * found.slope, found.rows, np.minimum(-found.gaps, 0.0))
        length = float(np.linalg.norm(step))
        if not possible or length < 1e-6:
            break
        step *= min(1.0, _LONGEST_STEP_MM / length)
        trial = pose.moved(step, contacts.radius)
        tried = measure(trial)
        gain = _merit(found) - _merit(tried)
        if gain > 0:
            pose, found = trial, tried
            # A short way down a short leash is no end yet.
            if gain < _LEAST_GAIN_MM and length < 0.5 * trust:
                break
            trust = min(2 * trust, _LARGEST_TRUST_MM)
        else:
            trust = 0.4 * min(trust, length)
    return pose


def _merit(found: Gaps) -> float:
    return found.mean_mm + _PENETRATION_COST * found.depth_mm


def _freed(measure: Measure, contacts: GuideContacts, pose: Pose) -> Pose:
    """The nearest pose without penetration: what rounding and curvature left is taken back."""
    for _ in range(12):
        found = measure(pose)
        if found.depth_mm < _FREE_MM:
            break
        step, possible = contact_step(np.zeros(6), found.rows, 1e-4 - found.gaps)
        if not possible or np.linalg.norm(step) > 0.3:
            break
        pose = pose.moved(step, contacts.radius)
    return pose
