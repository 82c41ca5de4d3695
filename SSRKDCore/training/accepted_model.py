"""A run's model under the name that says whether it may be used."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path


def put_in_place(written: Path, target: Path, names: Iterable[str]) -> Path:
    """Move an exported model folder to its place; what earlier calls left beside it under one of the names goes.

    Returns the place.
    """
    for name in names:
        shutil.rmtree(target.parent / name, ignore_errors=True)
    written.rename(target)
    return target
