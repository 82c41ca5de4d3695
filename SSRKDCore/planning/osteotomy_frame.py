"""The axes of the tibia in which an osteotomy is planned, from landmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.planning.anatomical_frames import tibial_frame
from SSRKDCore.planning.landmark_set import LandmarkSet

Array = NDArray[np.float64]

REQUIRED = (
    "medial_plateau_edge",
    "lateral_plateau_edge",
    "medial_plateau_centre",
    "lateral_plateau_centre",
    "tibial_tubercle",
)
_SLOPES = ("medial", "lateral")


@dataclass(frozen=True)
class TibialAxes:
    """Unit axes (3,) that point laterally, to the front and upwards, and the middle of the plateau (3,), LPS mm.

    Right-handed in this order on a right tibia, left-handed on a left one, so that planning knows no sides.
    """

    origin: Array
    lateral: Array
    anterior: Array
    proximal: Array

    @property
    def matrix(self) -> Array:
        """(3, 3), the axes as rows."""
        return np.stack([self.lateral, self.anterior, self.proximal])

    def coordinates(self, points: Array) -> Array:
        """Points (..., 3) as mm lateral, anterior and proximal of the origin."""
        return (np.asarray(points) - self.origin) @ self.matrix.T

    def point(self, lateral: float, anterior: float, proximal: float) -> Array:
        """(3,) the point at those coordinates."""
        return np.asarray(self.origin + np.array([lateral, anterior, proximal]) @ self.matrix)

    def frontal(self, point: Array) -> Array:
        """(2,) a point (3,) in the frontal plane: mm lateral and proximal of the origin."""
        return np.asarray(self.coordinates(point)[[0, 2]])


def tibial_axes(landmarks: LandmarkSet) -> TibialAxes:
    """The axes of the tibia's frame (planning/anatomical_frames.py). Raises InputError when a landmark is missing that an
    osteotomy cannot be planned without.
    """
    missing = [name for name in REQUIRED if name not in landmarks]
    if missing:
        reason = landmarks.missing.get(missing[0], "it was not given")
        raise InputError(f"An osteotomy cannot be planned without {missing[0]} ({reason}): give that landmark by hand.")
    frame = tibial_frame(landmarks)
    if (landmarks["tibial_tubercle"] - frame.origin) @ frame.anterior < 0:
        raise InputError("The tubercle lies behind the plateau: check the side and the landmarks.")
    return TibialAxes(frame.origin, frame.lateral, frame.anterior, frame.proximal)


def plateau_slope(landmarks: Mapping[str, Array], compartment: str, anterior: Array, proximal: Array) -> float | None:
    """Posterior slope in degrees of one compartment's plateau ("medial" or "lateral"), positive where it falls to the back; None where
    its front or back is unknown. Seen along the lateral axis, against the perpendicular of `proximal`.
    """
    names = [f"{compartment}_plateau_{end}" for end in ("anterior", "posterior")]
    if any(name not in landmarks for name in names):
        return None
    line = landmarks[names[0]] - landmarks[names[1]]
    return float(np.degrees(np.arctan2(line @ proximal, line @ anterior)))


def mean_slope(landmarks: Mapping[str, Array], axes: TibialAxes) -> float:
    """Mean posterior slope in degrees of the compartments whose slope is known. Raises InputError when none is."""
    slopes = [plateau_slope(landmarks, name, axes.anterior, axes.proximal) for name in _SLOPES]
    known = [value for value in slopes if value is not None]
    if not known:
        raise InputError(
            "The slope of the plateau is unknown (its front and back are missing): give the hinge's tilt in degrees."
        )
    return float(np.mean(known))
