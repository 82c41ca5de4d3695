"""The engine's traffic light for a reconstruction, in words and colour."""

from __future__ import annotations

from html import escape
from typing import Any

from slicer.i18n import tr as _

#: Light of the report: its colour in the panel.
_COLOURS = {"green": "#2e8b3d", "amber": "#d98e04", "red": "#c62828"}


def lightInWords(report: dict[str, Any]) -> str:
    """The "trust" of a report.json with its reasons as HTML; "not assessed" where the model brings no assessment."""
    trust = report.get("trust") or {}
    light = trust.get("light")
    if light not in _COLOURS:
        words = [_("Trust: not assessed.")]
        return "<br>".join(escape(line) for line in [*words, *(str(reason) for reason in trust.get("reasons", []))])
    titles = {
        "green": _("Trust: green, nothing speaks against it."),
        "amber": _("Trust: amber, check it before you use it."),
        "red": _("Trust: red, do not use it."),
    }
    head = f"<span style='color:{_COLOURS[light]}; font-size:large'>\u25cf</span> <b>{escape(titles[light])}</b>"
    return "<br>".join([head, *(f"\u2022 {escape(str(reason))}" for reason in trust.get("reasons", []))])
