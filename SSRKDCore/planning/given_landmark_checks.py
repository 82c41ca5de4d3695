"""Can a landmark that a person set be meant so? A typing error, another unit or another frame must not be measured without a word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from SSRKDCore.errors import InputError
from SSRKDCore.planning.bone_samples import BoneSamples
from SSRKDCore.planning.landmark_set import LANDMARK_BONES, Landmark

Array = NDArray[np.float64]

#: Whose end a centre is that lies on no bone of a knee.
_CENTRES = {"hip_centre": "femur", "ankle_centre": "tibia"}
#: On the shaft, or at the bone's other end: where a field of view shows the knee alone, they lie beyond its cut end.
_BEYOND_THE_KNEE = (
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
        limit = _WHOLE_BONE_MM if landmark.name in _BEYOND_THE_KNEE else at_the_knee
        if distances[nearest] > limit:
            raise InputError(
                f"The landmark {landmark.name} lies {distances[nearest]:.0f} mm from the {nearest}, and no more than {limit:.0f} mm can be "
                f"meant: give it in LPS millimetres, in the frame of the bones."
            )


def check_other_end(name: str, place: Array, knee: Array, away: Array | None) -> None:
    """Raise InputError for the centre of a hip or an ankle that lies in the knee, beyond it, or beside the leg.

    Parameters
    ----------
    name: of the centre. place: (3,) of it, LPS mm. knee: (3,) of the bone's end at the knee.
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
