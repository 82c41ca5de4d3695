"""Files of readers' answers: read, checked against the study's key, and unblinded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.reader_study.key import StudyKey
from SSRKDCore.evaluation.reader_study.wording import GRADES, SCALES
from SSRKDCore.json_files import read_json

SCHEMA = "ssrkd-reader-answers/1"
_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class GradedModel:
    """What one reader says of one model.

    Attributes
    ----------
    reader, code: whose page it was, and the code on it.
    case, version: what the code stands for.
    grades: scale -> grade, or None where it was left open.
    seconds: for how long the page was in view.
    comment: the reader's own words.
    """

    reader: str
    code: str
    case: str
    version: str
    grades: Mapping[str, int | None]
    seconds: float
    comment: str

    @property
    def is_complete(self) -> bool:
        """Whether every scale has its grade."""
        return all(grade is not None for grade in self.grades.values())


def check_sum(content: Mapping[str, Any]) -> str:
    """SHA-256 of an answer file's content, as the page writes it into the file (answers.js, `checkedText`).

    It shows that a file was changed after the page wrote it; it is no signature.
    """
    lines = [content["schema"], content["study"], content["reader"], content["saved"]]
    for item in content["items"]:
        grades = ["-" if item["grades"].get(scale) is None else str(item["grades"][scale]) for scale in SCALES]
        lines.append(_SEPARATOR.join([item["code"], *grades, str(item["milliseconds"]), item["comment"]]))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_answers(paths: Sequence[str | Path], key: StudyKey) -> list[GradedModel]:
    """Every model on every page of the given readers, in the order of their pages; what a file does not answer is open.

    Raises InputError, naming the file, when it is no answer file of this study, was changed, holds a code or grade that cannot be, or gives
    answers of a reader that another file has given.
    """
    graded: list[GradedModel] = []
    seen: dict[str, Path] = {}
    for path in map(Path, paths):
        content = read_json(path, "an answer file")
        reader = _checked_reader(content, path, key)
        if reader in seen:
            raise InputError(f"{path} and {seen[reader]} are both of reader {reader}: give one file for each reader.")
        seen[reader] = path
        graded += _unblinded(content, path, key, reader)
    return graded


def _checked_reader(content: Mapping[str, Any], path: Path, key: StudyKey) -> str:
    if content.get("schema") != SCHEMA:
        raise InputError(
            f"{path} has schema {content.get('schema')!r}, and only {SCHEMA!r} is understood: give an answer file."
        )
    if content.get("study") != key.study:
        raise InputError(
            f"{path} answers study {content.get('study')!r}, and this is {key.study!r}: give answers of this study."
        )
    reader = content.get("reader")
    if not isinstance(reader, str) or reader not in key.pages:
        raise InputError(f"{path} is of reader {reader!r}, whom this study does not have: give answers of its readers.")
    try:
        same = check_sum(content) == content.get("sha256")
    except (AttributeError, KeyError, TypeError, UnicodeEncodeError):
        same = False
    if not same:
        raise InputError(
            f"{path} was changed after the page wrote it, or is damaged: ask reader {reader} for the file again."
        )
    return reader


def _unblinded(content: Mapping[str, Any], path: Path, key: StudyKey, reader: str) -> list[GradedModel]:
    pages = {model.code: model for model in key.pages[reader]}
    given: dict[str, Mapping[str, Any]] = {}
    for item in content["items"]:
        code = item["code"]
        if code not in pages:
            raise InputError(
                f"{path} grades {code!r}, a code that reader {reader}'s page does not have: ask for the file again."
            )
        if code in given:
            raise InputError(f"{path} grades {code!r} twice: ask reader {reader} for the file again.")
        _check_item(item, path)
        given[code] = item
    return [
        GradedModel(
            reader,
            code,
            model.case,
            model.version,
            {scale: given[code]["grades"].get(scale) if code in given else None for scale in SCALES},
            given[code]["milliseconds"] / 1000 if code in given else 0.0,
            given[code]["comment"] if code in given else "",
        )
        for code, model in pages.items()
    ]


def _check_item(item: Mapping[str, Any], path: Path) -> None:
    for scale, grade in item["grades"].items():
        if scale not in SCALES:
            raise InputError(
                f"{path} grades {scale!r}, and the scales are {', '.join(SCALES)}: ask for the file again."
            )
        # True and 1.0 equal 1 in Python, and are no grades.
        if grade is not None and (type(grade) is not int or grade not in GRADES):
            raise InputError(
                f"{path} gives {item['code']} the grade {grade!r} for {scale}, and grades are {GRADES[0]} to {GRADES[-1]}: "
                "ask for the file again."
            )
    if type(item["milliseconds"]) is not int or item["milliseconds"] < 0:
        raise InputError(f"{path} gives {item['code']} a time that cannot be: ask for the file again.")
