"""Reading values from a DICOM data set that may lie: wrong types, wrong counts, empty, not finite."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def raw_value(dataset: Dataset, keyword: str, frame_index: int = 0) -> Any:
    """Value of an attribute at the top level or, in enhanced objects, in the frame's or the shared groups."""
    value = _value(dataset, keyword)
    if value is not None:
        return value
    per_frame = _items(dataset, "PerFrameFunctionalGroupsSequence")
    groups = [per_frame[frame_index]] if frame_index < len(per_frame) else []
    groups += _items(dataset, "SharedFunctionalGroupsSequence")[:1]
    for group in groups:
        for element in group.iterall() if group is not None else ():
            if element.keyword == keyword and element.value not in (None, ""):
                return element.value
    return None


def _value(dataset: Dataset, keyword: str) -> Any:
    try:
        value = dataset.get(keyword)
    except Exception:  # pydicom converts on first access, and a damaged value raises whatever its converter raises
        return None
    return None if value is None or value == "" else value


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    value = _value(dataset, keyword)
    try:
        return list(value) if value is not None else []
    except TypeError:
        return []


def text(dataset: Dataset, keyword: str, frame_index: int = 0) -> str | None:
    """A text value without surrounding blanks, or None. Values of several parts are joined by backslashes."""
    value = raw_value(dataset, keyword, frame_index)
    if value is None:
        return None
    if not isinstance(value, str) and hasattr(value, "__iter__"):
        value = "\\".join(str(part) for part in value)
    return str(value).strip() or None


def numbers(dataset: Dataset, keyword: str, frame_index: int = 0) -> tuple[float, ...] | None:
    """All parts of a numeric value as floats (also those not finite), or None where there is no number."""
    value = raw_value(dataset, keyword, frame_index)
    if value is None:
        return None
    parts = value if hasattr(value, "__iter__") and not isinstance(value, (str, bytes)) else [value]
    try:
        return tuple(float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        return None


def number(dataset: Dataset, keyword: str, frame_index: int = 0) -> float | None:
    """The first part of a numeric value when it is finite, else None."""
    values = numbers(dataset, keyword, frame_index)
    return values[0] if values and math.isfinite(values[0]) else None


def integer(dataset: Dataset, keyword: str, frame_index: int = 0) -> int | None:
    """A whole number, or None."""
    value = number(dataset, keyword, frame_index)
    return int(value) if value is not None else None


def first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    """The first item of a sequence, or None."""
    items = _items(dataset, keyword)
    return items[0] if items else None
