"""Where a guide comes to rest on a bone: the seats reached from many starts, gathered, and the one that fits best.

The surgeon moves the guide to and fro until it fits: so of all seats the one with the smallest mean gap is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.planning.guide_contacts import GuideContacts, Pose
from SSRKDCore.planning.guide_gaps import BoneNearGuide
from SSRKDCore.planning.seating import PENETRATION_TOLERANCE_MM, Seat, finished, seat_from

Array = NDArray[np.float64]
Progress = Callable[[float, str], None]

# Two rests are one seat when they differ by no more than a surgeon could tell.
SAME_SEAT_MM, SAME_SEAT_DEGREES = 0.3, 0.5
# Mean gaps are told apart to this.
_SAME_FIT_MM = 0.01
# So many of the best seats by the grid are finished before one is taken: the grid may have their order wrong.
_FINISHED = 8
_FAR_MM = 25.0
_DEEP_MM = 10.0


@dataclass(frozen=True)
class SeatingParameters:
    """How a guide is tried on. Lengths in mm, angles in degrees.

    Attributes
    ----------
    starts: number of poses to press from; the first is the designed pose.
    start_shift_mm, start_turn_degrees: largest departure of a start from the designed pose, along and about each axis.
    slid_off_mm: a rest further from the designed place is no seat.
    """

    starts: int = 30
    start_shift_mm: float = 3.0
    start_turn_degrees: float = 5.0
    slid_off_mm: float = 10.0

    def __post_init__(self) -> None:
        if not 1 <= self.starts <= 1000:
            raise InputError(f"{self.starts} starts were asked for: use 1 to 1000.")
        for name, highest in (("start_shift_mm", 10.0), ("start_turn_degrees", 20.0), ("slid_off_mm", 10.0)):
            if not 0 <= getattr(self, name) <= highest:
                raise InputError(f"{name} is {getattr(self, name):g}: it must lie between 0 and {highest:g}.")


@dataclass(frozen=True)
class Seating:
    """The seat that is taken, and how sure it is.

    Attributes
    ----------
    seat: the one that fits best, finished with exact distances.
    seats: every rest that is a seat, by the grid.
    group: (len(seats),) number of each one's group of like seats, 0 that of the seat taken.
    lost: starts that slid off or met no bone.
    """

    seat: Seat
    seats: tuple[Seat, ...]
    group: NDArray[np.int64]
    lost: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        shifts = np.array([seat.pose.shift for seat in self.seats])
        turns = np.array([seat.pose.rotation_vector for seat in self.seats])
        gaps = np.array([seat.mean_gap_mm for seat in self.seats])
        return {
            "starts": len(self.seats) + self.lost,
            "starts_lost": self.lost,
            "distinct_seats": int(self.group.max()) + 1,
            "share_of_starts_in_this_seat": float((self.group == 0).sum() / (len(self.seats) + self.lost)),
            "spread_translation_mm": float(np.sqrt(((shifts - shifts.mean(axis=0)) ** 2).sum(axis=1).mean())),
            "spread_rotation_degrees": float(
                np.rad2deg(np.sqrt(((turns - turns.mean(axis=0)) ** 2).sum(axis=1).mean()))
            ),
            "median_mean_gap_of_starts_mm": float(np.median(gaps)),
            "deepest_penetration_mm": self.seat.penetration_mm,
            "unbalanced_share_of_pressure": self.seat.unbalanced,
        }


def check_guide_meets_bone(bone: BoneNearGuide, contacts: GuideContacts) -> None:
    """Raise InputError, with the reason, for a guide that lies far from the bone, deep in it, or on its wrong side."""
    distance, normals = bone.exact.signed(contacts.points)
    middle = float(np.median(distance))
    if middle > _FAR_MM:
        raise InputError(
            f"The guide lies {middle:.0f} mm from the bone: check that both belong to one case, in one frame (LPS) and mm."
        )
    # Outward normals of the bone must meet the guide.
    if float(contacts.areas @ (normals @ contacts.direction)) / float(contacts.areas.sum()) > -0.2:
        raise InputError(
            "The guide is pushed away from this side of the bone: check the side (left or right) and the frame (LPS)."
        )
    if middle < -_DEEP_MM:
        raise InputError(
            f"The guide's contact patch lies {-middle:.0f} mm inside the bone: check that both belong to one case."
        )


def search_seat(
    bone: BoneNearGuide,
    contacts: GuideContacts,
    parameters: SeatingParameters,
    generator: np.random.Generator,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Seating:
    """Seat a guide from many starts.

    Parameters
    ----------
    bone, contacts: the reference bone and the guide.
    parameters: the starts.
    generator: source of the random starts.
    progress: told (fraction, words). cancelled: asked before each start.

    Raises InputError for a guide that cannot meet the bone, finds no seat, or crosses the bone in every one; Cancelled.
    """
    check_guide_meets_bone(bone, contacts)
    seats: list[Seat] = []
    lost = 0
    for number in range(parameters.starts):
        if cancelled is not None and cancelled():
            raise Cancelled
        seat = seat_from(bone, contacts, _start(contacts, parameters, generator, number))
        if seat.touches and float(np.linalg.norm(seat.pose.shift)) <= parameters.slid_off_mm:
            seats.append(seat)
        else:
            lost += 1
        if progress is not None:
            progress((number + 1) / parameters.starts, f"start {number + 1} of {parameters.starts}")
    if not seats:
        raise InputError(
            f"The guide finds no seat within {parameters.slid_off_mm:g} mm of its planned place, from any of "
            f"{parameters.starts} starts: check that guide and bone are of one side and in one frame."
        )
    heads, group = _grouped(seats)
    closest = [finished(bone, contacts, seats[head]) for head in heads[:_FINISHED]]
    best, merged = _grouped(closest)
    taken = closest[best[0]]
    if taken.penetration_mm > PENETRATION_TOLERANCE_MM:
        raise InputError(
            f"Wherever the guide was pressed on, bone and guide cross by {taken.penetration_mm:.2f} mm: check the bone's surface under "
            "the guide for folds and loose pieces."
        )
    # Groups that the exact distances brought to one seat are one.
    finer = np.where(group < len(closest), merged[np.minimum(group, len(closest) - 1)], group)
    return Seating(taken, tuple(seats), np.unique(finer, return_inverse=True)[1].reshape(-1), lost)


def _start(contacts: GuideContacts, parameters: SeatingParameters, generator: np.random.Generator, number: int) -> Pose:
    shift = generator.uniform(-1, 1, 3) * parameters.start_shift_mm
    turn = np.deg2rad(generator.uniform(-1, 1, 3) * parameters.start_turn_degrees)
    if number == 0:
        return Pose()
    return Pose().moved(np.concatenate([shift, contacts.radius * turn]), contacts.radius)


def _order(seat: Seat) -> tuple[bool, int, float]:
    """Sorts seats without penetration first, then by their fit, and those that fit alike by their way from the designed place."""
    crossing = seat.penetration_mm > PENETRATION_TOLERANCE_MM
    return crossing, round(seat.mean_gap_mm / _SAME_FIT_MM), float(np.linalg.norm(seat.pose.shift))


def _grouped(seats: list[Seat]) -> tuple[list[int], NDArray[np.int64]]:
    """The best seat of each group of like seats, best first, and the group (len(seats),) that each belongs to."""
    heads: list[int] = []
    group = np.zeros(len(seats), dtype=np.int64)
    for index in sorted(range(len(seats)), key=lambda index: _order(seats[index])):
        like = [number for number, head in enumerate(heads) if _alike(seats[head].pose, seats[index].pose)]
        if not like:
            heads.append(index)
        group[index] = like[0] if like else len(heads) - 1
    return heads, group


def _alike(first: Pose, second: Pose) -> bool:
    turn = Pose(first.rotation.T @ second.rotation)
    shift = float(np.linalg.norm(first.shift - second.shift))
    return shift <= SAME_SEAT_MM and turn.rotation_degrees <= SAME_SEAT_DEGREES
