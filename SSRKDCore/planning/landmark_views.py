"""What a picture of a leg's landmarks shows: which views, axes and labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.planning.anatomical_frames import Frame, femoral_frame, tibial_frame
from SSRKDCore.planning.landmark_set import GIVEN, LandmarkSet
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]
View = tuple[Array, Array, Array, list[str]]

_KNEE_HALF_MM = 115.0
_AXES = {
    "femoral mechanical axis": ("intercondylar_notch", "hip_centre"),
    "femoral shaft": ("femoral_shaft_distal", "femoral_shaft_proximal"),
    "tibial shaft": ("tibial_shaft_proximal", "tibial_shaft_distal"),
    "weight-bearing line": ("hip_centre", "ankle_centre"),
    "distal condyles": ("medial_condyle_distal", "lateral_condyle_distal"),
    "plateau": ("medial_plateau_centre", "lateral_plateau_centre"),
    "medial slope": ("medial_plateau_anterior", "medial_plateau_posterior"),
    "lateral slope": ("lateral_plateau_anterior", "lateral_plateau_posterior"),
    "ankle": ("ankle_centre", "fibula_at_plafond"),
}
_FRONTAL = [
    "medial_epicondyle",
    "lateral_epicondyle",
    "medial_condyle_distal",
    "lateral_condyle_distal",
    "intercondylar_notch",
    "femoral_shaft_distal",
    "femoral_shaft_proximal",
    "medial_plateau_edge",
    "lateral_plateau_edge",
    "medial_plateau_centre",
    "lateral_plateau_centre",
    "tibial_eminence",
    "tibial_tubercle",
    "tibial_shaft_proximal",
    "tibial_shaft_distal",
    "fibular_head",
    "patella_superior_pole",
    "patella_inferior_pole",
]
_SAGITTAL = [
    "medial_condyle_posterior",
    "lateral_condyle_posterior",
    "medial_plateau_anterior",
    "medial_plateau_posterior",
    "lateral_plateau_anterior",
    "lateral_plateau_posterior",
    "tibial_tubercle",
    "fibular_head",
    "patella_superior_pole",
    "patella_inferior_pole",
    "patella_articular_superior",
    "patella_articular_inferior",
    "intercondylar_notch",
    "femoral_shaft_distal",
    "tibial_shaft_proximal",
]
_WHOLE = [
    "hip_centre",
    "ankle_centre",
    "fibula_at_plafond",
    "medial_malleolus",
    "lateral_malleolus",
    "fibular_head",
    "intercondylar_notch",
]


def draw_landmarks(path: Path, bones: Mapping[str, Surface], landmarks: LandmarkSet) -> None:
    """Write a PNG of the leg with its landmarks (computed red, given blue) and axes, from the front and from the lateral side.

    Raises RenderingUnavailable; InputError where neither femur nor tibia has a frame.
    """
    from SSRKDCore.pictures.landmark_picture import write_landmark_picture

    frame = _viewing_frame(landmarks)
    lines = {
        words: (landmarks[a], landmarks[b]) for words, (a, b) in _AXES.items() if a in landmarks and b in landmarks
    }
    if "ankle_centre" in landmarks and "medial_plateau_centre" in landmarks and "lateral_plateau_centre" in landmarks:
        # From where the tibia's frame has its origin (anatomical_frames.tibial_frame), which is no landmark.
        middle = 0.5 * (landmarks["medial_plateau_centre"] + landmarks["lateral_plateau_centre"])
        lines["tibial mechanical axis"] = (middle, landmarks["ankle_centre"])
    box = frame.origin + np.array([[-_KNEE_HALF_MM] * 3, [_KNEE_HALF_MM] * 3])
    views: dict[str, View] = {
        f"{landmarks.side} knee, from the front": (-frame.anterior, frame.proximal, box, _FRONTAL),
        "from the lateral side": (-frame.lateral, frame.proximal, box, _SAGITTAL),
    }
    if "hip_centre" in landmarks or "ankle_centre" in landmarks:
        # A hip or ankle that was set by hand lies beyond what a knee's field of view shows of the bones.
        points = np.concatenate([*(surface.vertices for surface in bones.values()), np.array(list(landmarks.values()))])
        everything = np.stack([points.min(axis=0), points.max(axis=0)])
        views["whole leg, from the front"] = (-frame.anterior, frame.proximal, everything, _WHOLE)
        views["whole leg, from the lateral side"] = (-frame.lateral, frame.proximal, everything, _WHOLE)
    given = [name for name, landmark in landmarks.landmarks.items() if landmark.source == GIVEN]
    write_landmark_picture(path, bones, landmarks, given, lines, views)


def _viewing_frame(landmarks: LandmarkSet) -> Frame:
    for make in (tibial_frame, femoral_frame):
        try:
            return make(landmarks)
        except InputError:
            continue
    # Without any shaft, patient space itself is the frame.
    sideways = -1.0 if landmarks.side == "right" else 1.0
    axes = np.diag([sideways, -1.0, 1.0])
    origin = np.mean(list(landmarks.values()), axis=0)
    return Frame(origin, axes, "anatomical", "LPS")
