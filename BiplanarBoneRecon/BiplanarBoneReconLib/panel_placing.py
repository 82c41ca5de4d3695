"""Panel section 4, lower part: the landmarks that a plan still needs, each with its place in words and a button."""

from __future__ import annotations

from html import escape
from typing import Any

from slicer.i18n import tr as _

from .bones_owner import isOf
from .landmark_places import PLACEABLE, missingForPlan, reasonOf, startPlacing, whereInWords
from .segments import bonesOf


class PlacingSection:
    """Connects a label and a button a landmark; both are seen only while it is missing."""

    def __init__(self, panel: Any) -> None:
        self._panel = panel
        self._rows = {}
        for name in PLACEABLE:
            words = "".join(word.capitalize() for word in name.split("_"))
            self._rows[name] = (getattr(panel.ui, f"where{words}Label"), getattr(panel.ui, f"place{words}Button"))
            self._rows[name][1].connect("clicked(bool)", lambda *_arguments, chosen=name: self._onPlace(chosen))
        self.forget()

    def update(self, idle: bool) -> None:
        """Show what is missing for the target that is chosen."""
        node = self._panel.parameterNode
        own = node is not None and isOf(node.landmarks, node.planned)
        missing = missingForPlan(node.landmarks, node.target) if own else []
        for name, (label, button) in self._rows.items():
            shown = name in missing
            label.visible = button.visible = shown
            button.enabled = shown and idle
            label.text = self._words(node.landmarks, name) if shown else ""

    def forget(self) -> None:
        """Ask for nothing of a scene that is gone."""
        for label, button in self._rows.values():
            label.visible = button.visible = False

    @staticmethod
    def _words(landmarks: Any, name: str) -> str:
        reason = reasonOf(landmarks, name)
        return escape(whereInWords(name)) + (f" <i>({escape(reason)})</i>" if reason else "")

    def _onPlace(self, name: str) -> None:
        node = self._panel.parameterNode
        tibia = bonesOf(node.planned).get("tibia", "") if node.planned is not None else ""
        startPlacing(node.landmarks, name, node.planned, tibia)
        self._panel.tell(_("Click in a view: {where}").format(where=escape(whereInWords(name))))
