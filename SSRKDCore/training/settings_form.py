"""The form that all training settings share: frozen, strict in what they take, checked with a reason."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from SSRKDCore.errors import InputError

SettingsType = TypeVar("SettingsType", bound="Settings")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A strict dictionary form, checks with a reason, and changes by name."""

    #: How messages call these settings.
    title: ClassVar[str] = "settings"

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            object.__setattr__(self, item.name, self._typed(item.name, getattr(self, item.name), str(item.type)))
        self._check()

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-able values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls: type[SettingsType], values: Mapping[str, Any]) -> SettingsType:
        """Settings from what `to_dict` gave. Raises InputError: a field is missing, unknown, mistyped, out of range."""
        if not isinstance(values, Mapping):
            raise InputError(f"The {cls.title} must be an object with named values, not {type(values).__name__}.")
        names = [item.name for item in dataclasses.fields(cls)]
        missing = [name for name in names if name not in values]
        if missing:
            raise InputError(f"The {cls.title} lack {', '.join(missing)}: add them, or start from a preset.")
        cls._refuse_unknown(values)
        return cls(**values)

    def changed(self: SettingsType, values: Mapping[str, Any]) -> SettingsType:
        """These settings with some values replaced. Raises InputError as `from_dict` does."""
        if not isinstance(values, Mapping):
            raise InputError(f"The {self.title} must be an object with named values, not {type(values).__name__}.")
        self._refuse_unknown(values)
        return replace(self, **values)

    @classmethod
    def _refuse_unknown(cls, values: Mapping[str, Any]) -> None:
        names = [item.name for item in dataclasses.fields(cls)]
        unknown = [str(name)[:60] for name in values if name not in names]
        if unknown:
            raise InputError(f"The {cls.title} have no {', '.join(unknown)}: use {', '.join(names)}.")

    @classmethod
    def _typed(cls, name: str, value: Any, annotation: str) -> Any:
        """`value` as its field's type; the only conversion is int -> float."""
        if annotation == "float" and type(value) in (int, float) and math.isfinite(value):
            return float(value)
        if {"bool": bool, "int": int, "str": str}.get(annotation) is type(value):
            return value
        if annotation == "bool | str" and type(value) in (bool, str):
            return value
        words = {
            "bool | str": "true, false or a word",
            "bool": "true or false",
            "int": "a whole number",
            "float": "a number",
        }.get(annotation, "a word")
        raise InputError(f"{name} of the {cls.title} must be {words}, not {str(value)[:60]!r}: correct it.")

    def _check(self) -> None:
        """Raises InputError when values are out of range."""

    def _require(self, holds: bool, words: str) -> None:
        if not holds:
            raise InputError(f"The {self.title} do not hold together: {words}.")

    def _one_of(self, name: str, allowed: tuple[str, ...]) -> None:
        self._require(getattr(self, name) in allowed, f"{name} must be one of {', '.join(allowed)}")

    def _share(self, *names: str) -> None:
        for name in names:
            self._require(0 <= getattr(self, name) <= 1, f"{name} must be 0 to 1")
