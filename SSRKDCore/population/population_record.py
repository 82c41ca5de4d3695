"""The record of a population: what its cases are made with, which are there, and which failed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from SSRKDCore.cases import load_case
from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json

SCHEMA = "ssrkd-population/1"
POPULATION_FILE = "population.json"
UNFINISHED = ".unfinished"
"""Folder, beside the cases, of those that are being written."""


@dataclass
class PopulationRecord:
    """population.json of a folder.

    Attributes
    ----------
    folder: of the cases.
    head: schema, settings, shape model and engine that the cases are made with.
    asked: kind -> how many cases there shall be.
    failed: name -> reason of the cases that could not be made.
    """

    folder: Path
    head: dict[str, Any]
    asked: dict[str, int]
    failed: dict[str, str] = field(default_factory=dict)

    def write(self) -> None:
        """Write the record, with how many cases of each kind are there."""
        present = {kind: len(complete_cases(self.folder, kind)) for kind in self.asked}
        content = self.head | {"asked": self.asked, "present": present, "failed": self.failed}
        write_json(self.folder / POPULATION_FILE, content)


def claim_folder(out: Path, head: dict[str, Any]) -> None:
    """Make the folder of a population, or take up one that was begun with the same `head`; what was unfinished in it is removed.

    Raises InputError, naming the difference, for a folder that holds something else or a population made otherwise.
    """
    path = out / POPULATION_FILE
    try:
        out.mkdir(parents=True, exist_ok=True)
        strangers = [item.name for item in out.iterdir() if item.name != UNFINISHED]
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): choose another folder.") from error
    if path.exists():
        found = read_json(path, "a population's record")
        differing = _differences(found, head)
        if differing:
            raise InputError(
                f"{out} holds a population made with {'; '.join(differing)}: choose another folder, or the same settings."
            )
    elif strangers:
        raise InputError(f"{out} holds other files ({strangers[0]}): choose a new or an empty folder.")
    shutil.rmtree(out / UNFINISHED, ignore_errors=True)


def _differences(found: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """What a population was made with, where it is not what is asked for, in words."""
    if found.get("schema") != asked["schema"]:
        return [f"schema {found.get('schema')!r} instead of {asked['schema']!r}"]
    then, now = found.get("settings") or {}, asked["settings"]
    words = [
        f"{key} {then.get(key)} instead of {now.get(key)}"
        for key in sorted({*then, *now})
        if then.get(key) != now.get(key)
    ]
    if (found.get("shape_model") or {}).get("sha256") != asked["shape_model"]["sha256"]:
        words.append("another shape model")
    return words


def complete_cases(out: Path, kind: str) -> list[str]:
    """Names of the whole cases of a kind. A folder that someone took files from is no case, and is made again."""
    found = []
    for folder in sorted(out.glob(f"{kind}[0-9]*")):
        try:
            load_case(folder)
        except InputError:
            continue
        found.append(folder.name)
    return found
