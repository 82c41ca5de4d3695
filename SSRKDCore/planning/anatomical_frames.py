"""Frames of the bones of a leg, from landmarks: where lateral, anterior and proximal are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.planning.landmark_set import LandmarkSet

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """Axes of one bone.

    Attributes
    ----------
    origin: (3,) LPS mm.
    axes: (3, 3), columns the unit vectors lateral (from medial to lateral), anterior, proximal in LPS. They stand at right angles.
        A right leg's are right-handed (determinant +1), a left leg's left-handed (-1): mirrored legs have mirrored frames, and
        a coordinate means the same anatomical direction on both sides.
    proximal_axis: which axis of the bone `proximal` is: "mechanical" or "anatomical" (the shaft next to the knee).
    definition: how it is made, with its source.
    """

    origin: Array
    axes: Array
    proximal_axis: str
    definition: str

    @property
    def lateral(self) -> Array:
        """(3,) unit vector from medial to lateral."""
        return self.axes[:, 0]

    @property
    def x_axis(self) -> Array:
        """The same as `lateral`."""
        return self.axes[:, 0]

    @property
    def anterior(self) -> Array:
        """(3,) unit vector to the front."""
        return self.axes[:, 1]

    @property
    def proximal(self) -> Array:
        """(3,) unit vector towards the hip."""
        return self.axes[:, 2]

    def local(self, points: ArrayLike) -> Array:
        """(..., 3) points in LPS mm as mm to lateral, anterior and proximal of the origin."""
        return np.asarray((np.asarray(points, dtype=np.float64) - self.origin) @ self.axes)


@dataclass(frozen=True)
class AnatomicalFrames:
    """Frames of one leg; a bone whose landmarks lack has None, and `missing` says which they are.

    Attributes
    ----------
    femur, tibia, patella: the frames.
    missing: bone -> why it has no frame.
    """

    femur: Frame | None
    tibia: Frame | None
    patella: Frame | None
    missing: Mapping[str, str]


def anatomical_frames(landmarks: LandmarkSet) -> AnatomicalFrames:
    """Frames of femur, tibia and patella; see femoral_frame, tibial_frame and patellar_frame."""
    frames: dict[str, Frame | None] = {}
    missing = {}
    for bone, make in (("femur", femoral_frame), ("tibia", tibial_frame), ("patella", patellar_frame)):
        try:
            frames[bone] = make(landmarks)
        except InputError as error:
            frames[bone], missing[bone] = None, str(error)
    return AnatomicalFrames(frames["femur"], frames["tibia"], frames["patella"], missing)


def femoral_frame(landmarks: LandmarkSet, axis: str | None = None) -> Frame:
    """The femur's frame: origin in the intercondylar notch; proximal along the mechanical axis to the hip centre where that is
    known, else along the shaft; lateral along the posterior condyles, at right angles to proximal (Grood and Suntay, J Biomech Eng
    105, 1983: the condyles' posterior surfaces fix the transverse axis, the hip centre the long one).

    `axis` asks for "mechanical" or "anatomical". Raises InputError that names what is missing.
    """
    chosen = axis or ("mechanical" if "hip_centre" in landmarks else "anatomical")
    if chosen == "mechanical":
        _need(landmarks, "femur", "intercondylar_notch", "hip_centre")
        proximal = landmarks["hip_centre"] - landmarks["intercondylar_notch"]
    else:
        _need(landmarks, "femur", "femoral_shaft_distal", "femoral_shaft_proximal")
        proximal = landmarks["femoral_shaft_proximal"] - landmarks["femoral_shaft_distal"]
    _need(landmarks, "femur", "intercondylar_notch", "medial_condyle_posterior", "lateral_condyle_posterior")
    across = landmarks["lateral_condyle_posterior"] - landmarks["medial_condyle_posterior"]
    definition = (
        f"proximal: {chosen} axis; lateral: posterior condyles (Grood and Suntay 1983); origin: intercondylar notch"
    )
    axes = _axes(proximal, across, landmarks.side, "femur")
    return Frame(landmarks["intercondylar_notch"], axes, chosen, definition)


def tibial_frame(landmarks: LandmarkSet, axis: str | None = None) -> Frame:
    """The tibia's frame: origin midway between the centres of the two plateaus; proximal along the mechanical axis from the ankle
    centre where that is known, else along the shaft next to the knee; lateral from the medial to the lateral plateau's centre, at
    right angles to proximal (Cobb et al., J Bone Joint Surg Br 90, 2008: the anatomical tibial axis; Wu et al., J Biomech 35, 2002,
    ISB: origin and long axis, there with the malleoli for the transverse axis, which a knee's field of view lacks).

    `axis` asks for "mechanical" or "anatomical". Raises InputError that names what is missing.
    """
    _need(landmarks, "tibia", "medial_plateau_centre", "lateral_plateau_centre")
    medial, lateral = landmarks["medial_plateau_centre"], landmarks["lateral_plateau_centre"]
    origin = 0.5 * (medial + lateral)
    chosen = axis or ("mechanical" if "ankle_centre" in landmarks else "anatomical")
    if chosen == "mechanical":
        _need(landmarks, "tibia", "ankle_centre")
        proximal = origin - landmarks["ankle_centre"]
    else:
        _need(landmarks, "tibia", "tibial_shaft_proximal", "tibial_shaft_distal")
        proximal = landmarks["tibial_shaft_proximal"] - landmarks["tibial_shaft_distal"]
    definition = f"proximal: {chosen} axis; lateral: centres of the plateaus (Cobb 2008); origin: midway between them"
    return Frame(origin, _axes(proximal, lateral - medial, landmarks.side, "tibia"), chosen, definition)


def patellar_frame(landmarks: LandmarkSet) -> Frame:
    """The patella's frame: origin midway between its poles; proximal from the inferior to the superior pole; lateral as the femur's,
    at right angles to that (the patella alone has no landmark that fixes its rotation about its length).

    Raises InputError that names what is missing.
    """
    _need(landmarks, "patella", "patella_inferior_pole", "patella_superior_pole")
    low, high = landmarks["patella_inferior_pole"], landmarks["patella_superior_pole"]
    lateral = femoral_frame(landmarks).lateral
    definition = "proximal: inferior to superior pole; lateral: as the femur's; origin: midway between the poles"
    return Frame(0.5 * (low + high), _axes(high - low, lateral, landmarks.side, "patella"), "anatomical", definition)


def _need(landmarks: LandmarkSet, bone: str, *names: str) -> None:
    for name in names:
        if name not in landmarks:
            reason = landmarks.missing.get(name, "it was not given")
            raise InputError(f"The {bone} has no frame without {name} ({reason}): give that landmark by hand.")


def _axes(proximal: Array, across: Array, side: str, bone: str) -> Array:
    """(3, 3) columns lateral, anterior, proximal: `proximal` is kept, `across` made perpendicular to it."""
    length = np.linalg.norm(proximal)
    if length < 1.0:
        raise InputError(f"The landmarks of the {bone}'s long axis lie at one place: correct them.")
    up = proximal / length
    lateral = across - (across @ up) * up
    width = np.linalg.norm(lateral)
    if width <= 0.1 * np.linalg.norm(across):
        raise InputError(f"The landmarks of the {bone}'s transverse axis lie along its length: correct them.")
    lateral = lateral / width
    anterior = np.cross(up, lateral) * (1.0 if side == "right" else -1.0)
    return np.stack([lateral, anterior, up], axis=1)
