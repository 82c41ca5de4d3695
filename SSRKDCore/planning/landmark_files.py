"""Landmarks on disk (schema ssrkd-landmarks/1, LPS mm): written to be corrected by hand and given back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.planning.landmark_set import GIVEN, LANDMARK_BONES, LandmarkSet

Array = NDArray[np.float64]

SCHEMA = "ssrkd-landmarks/1"
_FARTHEST_MM = 1e6


def landmarks_to_dict(landmarks: LandmarkSet) -> dict[str, Any]:
    """Plain values for JSON: positions, which of them a person set, why others are missing, and how much of the shafts was seen."""
    return {
        "schema": SCHEMA,
        "frame": "LPS",
        "unit": "mm",
        "side": landmarks.side,
        "landmarks": {name: position.tolist() for name, position in landmarks.items()},
        "given": [name for name, landmark in landmarks.landmarks.items() if landmark.source == GIVEN],
        "missing": dict(landmarks.missing),
        "shafts_mm": {bone: asdict(shaft) for bone, shaft in landmarks.shafts.items()},
    }


def write_landmarks(path: str | Path, landmarks: LandmarkSet) -> None:
    """Write landmarks."""
    write_json(path, landmarks_to_dict(landmarks))


def read_landmarks(path: str | Path, side: str | None = None) -> dict[str, Array]:
    """The positions (3,) LPS mm by name that a person set, as `find_landmarks` takes them.

    Where the file lists "given" names, only those: the others were computed and are computed again, so that they follow the given ones.
    A file without that list, written by hand, gives all of its landmarks.

    Raises InputError for another schema, frame, unit or side than `side`, unknown names, and coordinates that are no three numbers.
    """
    value = read_json(path, "a landmarks file")
    if value.get("schema") != SCHEMA:
        raise InputError(f"{path} has schema {value.get('schema')!r}, and only {SCHEMA!r} is understood: correct it.")
    if value.get("frame") != "LPS" or value.get("unit") != "mm":
        raise InputError(f"{path} must say frame LPS and unit mm, in which its landmarks stand: convert it.")
    if side is not None and value.get("side") != side:
        raise InputError(f"{path} is of a {value.get('side')} leg, and this one is a {side} one: name the right file.")
    positions = value.get("landmarks")
    if not isinstance(positions, dict):
        raise InputError(f"{path} lists no landmarks by name: correct it.")
    chosen = value.get("given", list(positions))
    if not isinstance(chosen, list) or any(not isinstance(name, str) or name not in positions for name in chosen):
        raise InputError(f"{path}: given must list names of its landmarks: correct it.")
    unknown = sorted(set(positions) - set(LANDMARK_BONES))
    if unknown:
        raise InputError(f"{path} names {unknown[0]!r}, which is no landmark: use {', '.join(LANDMARK_BONES)}.")
    return {name: _position(path, name, positions[name]) for name in chosen}


def _position(path: str | Path, name: str, value: Any) -> Array:
    numbers = (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in value)
    )
    # A whole number of JSON may have more digits than a float can hold; NaN is not below anything either.
    if not numbers or not all(abs(item) < _FARTHEST_MM for item in value):
        raise InputError(f"{path}: {name} needs three finite coordinates in mm: correct it.")
    return np.array(value, dtype=np.float64)
