"""The questionnaire of one reader as one web page: no network, no other file."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from SSRKDCore.evaluation.reader_study.answers import SCHEMA as ANSWERS_SCHEMA
from SSRKDCore.evaluation.reader_study.radiograph_pictures import RADIOGRAPHS
from SSRKDCore.evaluation.reader_study.viewpoints import VIEWPOINTS

PAGE_FILE = "questionnaire.html"
_SCRIPTS = ("sha256.js", "answers.js", "page.js")


@dataclass(frozen=True)
class PageItem:
    """One model to grade.

    Attributes
    ----------
    code: what the answers call it.
    side: "right" or "left".
    bones: the bones to grade.
    radiographs: PNG files, AP and lateral.
    views: PNG files, in the order of VIEWPOINTS.
    """

    code: str
    side: str
    bones: Sequence[str]
    radiographs: Sequence[bytes]
    views: Sequence[bytes]


def page_html(study: str, reader: str, items: Sequence[PageItem], wording: Mapping[str, Any]) -> str:
    """The page of one reader: text, style, script and pictures in one piece."""
    pictures: dict[str, str] = {}
    content = {
        "study": study,
        "reader": reader,
        "answers_schema": ANSWERS_SCHEMA,
        "radiograph_names": list(RADIOGRAPHS),
        "view_names": list(VIEWPOINTS),
        "wording": {
            "scales": wording["scales"],
            "introduction": wording["introduction"],
            "interface": wording["interface"],
        },
        "items": [
            {
                "code": item.code,
                "side": item.side,
                "bones": list(item.bones),
                "radiographs": [_named(pictures, picture) for picture in item.radiographs],
                "views": [_address(picture) for picture in item.views],
            }
            for item in items
        ],
        "pictures": pictures,
    }
    folder = files(__package__)
    parts = {
        "title": html.escape(wording["title"]),
        "language": html.escape(wording["language"]),
        "style": (folder / "page.css").read_text(encoding="utf-8"),
        "script": "\n".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS),
        # A closing tag inside a text would end the script element.
        "study": json.dumps(content, ensure_ascii=False).replace("<", "\\u003c"),
    }
    page = (folder / "page.html").read_text(encoding="utf-8")
    for name, text in parts.items():
        page = page.replace("{{" + name + "}}", text)
    return page


def _named(pictures: dict[str, str], picture: bytes) -> str:
    """The name under which a picture stands in `pictures`: both versions of a case share their radiographs."""
    address = _address(picture)
    for name, known in pictures.items():
        if known == address:
            return name
    name = f"picture{len(pictures) + 1}"
    pictures[name] = address
    return name


def _address(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
