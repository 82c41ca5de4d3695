"""What the questionnaire says to a reader: questions, the meaning of each grade, and the words of the page.

Three questions with four grades each follow the reader study of Lin et al. (npj Digital Medicine 2026); the words are
this project's own. They stand in wording.json; a translated copy of that file takes their place.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json

SCHEMA = "ssrkd-reader-wording/1"
SCALES = ("shape", "detail", "clinical_significance")
#: 1 (not usable) to 4 (indistinguishable), ordered.
GRADES = (1, 2, 3, 4)


def shipped_wording() -> dict[str, Any]:
    """The English wording."""
    return read_json(Path(str(files(__package__))) / "wording.json", "a wording file")


def load_wording(path: str | Path | None = None) -> dict[str, Any]:
    """The wording in a file, or the English one.

    Raises InputError, naming what is wrong, when a translation lacks a text, a grade or a placeholder that the English one has.
    """
    shipped = shipped_wording()
    if path is None:
        return shipped
    wording = read_json(path, "a wording file")
    if wording.get("schema") != SCHEMA:
        raise InputError(f"{path} has schema {wording.get('schema')!r}, and only {SCHEMA!r} is understood: correct it.")
    problem = _difference(shipped, wording, "the wording")
    if problem:
        raise InputError(f"{path}: {problem}; translate every text of the shipped wording.json, and nothing else.")
    if [scale["id"] for scale in wording["scales"]] != list(SCALES):
        raise InputError(f"{path}: the scales must be {', '.join(SCALES)}, in this order: correct their ids.")
    return wording


def _difference(shipped: Any, given: Any, place: str) -> str | None:
    """What makes `given` no translation of `shipped`, or None. Paragraphs of the introduction may be more or fewer."""
    if isinstance(shipped, str):
        if not isinstance(given, str) or not given.strip():
            return f"{place} is not a text"
        try:
            names = _placeholders(given)
        except ValueError:
            return f"{place} has a stray brace"
        return None if names == _placeholders(shipped) else f"{place} must have the placeholders of the shipped text"
    if isinstance(shipped, list):
        if not isinstance(given, list) or not given:
            return f"{place} is not a list"
        if place != "introduction" and len(given) != len(shipped):
            return f"{place} has {len(given)} entries in the place of {len(shipped)}"
        pairs = [
            (f"{place} {index + 1}", shipped[min(index, len(shipped) - 1)], item) for index, item in enumerate(given)
        ]
    else:
        if not isinstance(given, dict) or set(given) != set(shipped):
            return f"{place} does not have the entries {', '.join(shipped)}"
        pairs = [(name, item, given[name]) for name, item in shipped.items()]
    return next((words for name, a, b in pairs if (words := _difference(a, b, name))), None)


def _placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}
