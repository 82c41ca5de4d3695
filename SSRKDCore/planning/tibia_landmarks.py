"""Landmarks of the tibia: plateau, eminence, tubercle, shaft next to the knee, ankle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.planning.bone_checks import RoughDirections
from SSRKDCore.planning.bone_samples import BoneSamples, across, farthest, front_of, unit
from SSRKDCore.planning.given_landmark_checks import check_on_whole_bone
from SSRKDCore.planning.landmark_collector import LandmarkCollector
from SSRKDCore.planning.shaft_axis import first_direction, settled_axis, whole_length
from SSRKDCore.planning.tibial_plafond import find_plafond
from SSRKDCore.planning.tibial_plateau import Plateau, find_plateau, sagittal_rims

Array = NDArray[np.float64]

_PLATEAU_MM = 20.0
_ROUNDS = 3
# In widths of the plateau: how far below its plane the edges are looked for; where the eminence is; where the tubercle is.
_EDGE_DEPTH = 0.13
_EMINENCE_HALF_WIDTH, _EMINENCE_HALF_DEPTH = 0.18, 0.2
_TUBERCLE_HALF_WIDTH, _TUBERCLE_SEARCH, _TUBERCLE_CHORD = 0.25, (0.25, 0.6), (0.12, 0.95)
# A shorter chord leans back with the flare, and the point that stands out before it climbs above the tubercle.
_SHORTEST_CHORD = 0.8


def find_tibia_landmarks(tibia: BoneSamples, rough: RoughDirections, collector: LandmarkCollector) -> Plateau:
    """Find a right tibia's landmarks and put them into `collector`; returns its plateau with the axes.

    Plateau centres are the middles of the joint surfaces' areas; edges the outermost points of the condyles near the joint; the
    eminence lies midway between the tips of the two intercondylar tubercles; the tubercle is the point that stands out furthest in
    front of the chord from the plateau's front to the crest below.
    """
    up, lateral = rough.up, rough.lateral
    depth = (tibia.points @ up).max() - tibia.points @ up
    width = float(np.ptp(tibia.points[depth < _PLATEAU_MM] @ lateral))
    if not 30.0 < width < 150.0:
        raise InputError(f"The tibial plateau measures {width:.0f} mm across: give a knee in millimetres.")
    up = -first_direction(tibia, -up, width)
    lateral = across(lateral, up)
    centres = (collector.get("medial_plateau_centre"), collector.get("lateral_plateau_centre"))
    shaft_ends = (collector.get("tibial_shaft_proximal"), collector.get("tibial_shaft_distal"))
    # The stretch of shaft is measured in widths, and the width is right only once the axes are.
    for _ in range(_ROUNDS):
        computed, axis = settled_axis(tibia, -up, width, *shaft_ends)
        if axis is not None:
            up = -axis.away
            lateral = across(lateral, up)
        plateau = find_plateau(tibia, up, lateral, centres)
        lateral, width = plateau.lateral, plateau.width
    if computed is None:
        collector.lack(
            "too little of the tibia's shaft is there for an axis", "tibial_shaft_proximal", "tibial_shaft_distal"
        )
    else:
        collector.place_shaft("tibia", computed, width, "tibial_shaft_proximal", "tibial_shaft_distal")
    collector.place("medial_plateau_centre", plateau.medial)
    collector.place("lateral_plateau_centre", plateau.outer)
    _edges(tibia, plateau, collector)
    for name, centre in (("medial", plateau.medial), ("lateral", plateau.outer)):
        anterior, posterior = sagittal_rims(tibia, plateau, centre)
        collector.place(f"{name}_plateau_anterior", anterior)
        collector.place(f"{name}_plateau_posterior", posterior)
    _eminence(tibia, plateau, collector)
    _tubercle(tibia, plateau, collector)
    _ankle(tibia, plateau, collector)
    return plateau


def _edges(tibia: BoneSamples, plateau: Plateau, collector: LandmarkCollector) -> None:
    above = plateau.above(tibia.points)
    rim = tibia.points[(above > -_EDGE_DEPTH * plateau.width) & (above < 0.05 * plateau.width)]
    collector.place("medial_plateau_edge", farthest(rim, -plateau.lateral))
    collector.place("lateral_plateau_edge", farthest(rim, plateau.lateral))


def _eminence(tibia: BoneSamples, plateau: Plateau, collector: LandmarkCollector) -> None:
    offset = tibia.points - plateau.middle
    position, depth = offset @ plateau.lateral, offset @ plateau.front
    inside = (
        (np.abs(position) < _EMINENCE_HALF_WIDTH * plateau.width)
        & (np.abs(depth) < _EMINENCE_HALF_DEPTH * plateau.width)
        & (plateau.above(tibia.points) > -0.1 * plateau.width)
    )
    halves = [tibia.points[inside & (sign * position > 0)] for sign in (-1.0, 1.0)]
    if any(len(half) == 0 for half in halves):
        collector.lack("there is no bone between the two joint surfaces", "tibial_eminence")
        return
    tips = [farthest(half, plateau.normal) for half in halves]
    collector.place("tibial_eminence", 0.5 * (tips[0] + tips[1]))


def _tubercle(tibia: BoneSamples, plateau: Plateau, collector: LandmarkCollector) -> None:
    offset = tibia.points - plateau.middle
    below = -(offset @ plateau.up) / plateau.width
    front = offset @ plateau.front
    centred = np.abs(offset @ plateau.lateral) < _TUBERCLE_HALF_WIDTH * plateau.width
    start, end = _TUBERCLE_CHORD
    top = float(((tibia.points - plateau.middle) @ plateau.up).max())
    end = min(end, (whole_length(tibia, -plateau.up) - top) / plateau.width - 0.05)
    if end < _SHORTEST_CHORD:
        collector.lack("the tibia ends too near below the tubercle", "tibial_tubercle")
        return
    ends = []
    for share in (start, end):
        level = centred & (np.abs(below - share) < 0.04)
        if not level.any():
            collector.lack("the tibia has no front where the tubercle should be", "tibial_tubercle")
            return
        ends.append(tibia.points[level][np.argmax(front[level])])
    chord = ends[0] - ends[1]
    outwards = front_of(unit(_in_sagittal_plane(chord, plateau)), plateau.lateral)
    searched = centred & (below > _TUBERCLE_SEARCH[0]) & (below < _TUBERCLE_SEARCH[1]) & (front > 0)
    if not searched.any():
        collector.lack("the tibia has no front where the tubercle should be", "tibial_tubercle")
        return
    collector.place("tibial_tubercle", farthest(tibia.points[searched], outwards))


def _in_sagittal_plane(vector: Array, plateau: Plateau) -> Array:
    """What a vector (3,) has in the sagittal plane."""
    return np.asarray(vector - (vector @ plateau.lateral) * plateau.lateral)


def _ankle(tibia: BoneSamples, plateau: Plateau, collector: LandmarkCollector) -> None:
    found = find_plafond(tibia, plateau.up, plateau.width)
    if isinstance(found, str):
        collector.lack(found, "ankle_centre", "medial_malleolus")
        return
    check_on_whole_bone(collector.given(), "tibia", tibia)
    collector.place("ankle_centre", found.centre)
    collector.place("medial_malleolus", found.malleolus)
