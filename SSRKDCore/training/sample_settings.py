"""What training samples are made of: settings with a strict dictionary form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from SSRKDCore.errors import InputError
from SSRKDCore.training.point_sampling import PointCounts
from SSRKDCore.training.random_rigs import RigRanges


@dataclass(frozen=True)
class SampleSettings:
    """What samples are made of a case.

    Attributes
    ----------
    seed: of everything that is drawn.
    rigs: random rigs a case.
    image_size: pixels a side of a network view; that of the networks that will read them.
    rays: rays a pixel along each axis, see `CaseVolume.radiographs`.
    voxel_mm: see `load_case_volume`.
    largest_skipped_share: when a larger share of the cases is bad (and more than one), the whole set is refused.
    points, rig_ranges: see there.
    """

    seed: int = 0
    rigs: int = 4
    image_size: int = 256
    rays: int = 2
    voxel_mm: float = 0.9
    largest_skipped_share: float = 0.2
    points: PointCounts = field(default_factory=PointCounts)
    rig_ranges: RigRanges = field(default_factory=RigRanges)

    def __post_init__(self) -> None:
        for name, low, high in (("rigs", 1, 1000), ("image_size", 16, 4096), ("rays", 1, 8)):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"The sample settings have {name} {getattr(self, name)}: it must be {low} to {high}.")
        if self.seed < 0 or not 0.1 <= self.voxel_mm <= 5.0 or not 0 <= self.largest_skipped_share <= 1:
            raise InputError(
                "The sample settings do not hold together: seed must be 0 or more, voxel_mm 0.1 to 5, largest_skipped_share 0 to 1."
            )
        if self.points.near < 0 or self.points.uniform < 1:
            raise InputError("The sample settings have no points: give near of 0 or more, and uniform of 1 or more.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values (tuples become lists)."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    def changed(self, values: Mapping[str, Any]) -> SampleSettings:
        """These settings with some values replaced; `points` and `rig_ranges` may be given in part. Raises InputError for others."""
        return _changed(self, values, "sample settings")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _changed(settings: Any, values: Mapping[str, Any], title: str) -> Any:
    """A settings dataclass with some values replaced, nested ones in part, each with its own type."""
    names = [item.name for item in fields(settings)]
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name not in names:
            raise InputError(f"The {title} have no {str(name)[:60]}: use {', '.join(names)}.")
        old = getattr(settings, name)
        if isinstance(old, (PointCounts, RigRanges)):
            if not isinstance(value, Mapping):
                raise InputError(f"{name} of the {title} must be an object with named values: correct it.")
            found[name] = _changed(old, value, f"{title}' {name}")
        elif isinstance(old, tuple) and isinstance(value, (list, tuple)) and len(value) == len(old):
            found[name] = tuple(_number(item, float, name, title) for item in value)
        else:
            found[name] = _number(value, type(old), name, title)
    return replace(settings, **found)


def _number(value: Any, kind: type, name: str, title: str) -> Any:
    if kind is float and type(value) in (int, float) and np.isfinite(value):
        return float(value)
    if kind is int and type(value) is int:
        return value
    words = {int: "a whole number", float: "a number"}.get(kind, "a list of as many numbers as its default has")
    raise InputError(f"{name} of the {title} must be {words}, not {str(value)[:60]!r}: correct it.")
