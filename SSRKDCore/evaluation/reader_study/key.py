"""key.json: what the codes of a study stand for. It stays with the study's owner."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.reader_study.blinding import CodedModel
from SSRKDCore.evaluation.reader_study.shown_bones import VERSIONS
from SSRKDCore.json_files import read_json, write_json

SCHEMA = "ssrkd-reader-study/1"
KEY_FILE = "key.json"


@dataclass(frozen=True)
class StudyKey:
    """The key of a study.

    Attributes
    ----------
    seed: what codes and orders were drawn with.
    pages: reader -> the models of their page, in its order.
    cases: case -> what it is made of, free form.
    provenance: how the reconstructions came about, free form.
    """

    seed: int
    pages: Mapping[str, Sequence[CodedModel]]
    cases: Mapping[str, Mapping[str, Any]]
    provenance: Mapping[str, Any]

    @property
    def study(self) -> str:
        """The study's name in pages and answers: a hash of everything above, which says nothing about it."""
        text = json.dumps(self._content(), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _content(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "pages": {reader: [asdict(model) for model in models] for reader, models in self.pages.items()},
            "cases": {case: dict(words) for case, words in self.cases.items()},
            "provenance": dict(self.provenance),
        }

    def save(self, path: str | Path) -> None:
        """Write the key."""
        write_json(path, {"schema": SCHEMA, "study": self.study, **self._content()})


def load_key(folder: str | Path) -> StudyKey:
    """The key in a study's folder. Raises InputError when it is absent, was changed, or cannot be understood."""
    path = Path(folder) / KEY_FILE
    value = read_json(path, "the key of a reader study")
    if value.get("schema") != SCHEMA:
        raise InputError(
            f"{path} has schema {value.get('schema')!r}, and only {SCHEMA!r} is understood: name a study's folder."
        )
    try:
        pages = {
            reader: [CodedModel(model["code"], model["case"], model["version"]) for model in models]
            for reader, models in value["pages"].items()
        }
        key = StudyKey(value["seed"], pages, value["cases"], value["provenance"])
        good = key.study == value["study"]
        good = good and all(model.version in VERSIONS for models in pages.values() for model in models)
    except (AttributeError, KeyError, TypeError):
        good = False
    if not good:
        raise InputError(f"{path} was changed after it was written, or is damaged: restore it.")
    return key
