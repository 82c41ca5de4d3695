"""Named dimensions of a plan or a guide: default, allowed range and source, said once beside the name."""

from __future__ import annotations

from dataclasses import Field, field, fields
from typing import Any

import numpy as np

from SSRKDCore.errors import InputError


def dimension(default: float, lowest: float, highest: float, words: str) -> Any:
    """A dataclass field of a number with a range; the name ends with its unit, `words` say what it is and where the default comes from."""
    return field(default=default, metadata={"lowest": lowest, "highest": highest, "words": words})


def optional_dimension(lowest: float, highest: float, words: str) -> Any:
    """The same, None where it is to be taken from the bone."""
    return field(default=None, metadata={"lowest": lowest, "highest": highest, "words": words})


def dimension_fields(of: Any) -> list[Field[Any]]:
    """The fields of a dataclass (or of an instance) that are dimensions."""
    return [item for item in fields(of) if "lowest" in item.metadata]


def check_dimensions(instance: Any) -> None:
    """Raise InputError, naming the dimension and its range, where one is no finite number or out of its range."""
    for item in dimension_fields(instance):
        value = getattr(instance, item.name)
        if value is None and item.default is None:
            continue
        lowest, highest = item.metadata["lowest"], item.metadata["highest"]
        if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
            raise InputError(f"{item.name} is {value!r}: it must be a number from {lowest:g} to {highest:g}.")
        if not lowest <= float(value) <= highest:
            raise InputError(f"{item.name} is {value:g}: it must lie between {lowest:g} and {highest:g}.")


def from_mapping(kind: Any, values: Any, what: str) -> Any:
    """An instance of a dataclass of dimensions from JSON. Raises InputError for names that it does not have and values out of range."""
    if not isinstance(values, dict):
        raise InputError(f"{what} lists no parameters by name: write it again.")
    known = {item.name for item in fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise InputError(f"{what} has the unknown parameter {unknown[0]!r}: use a file written by this version.")
    return kind(**values)
