"""Landmarks of a leg from the surfaces of its bones: automatic, in any pose, and correctable by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.mirror import MIRROR
from SSRKDCore.planning.bone_checks import RoughDirections, check_fibula, check_surfaces, rough_directions
from SSRKDCore.planning.bone_samples import BoneSamples, across, front_of, unit
from SSRKDCore.planning.femur_landmarks import find_femur_landmarks
from SSRKDCore.planning.fibula_landmarks import find_fibula_landmarks
from SSRKDCore.planning.given_landmark_checks import (
    ANKLE,
    LEAST_ALONG,
    check_ankle,
    check_given_places,
    check_other_end,
)
from SSRKDCore.planning.landmark_collector import LandmarkCollector
from SSRKDCore.planning.landmark_set import LANDMARK_BONES, LandmarkSet
from SSRKDCore.planning.one_leg_checks import (
    check_above_each_other,
    check_fibula_below,
    check_one_frame,
    check_side_by_shape,
    check_tibia_faces_front,
)
from SSRKDCore.planning.patella_landmarks import find_patella_landmarks
from SSRKDCore.planning.tibia_landmarks import find_tibia_landmarks
from SSRKDCore.planning.tibial_plateau import Plateau
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

#: Landmarks of one bone of which the second lies beyond the first along that axis of the bone ("lateral" or "up").
_IN_ORDER = (
    ("medial_epicondyle", "lateral_epicondyle", "lateral"),
    ("medial_condyle_distal", "lateral_condyle_distal", "lateral"),
    ("medial_condyle_posterior", "lateral_condyle_posterior", "lateral"),
    ("femoral_shaft_distal", "femoral_shaft_proximal", "up"),
    ("medial_plateau_edge", "lateral_plateau_edge", "lateral"),
    ("medial_plateau_centre", "lateral_plateau_centre", "lateral"),
    ("medial_plateau_anterior", "lateral_plateau_anterior", "lateral"),
    ("medial_plateau_posterior", "lateral_plateau_posterior", "lateral"),
    ("tibial_shaft_distal", "tibial_shaft_proximal", "up"),
    ("medial_malleolus", "lateral_malleolus", "lateral"),
)


def find_landmarks(
    bones: Mapping[str, Surface],
    side: str,
    given: Mapping[str, ArrayLike] | None = None,
    reach: Mapping[str, float] | None = None,
) -> LandmarkSet:
    """Landmarks of one leg.

    Parameters
    ----------
    bones: closed surfaces by name (LPS mm), of whole bones or of what a knee's field of view shows; any may be absent, but one of
        femur and tibia must be there. The knee may be bent and the leg turned: the bones' own axes are found first. Where the
        patella, the femur or the tibia is absent, LPS stands in for the first guess, and the leg must lie along it to some 30 degrees.
    side: "right" or "left".
    given: name -> (3,) LPS mm, landmarks set by a person; they replace the computed ones, and what depends on them follows.
    reach: bone -> mm from its joint surface beyond which its shaft is not looked at: measures a whole bone like one that a field of view
        cuts off there.

    A left leg is measured as its mirror image, a right leg: both then have the same landmarks, to the last digit. Where pieces of the
    surfaces are cut otherwise, a landmark moves by tenths of a millimetre.

    Hip and ankle centre are found only where a femoral head or the plafond is in the surface; else they are absent, with the reason
    in `missing`.

    Raises InputError for surfaces that are empty, open, inside out or mirrored, unknown names, ends without joint surfaces, bones that are
    not of one leg in one frame in millimetres (see one_leg_checks), and given landmarks of two sides, or ends of a shaft, that are
    exchanged, or that lie where they cannot be meant to lie.
    """
    check_surfaces(bones, side)
    mirrored = side == "left"
    if mirrored:
        bones = {name: surface.transformed(MIRROR) for name, surface in bones.items()}
    collector = LandmarkCollector(given or {}, mirrored)
    samples = {name: BoneSamples.of(surface, (reach or {}).get(name, math.inf)) for name, surface in bones.items()}
    check_one_frame(samples)
    rough = rough_directions(bones, side)
    # Before anything is built on them, and once more with those that were found in the place of what was not given.
    _check_given_order(collector, rough)
    check_given_places(collector.given(), samples)
    for name in ("femur", "tibia", "fibula", "patella"):
        if name not in bones:
            collector.lack_bone(name, f"there is no {name}")
    plateau: Plateau | None = None
    if "tibia" in bones:
        plateau = find_tibia_landmarks(samples["tibia"], rough["tibia"], collector)
        check_tibia_faces_front(collector, plateau)
        if "fibula" in bones:
            check_fibula_below(samples["fibula"], plateau)
            check_fibula(bones["tibia"].vertices, bones["fibula"].vertices, plateau.up, plateau.lateral, side)
        else:
            check_side_by_shape(collector, plateau, side)
    else:
        collector.lack("there is no tibia", "ankle_centre")
    femoral_up: Array | None = None
    if "femur" in bones:
        femoral_up = find_femur_landmarks(samples["femur"], rough["femur"], collector)
    else:
        collector.lack("there is no femur", "hip_centre")
    ups = [up for up in (femoral_up, None if plateau is None else plateau.up) if up is not None]
    if "fibula" in bones:
        find_fibula_landmarks(samples["fibula"], plateau, ups[-1], collector)
    if "patella" in bones:
        up = unit(np.sum(ups, axis=0))
        lateral = across(next(iter(rough.values())).lateral if plateau is None else plateau.lateral, up)
        find_patella_landmarks(samples["patella"], up, front_of(up, lateral), collector)
    _check_given_order(collector, rough)
    _check_given_ends(collector, femoral_up, plateau)
    if plateau is not None:
        check_above_each_other(collector, plateau)
    return collector.collected(side)


def _check_given_order(collector: LandmarkCollector, rough: Mapping[str, RoughDirections]) -> None:
    """Raise InputError for a given landmark that lies on its partner's side: exchanged, varus would be measured as valgus."""
    for first, second, axis in _IN_ORDER:
        directions = rough.get(str(LANDMARK_BONES[first]))
        start, end = collector.get(first), collector.get(second)
        if directions is None or start is None or end is None:
            continue
        if not (collector.is_given(first) or collector.is_given(second)):
            continue
        along = (end - start) @ getattr(directions, axis)
        if along <= 0:
            raise InputError(
                f"{first} and {second} are exchanged or lie at one place: correct what was set by hand of them."
            )
        if axis == "up" and along < LEAST_ALONG * float(np.linalg.norm(end - start)):
            raise InputError(f"{first} and {second} lie across the leg: correct what was set by hand of them.")


def _check_given_ends(collector: LandmarkCollector, femoral_up: Array | None, plateau: Plateau | None) -> None:
    """Raise InputError for a hip or an ankle that lies where none can: another frame or unit, or the two swapped."""
    middle = None if plateau is None else plateau.middle
    notch = collector.get("intercondylar_notch")
    down = None if plateau is None else -plateau.up
    for name, knee, away in (
        ("hip_centre", middle if notch is None else notch, femoral_up),
        *((name, notch if middle is None else middle, down) for name in ANKLE),
    ):
        place = collector.get(name)
        if place is not None and knee is not None:
            check_other_end(name, place, knee, away)
    check_ankle(collector.found())
