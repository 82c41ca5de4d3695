"""How well the turns of a second view are known that edges and shape model tell (`refinement.view_motion`), as the package brings it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.resource_files import resource_folder
from SSRKDCore.trust.known_spreads import known_to

SCHEMA = "ssrkd-view-motion/1"
FOLDER_NAME, FILE_NAME = "ViewMotion", "known.json"
_FACTORS = ("angle_factors", "roll_factors")
_AGAIN = "get the package again, or measure it again with python -m SSRKDCore.trust.fit_view_motion"


@dataclass(frozen=True)
class KnownViewMotion:
    """angle_factors, roll_factors: (K, 2) of `known_spreads.fit_factors`: what the spreads of angle and roll are worth."""

    angle_factors: NDArray[np.float64]
    roll_factors: NDArray[np.float64]

    def angle_degrees(self, spread: float) -> float:
        """What 99 % of the errors of an angle with this spread (degrees) stay below."""
        return known_to(self.angle_factors, spread)

    def roll_degrees(self, spread: float) -> float:
        """Likewise of a roll."""
        return known_to(self.roll_factors, spread)


def view_motion_folder() -> Path:
    """The package's own folder for it."""
    return resource_folder() / FOLDER_NAME


def save_known_view_motion(folder: Path, known: KnownViewMotion, card: Mapping[str, Any]) -> None:
    """Write what is known, with a card of how it was measured. Raises InputError where the folder cannot be written."""
    factors = {name: getattr(known, name).tolist() for name in _FACTORS}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}): choose another folder.") from error
    write_json(folder / FILE_NAME, {"schema": SCHEMA, **factors, **card})


@lru_cache(maxsize=1)
def bundled_known_view_motion() -> KnownViewMotion:
    """What the package brings. Raises InputError where it brings none, or something else."""
    return read_known_view_motion(view_motion_folder())


def read_known_view_motion(folder: Path) -> KnownViewMotion:
    """Read what `save_known_view_motion` wrote. Raises InputError where it is missing, damaged, or something else."""
    path = folder / FILE_NAME
    found = read_json(path, "what is known of turned views")
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise InputError(f"{path} does not say how well turned views are known (schema {SCHEMA}): {_AGAIN}.")
    try:
        tables = [np.array(found[name], dtype=np.float64) for name in _FACTORS]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: {_AGAIN}.") from error
    if not all(_usable(table) for table in tables):
        raise InputError(f"{path} is damaged: {_AGAIN}.")
    return KnownViewMotion(*tables)


def _usable(table: NDArray[np.float64]) -> bool:
    """Whether a table says something for every spread."""
    return (
        table.ndim == 2
        and table.shape[1:] == (2,)
        and len(table) > 0
        and bool(np.isfinite(table).all())
        and table[0, 0] == 0.0
        and bool((np.diff(table[:, 0]) > 0).all() and (table[:, 1] > 0).all())
    )
