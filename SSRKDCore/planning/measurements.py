"""Alignment, slope, torsion and patellar height of a leg from its landmarks."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.planning.landmark_set import GIVEN, LandmarkSet
from SSRKDCore.planning.measurement_definitions import DEFINITIONS, Definition
from SSRKDCore.planning.reconstruction_error_table import expected_error, reconstruction_error
from SSRKDCore.planning.short_shaft_table import short_shaft_error

_ERRORS = ("expected_error", "short_shaft_error", "reconstruction_error")
UNLOADED = "as imaged: without load unless the images were taken standing, and in the position of the joint then"


@dataclass(frozen=True)
class Measurement:
    """One measured quantity.

    Attributes
    ----------
    name, unit, definition, source: see measurement_definitions.Definition.
    value: in that unit, None where landmarks are missing.
    used: the landmarks that it needs.
    given: those of them that a person set.
    missing: landmark -> why it is absent; empty where there is a value.
    condition: what the value depends on besides the bones' shapes, or None.
    short_shaft_error: root mean square distance, in that unit, from the same measurement with the whole stretch of shaft, where less of
        the shaft was seen (see short_shaft_errors); else None.
    reconstruction_error: root mean square distance, in that unit, of the measurement on a reconstruction from two radiographs from that on
        the true bones (see reconstruction_errors); None where it was not measured. Bones of a CT do not have it.
    expected_error: both together, what a measurement on a reconstruction is expected to be wrong by; None where that was not measured.
    """

    name: str
    value: float | None
    unit: str
    definition: str
    source: str
    used: tuple[str, ...]
    given: tuple[str, ...]
    missing: Mapping[str, str]
    condition: str | None
    short_shaft_error: float | None = None
    reconstruction_error: float | None = None
    expected_error: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def measure(landmarks: LandmarkSet) -> dict[str, Measurement]:
    """Every measurement by name, in the order of measurement_definitions.DEFINITIONS; one whose landmarks lack has no value and says
    why. Raises InputError where landmarks set by hand lie so that an axis has no direction.
    """
    return {definition.name: _measured(definition, landmarks) for definition in DEFINITIONS}


def measured(name: str, landmarks: LandmarkSet) -> Measurement:
    """One measurement by name; see `measure`. Raises KeyError for a name that there is not."""
    return _measured({definition.name: definition for definition in DEFINITIONS}[name], landmarks)


def _measured(definition: Definition, landmarks: LandmarkSet) -> Measurement:
    missing = {
        name: landmarks.missing.get(name, "it was not given") for name in definition.needs if name not in landmarks
    }
    given = tuple(name for name in definition.needs if name in landmarks and landmarks.landmarks[name].source == GIVEN)
    value: float | None = None
    if not missing:
        try:
            value = definition.compute(landmarks)
        except (ArithmeticError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{definition.name} cannot be measured: its landmarks lie at one place; correct them."
            ) from error
    short = None if value is None else short_shaft_error(definition.name, landmarks.shafts)
    return Measurement(
        definition.name,
        value,
        definition.unit,
        definition.words,
        definition.source,
        definition.needs,
        given,
        missing,
        UNLOADED if definition.as_imaged else None,
        short,
        None if value is None else reconstruction_error(definition.name),
        None if value is None else expected_error(definition.name, short),
    )


def write_measurements(
    path: Path, values: Mapping[str, Measurement], reference: Mapping[str, Measurement] | None = None
) -> None:
    """Write one row a measurement: name, value, unit, its expected error on a reconstruction and what a short shaft and reconstruction have
    in that, with a reference its value and the difference (value minus reference), and what was missing. Values that lack are empty.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        extra = [] if reference is None else ["reference", "difference"]
        writer.writerow(["measurement", "value", "unit", *_ERRORS, *extra, "missing"])
        for name, item in values.items():
            missing = dict(item.missing)
            row: list[str] = [
                name,
                _figure(item.value),
                item.unit,
                *(_figure(getattr(item, error)) for error in _ERRORS),
            ]
            if reference is not None:
                row += [_figure(reference[name].value), _figure(difference(item, reference[name]))]
                missing |= {f"reference's {landmark}": reason for landmark, reason in reference[name].missing.items()}
            writer.writerow([*row, "; ".join(f"{landmark}: {reason}" for landmark, reason in missing.items())])


def difference(measured: Measurement, reference: Measurement) -> float | None:
    """Value minus reference; None where either lacks."""
    if measured.value is None or reference.value is None:
        return None
    return measured.value - reference.value


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
