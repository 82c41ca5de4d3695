"""Can a landmark that a person set be meant so? A typing error, another unit or another frame must not be measured without a word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from SSRKDCore.errors import InputError
from SSRKDCore.planning.bone_samples import BoneSamples
from SSRKDCore.planning.landmark_set import GIVEN, LANDMARK_BONES, Landmark

Array = NDArray[np.float64]

#: Whose end a centre is that lies on no bone of a knee.
_CENTRES = {"hip_centre": "femur", "ankle_centre": "tibia"}
#: Of which places of an ankle no two lie far from each other.
ANKLE = ("ankle_centre", "medial_malleolus", "lateral_malleolus", "fibula_at_plafond")
#: On the shaft, or at the bone's other end: where a field of view shows the knee alone, they lie beyond its cut end.
BEYOND_THE_KNEE = (
    *_CENTRES,
    "femoral_shaft_proximal",
    "femoral_shaft_distal",
    "tibial_shaft_proximal",
    "tibial_shaft_distal",
    "medial_malleolus",
    "fibula_at_plafond",
    "lateral_malleolus",
)
# More than half a knee's width: from there no place on the bone can be meant, not even one that the reconstruction lacks.
_ON_BONE_MM = 50.0
# The longest thigh bones measure about 600 mm, and one end of every bone is at the knee.
_WHOLE_BONE_MM = 600.0
# On a bone that is there as a whole, a place is not set further off than a bad surface is.
_ON_WHOLE_BONE_MM = 20.0
# From tip to tip of the malleoli, the broadest ankles measure some 80 mm.
_ACROSS_AN_ANKLE_MM = 100.0
# The patella's upper pole stands off the tibia by this, at the most; where its own bone is absent a landmark is held against another one.
_ACROSS_A_KNEE_MM = 150.0
# The thigh bone of a one-year-old is longer.
_LEAST_FROM_KNEE_MM = 100.0
#: Cosine of the largest angle between a bone's shaft next to the knee and where its other end lies, 60 degrees: bowed bones stay below.
LEAST_ALONG = 0.5


def check_given_places(given: Iterable[Landmark], samples: Mapping[str, BoneSamples]) -> None:
    """Raise InputError for a landmark that lies further from its bone than it can.

    Parameters
    ----------
    given: landmarks set by a person, LPS mm. samples: of the bones that are there, one at least.
    """
    trees: dict[str, cKDTree] = {}
    for landmark in given:
        owner = LANDMARK_BONES[landmark.name] or _CENTRES[landmark.name]
        beside = [owner] if owner in samples else list(samples)
        for bone in beside:
            trees.setdefault(bone, cKDTree(samples[bone].points))
        distances = {bone: float(trees[bone].query(landmark.position)[0]) for bone in beside}
        nearest = min(distances, key=lambda bone: distances[bone])
        at_the_knee = _ON_BONE_MM if owner in samples else _ACROSS_A_KNEE_MM
        limit = _WHOLE_BONE_MM if landmark.name in BEYOND_THE_KNEE else at_the_knee
        if distances[nearest] > limit:
            raise InputError(
                f"The landmark {landmark.name} lies {distances[nearest]:.0f} mm from the {nearest}, and no more than {limit:.0f} mm can be "
                f"meant: give it in LPS millimetres, in the frame of the bones."
            )


def check_on_whole_bone(given: Iterable[Landmark], bone: str, samples: BoneSamples) -> None:
    """Raise InputError for a landmark of a bone that is there from end to end which lies off it, as one beyond a cut end may.

    Parameters
    ----------
    given: landmarks set by a person, LPS mm. bone: name of the bone. samples: of it.
    """
    own = [landmark for landmark in given if LANDMARK_BONES[landmark.name] == bone]
    if not own:
        return
    distances = cKDTree(samples.points).query([landmark.position for landmark in own])[0]
    for landmark, distance in zip(own, distances, strict=True):
        if landmark.name in BEYOND_THE_KNEE and distance > _ON_WHOLE_BONE_MM:
            raise InputError(
                f"The landmark {landmark.name} lies {distance:.0f} mm from the {bone}, which is there from end to end, and no more than "
                f"{_ON_WHOLE_BONE_MM:.0f} mm can be meant: give it in LPS millimetres, in the frame of the bones."
            )


def check_ankle(landmarks: Mapping[str, Landmark]) -> None:
    """Raise InputError for places of the ankle, one of which a person set, that cannot be of one ankle."""
    there = [landmarks[name] for name in ANKLE if name in landmarks]
    for first, second in combinations(there, 2):
        distance = float(np.linalg.norm(first.position - second.position))
        if GIVEN in (first.source, second.source) and distance > _ACROSS_AN_ANKLE_MM:
            raise InputError(
                f"{first.name} and {second.name} lie {distance:.0f} mm from each other, and no ankle is so large: correct what was set by "
                "hand of them."
            )


def check_other_end(name: str, place: Array, knee: Array, away: Array | None) -> None:
    """Raise InputError for the centre of a hip or an ankle, or for a malleolus, that lies in the knee, beyond it, or beside the leg.

    Parameters
    ----------
    name: of the landmark. place: (3,) of it, LPS mm. knee: (3,) of the bone's end at the knee.
    away: (3,) unit vector of the bone's shaft away from the knee; None where it is not known.
    """
    joint = name.replace("_", " ")
    line = place - knee
    length = float(np.linalg.norm(line))
    if away is not None and line @ away < 0:
        where = "below" if name == "hip_centre" else "above"
        raise InputError(f"The {joint} lies {where} the knee: give it in LPS millimetres, in the frame of the bones.")
    if length < _LEAST_FROM_KNEE_MM:
        raise InputError(
            f"The {joint} lies {length:.0f} mm from the knee, nearer than any: give it in LPS millimetres, in the frame of the bones."
        )
    if away is not None and line @ away < LEAST_ALONG * length:
        degrees = float(np.degrees(np.arccos(line @ away / length)))
        raise InputError(
            f"The {joint} lies beside the leg, {degrees:.0f} degrees off the shaft: give it in LPS millimetres, in the frame of the bones."
        )
