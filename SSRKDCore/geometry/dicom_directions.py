"""Where the beam goes and how the image lies, in patient directions (LPS), from what DICOM says.

Positioner angles (PS3.3 C.8.7.5.1.2) turn the detector about the patient: primary 0 has the detector before the chest
(so the beam runs from posterior to anterior), +90 at the patient's left (LAO side), -90 at the right (RAO side);
secondary +90 has it at the head (cranial), -90 at the feet. The unit vector from the isocentre to the detector, which
is the beam's direction, is (sin p cos s, -cos p cos s, sin s) in LPS.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import lateral_direction
from SSRKDCore.geometry.rig import MINIMUM_SEPARATION_DEGREES
from SSRKDCore.radiographs.radiograph import DicomGeometry, Radiograph
from SSRKDCore.radiographs.view_words import beam_is_posterior_to_anterior, view_from_words

Vector = NDArray[np.float64]

LETTER_DIRECTIONS = {
    "L": (1.0, 0.0, 0.0),
    "R": (-1.0, 0.0, 0.0),
    "P": (0.0, 1.0, 0.0),
    "A": (0.0, -1.0, 0.0),
    "H": (0.0, 0.0, 1.0),
    "F": (0.0, 0.0, -1.0),
}
# A stated direction further than 60 degrees from what it should be contradicts it.
AGREEMENT = 0.5


def beam_from_angles(primary: float, secondary: float = 0.0) -> Vector:
    """(3,) unit vector from source to detector, LPS, for DICOM positioner angles in degrees."""
    p, s = np.radians([primary, secondary])
    return np.array([np.sin(p) * np.cos(s), -np.cos(p) * np.cos(s), np.sin(s)])


def beam_from_view(view: str, position: str | None, side: str) -> Vector:
    """(3,) unit vector from source to detector for a standard view.

    Parameters
    ----------
    view: "ap" (also for PA) or "lateral".
    position: the DICOM View Position or View Code meaning: PA turns the frontal beam round; LL and RL name the side
        next to the detector; LM (latero-medial) turns a lateral beam round. None means AP, or medio-lateral.
    side: "right" or "left".
    """
    if view == "ap":
        return np.array([0.0, -1.0 if beam_is_posterior_to_anterior(position) else 1.0, 0.0])
    words = (position or "").strip().lower().replace("-", "")
    if words == "ll" or words.startswith("left lateral"):
        direction = 1.0
    elif words == "rl" or words.startswith("right lateral"):
        direction = -1.0
    else:
        direction = lateral_direction(side) * (-1.0 if words == "lm" or words.startswith("latero") else 1.0)
    return np.array([direction, 0.0, 0.0])


def beam_directions(
    radiographs: Sequence[Radiograph], names: Sequence[str], side: str, use_angles: bool = True
) -> tuple[list[Vector], bool, list[str]]:
    """Beam of each radiograph, from the positioner angles when all files state them and they fit, else from the views.

    Returns the (3,) unit vectors, whether they come from the angles, and warnings.
    """
    geometries = [radiograph.geometry for radiograph in radiographs]
    from_views = [
        beam_from_view("lateral" if name == "lateral" else "ap", geometry.view_position if geometry else None, side)
        for name, geometry in zip(names, geometries, strict=True)
    ]
    if not use_angles:
        return from_views, False, []
    # Of a tube on a column the standard does not say what the angles mean (PS3.3 C.8.11.5).
    angles = [
        (g.primary_angle, g.secondary_angle or 0.0)
        if g and (g.positioner_type or "").upper() != "COLUMN"
        else (None, 0.0)
        for g in geometries
    ]
    stated = [(primary, secondary) for primary, secondary in angles if primary is not None]
    if len(stated) < len(angles):
        some = " of every image" if stated else ""
        return from_views, False, [f"The files do not state the positioner angles{some}: {_assumed_angles(names)}."]
    beams = [beam_from_angles(primary, secondary) for primary, secondary in stated]
    separations = [np.degrees(np.arccos(min(1.0, abs(float(a @ b))))) for a, b in itertools.combinations(beams, 2)]
    if max(separations) < MINIMUM_SEPARATION_DEGREES:
        reason = f"The positioner angles in the files are only {max(separations):.0f} degrees apart"
        return from_views, False, [f"{reason}, so the table or the patient was turned: {_assumed_angles(names)}."]
    for radiograph, geometry, beam, from_view in zip(radiographs, geometries, beams, from_views, strict=True):
        if geometry is None or view_from_words(geometry.view_position) is None:
            continue
        agreement = float(beam @ from_view)
        if view_from_words(geometry.view_position) == "lateral":
            agreement = abs(agreement)
        if agreement < AGREEMENT:
            reason = (
                f"{radiograph.source_path}: the positioner angles contradict the view position {geometry.view_position}"
            )
            return from_views, False, [f"{reason}, so they were not used: {_assumed_angles(names)}."]
    return beams, True, []


def _assumed_angles(names: Sequence[str]) -> str:
    return f"the {' and '.join(names)} views are taken to be exact standard views, 90 degrees apart"


def image_axes(
    geometry: DicomGeometry | None, beam: Vector, seen_from_detector: bool = False
) -> tuple[Vector, Vector, str | None]:
    """Patient directions in which the column and the row index of an image grow.

    The detector is perpendicular to the beam and not turned about it: one image axis lies in the plane of the beam
    and the body's long axis. Patient Orientation (0020,0020) says which way each runs.

    Parameters
    ----------
    geometry: what the file says, or None.
    beam: (3,) unit vector from source to detector.
    seen_from_detector: without Patient Orientation, take the picture as seen from the detector (the custom for C-arms)
        instead of with the patient's left, or posterior, on the right (the custom for radiographs of a knee).

    Returns column direction, row direction (unit vectors, LPS), and a warning or None.
    """
    long_axis = np.array([0.0, 0.0, 1.0])
    if abs(float(beam @ long_axis)) > 0.95:
        # A beam along the body leaves "up" open: take anterior.
        long_axis = np.array([0.0, -1.0, 0.0])
    up = long_axis - (long_axis @ beam) * beam
    up /= np.linalg.norm(up)
    across = np.cross(up, beam)
    stated = geometry.patient_orientation if geometry else None
    if stated is not None:
        column, row = (_nearest(letters, (up, across)) for letters in stated)
        if column is not None and row is not None and abs(float(column @ row)) < AGREEMENT:
            return column, row, None
    # The viewer at the detector looks against the beam: right = forward x up = (-beam) x up.
    turned = not seen_from_detector and across[np.argmax(np.abs(across))] < 0
    column = -across if turned else across
    towards = "left" if abs(column[0]) >= abs(column[1]) else "posterior"
    if float(column[0] if towards == "left" else column[1]) < 0:
        towards = {"left": "right", "posterior": "anterior"}[towards]
    why = "does not say how the image lies (Patient Orientation)"
    if stated is not None:
        why = f"states a Patient Orientation ({stated[0]}, {stated[1]}) that does not fit its view"
    return (
        column,
        -up,
        f"{why}: the image's right edge is taken to be the patient's {towards} side, its top the head side",
    )


def _nearest(letters: str, axes: tuple[Vector, Vector]) -> Vector | None:
    """The detector axis, with sign, that runs in the direction of the letters (the first letter is the main one)."""
    direction = np.array(LETTER_DIRECTIONS.get(letters.strip().upper()[:1], (0.0, 0.0, 0.0)))
    dots = [float(axis @ direction) for axis in axes]
    best = int(np.argmax(np.abs(dots)))
    return None if abs(dots[best]) < AGREEMENT else np.sign(dots[best]) * axes[best]
