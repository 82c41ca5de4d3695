"""A calibration object: markers at known positions in its own frame, from a JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json

Array = NDArray[np.float64]

SCHEMA = "ssrkd-calibration-object/1"
LEAST_MARKERS = 6
_MOST_MARKERS = 500
# The thinnest of the markers' three extents over the widest; a plane or a line of markers is below.
_LEAST_THICKNESS = 0.02


@dataclass(frozen=True)
class MarkerObject:
    """Markers of a calibration object.

    Attributes
    ----------
    names: of the markers, unique.
    points: (N, 3) mm, in the object's own right-handed frame.
    diameter_mm: of a marker, or None where the file does not say.

    Raises InputError for fewer than six markers, and for markers in one plane, which leave a view undetermined.
    """

    names: tuple[str, ...]
    points: Array
    diameter_mm: float | None = None

    def __post_init__(self) -> None:
        check_spread(self.points, "The calibration object")
        if len(set(self.names)) != len(self.points):
            raise InputError("The calibration object has two markers of one name: rename one.")

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], what: str = "the calibration object") -> MarkerObject:
        """From the content of a file, {"schema": ..., "unit": "mm", "markers": {"name": [x, y, z], ...}, "diameter": mm}."""
        if value.get("schema") != SCHEMA or value.get("unit") != "mm":
            raise InputError(f"{what} must state schema '{SCHEMA}' and unit 'mm': see docs/calibration.md.")
        markers = value.get("markers")
        if not isinstance(markers, Mapping) or not 1 <= len(markers) <= _MOST_MARKERS:
            raise InputError(f"{what} needs 'markers': up to {_MOST_MARKERS} names with [x, y, z] in mm.")
        try:
            points = np.array([[float(number) for number in point] for point in markers.values()], dtype=np.float64)
            diameter = value.get("diameter")
            size = None if diameter is None else float(diameter)
        except (TypeError, ValueError) as error:
            raise InputError(f"{what} holds a marker that is not [x, y, z] in mm: correct it.") from error
        if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
            raise InputError(f"{what} holds a marker that is not [x, y, z] in mm: correct it.")
        if size is not None and not 0.1 <= size <= 50:
            raise InputError(f"{what} states markers of {size:g} mm: the diameter must be from 0.1 to 50 mm.")
        return cls(tuple(str(name) for name in markers), points, size)

    @classmethod
    def load(cls, path: str | Path) -> MarkerObject:
        """Read a file. Raises InputError naming it."""
        return cls.from_dict(read_json(path, "a calibration object"), str(path))


def check_spread(points: Array, what: str) -> None:
    """Refuse points (N, 3) that cannot determine a view: fewer than six, or (nearly) in one plane."""
    if len(points) < LEAST_MARKERS:
        raise InputError(f"{what} has {len(points)} usable markers: a view needs {LEAST_MARKERS} or more.")
    extents = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if extents[2] < _LEAST_THICKNESS * extents[0]:
        raise InputError(
            f"{what} has its markers in one plane or line, which leaves the view open: use others as well."
        )
