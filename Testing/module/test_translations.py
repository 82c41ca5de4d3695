"""Every sentence of the panel goes through Slicer's translations, in the form that their tools can collect."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

#: Calls whose first (dialogues: second) argument the user reads, and properties that they read.
_TOLD = {"Problem": 0, "Cancelled": 0, "tell": 0}
_TOLD |= dict.fromkeys(("getOpenFileName", "getSaveFileName", "getExistingDirectory"), 1)
_SHOWN = {"text", "toolTip", "title", "helpText"}


def _trees(repository: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((repository / "BiplanarBoneRecon").rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "id", getattr(node.func, "attr", "")), node


def _untranslated(value: ast.expr) -> bool:
    """Whether an expression is a text with words in it that is not translated."""
    if isinstance(value, ast.IfExp):
        return _untranslated(value.body) or _untranslated(value.orelse)
    if isinstance(value, ast.JoinedStr):
        return any(_untranslated(part) for part in value.values if isinstance(part, ast.Constant))
    words = (
        re.sub(r"<[^>]*>", "", value.value) if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
    )
    return bool(re.search("[A-Za-z]", words))


def test_what_the_user_reads_is_translated(repository: Path) -> None:
    for path, tree in _trees(repository):
        for name, call in _calls(tree):
            if name in _TOLD and len(call.args) > _TOLD[name]:
                assert not _untranslated(call.args[_TOLD[name]]), f"{path.name}:{call.lineno}"
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "attr", "") in _SHOWN:
                assert not _untranslated(node.value), f"{path.name}:{node.lineno}"


def test_texts_are_whole_and_their_gaps_are_named(repository: Path) -> None:
    """Collected from the source, so no f-string; moved about by a translator, so every gap has a name, and a value."""
    count = 0
    for path, tree in _trees(repository):
        formats = {
            id(call.func.value): {keyword.arg for keyword in call.keywords}
            for name, call in _calls(tree)
            if name == "format" and isinstance(call.func, ast.Attribute)
        }
        for name, call in _calls(tree):
            if name != "_":
                continue
            (text,) = call.args
            where = f"{path.name}:{call.lineno}"
            assert isinstance(text, ast.Constant) and isinstance(text.value, str), where
            gaps = set(re.findall(r"{([^}:]*)[^}]*}", text.value))
            assert all(gap.isidentifier() for gap in gaps), where
            if id(call) in formats:
                assert gaps == formats[id(call)], where
            count += 1
    assert count > 100


def test_a_translated_message_is_what_the_user_reads(slicer_host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from BiplanarBoneReconLib import radiograph_sources

    from BiplanarBoneRecon import BiplanarBoneReconLogic, Problem

    words = {
        "Choose the {view} radiograph first: from the scene, or with its Load button.": "{view}-R\u00f6ntgenbild w\u00e4hlen."
    }
    monkeypatch.setattr(radiograph_sources, "_", lambda text: words[text])
    with pytest.raises(Problem, match="AP-R\u00f6ntgenbild w\u00e4hlen"):
        BiplanarBoneReconLogic().reconstruct(None, None)
