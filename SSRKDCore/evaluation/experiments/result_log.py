"""Results on disk while a run lasts: one JSON line a case, so that an ended run goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.case_evaluation import CaseResult
from SSRKDCore.evaluation.comparison import BoneComparison
from SSRKDCore.json_files import read_json, to_json_text, write_json

SETTINGS_FILE = "settings.json"
RESULTS_FILE = "results.jsonl"
#: Settings that are lists of parts, each of which has results of its own.
_PARTS = ("points", "cases")


def result_to_dict(result: CaseResult) -> dict[str, Any]:
    """Plain values of a case's result, for JSON."""
    return asdict(result) | {"warnings": list(result.warnings)}


def result_from_dict(value: Mapping[str, Any]) -> CaseResult:
    """The result that `result_to_dict` was given."""
    bones = {name: BoneComparison(**record) for name, record in value["bones"].items()}
    return CaseResult(**{**value, "bones": bones, "warnings": tuple(value["warnings"])})


def check_free(folder: Path, beside: Collection[str] = ()) -> None:
    """Raises InputError for a folder that holds anything but `beside`."""
    if folder.exists() and (not folder.is_dir() or any(item.name not in beside for item in folder.iterdir())):
        raise InputError(f"{folder} exists and holds no unfinished run: choose another output folder.")


class ResultLog:
    """The folder of a run that may be ended at any time and go on.

    Parameters
    ----------
    folder: made where it is missing.
    settings: all that the results depend on, plain values; kept in settings.json.
    beside: names of what may lie in the folder before the run begins.
    growing: whether "points" and "cases" of the settings may be others than before, see `_grown`.

    Attributes
    ----------
    records: what the folder holds. replaced: how many records were dropped because their point or case is another one now.

    Raises InputError when the folder holds a run with other settings, or something else.
    """

    def __init__(
        self, folder: str | Path, settings: Mapping[str, Any], beside: Collection[str] = (), growing: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.records: list[dict[str, Any]] = []
        self.replaced = 0
        wanted = json.loads(to_json_text(dict(settings)))
        path = self.folder / SETTINGS_FILE
        if path.is_file():
            found = read_json(path, "the settings of a run")
            changed = [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]
            if changed and growing and set(changed) <= set(_PARTS) and all(key in found for key in _PARTS):
                self._read()
                self._grown(found, wanted)
                return
            if changed:
                raise InputError(
                    f"{self.folder} holds a run with other settings ({', '.join(changed)}): "
                    "choose another output folder, or the settings in its settings.json."
                )
            self._read()
            return
        check_free(self.folder, beside)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(path, wanted)

    def _grown(self, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Keep the records of points and cases that are as they were, wanted now or not; drop those of others under the same name."""
        old_points = {point["name"]: point for point in found["points"]}
        new_points = {point["name"]: point for point in wanted["points"]}
        points = {**old_points, **new_points}
        cases = {**found["cases"], **wanted["cases"]}
        kept = [
            record
            for record in self.records
            if points[record["point"]] == old_points.get(record["point"])
            and cases[record["result"]["id"]] == found["cases"].get(record["result"]["id"])
        ]
        self.replaced = len(self.records) - len(kept)
        if self.replaced:
            self.records = kept
            path = self.folder / RESULTS_FILE
            beside = path.with_name(f"{path.name}.part")
            beside.write_text("".join(map(_line, kept)), encoding="utf-8", errors="backslashreplace")
            os.replace(beside, path)
        write_json(self.folder / SETTINGS_FILE, {**wanted, "points": list(points.values()), "cases": cases})

    def _read(self) -> None:
        path = self.folder / RESULTS_FILE
        if not path.is_file():
            return
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        try:
            self.records = [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise InputError(f"{path} is damaged ({error}): remove it, and its cases are computed again.") from error
        if len(whole) < len(content):
            # The run was ended while it wrote its last line.
            os.truncate(path, len(whole))

    def add(self, record: Mapping[str, Any]) -> None:
        """Keep a record: when this returns it is on the disk, and a line is either whole or cut off by the next reading."""
        plain = json.loads(to_json_text(dict(record)))
        with (self.folder / RESULTS_FILE).open("ab") as file:
            file.write(_line(plain).encode("utf-8", errors="backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
        self.records.append(plain)


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
