"""Part of panel section 1: two radiographs without a common frame, whose bones tell where the second one was taken."""

from __future__ import annotations

from html import escape
from typing import Any

from slicer.i18n import tr as _

from .pair_choices import pairChoices
from .parameters import Geometry
from .position_jobs import estimatePositionJob
from .position_words import assumedInWords, positionInWords, takenForGranted
from .problems import Problem
from .scene_position import PositionEstimate, acceptedPosition, acceptPosition
from .texts import warningLine


class PositionPart:
    """Connects the widgets; `panel` runs the jobs, `onRig` is called when the rig has changed."""

    def __init__(self, panel: Any, onRig: Any) -> None:
        self._panel, self._ui, self._onRig = panel, panel.ui, onRig
        # What was asked, and what the engine answered: not in the scene until it is accepted.
        self._asked: tuple[Any, ...] | None = None
        self._estimate: PositionEstimate | None = None
        self._ui.estimatePositionButton.connect("clicked(bool)", self._onEstimate)
        self._ui.acceptPositionButton.connect("clicked(bool)", self._onAccept)

    def update(self, idle: bool) -> None:
        """Enable what can be used now, and say what was estimated."""
        node = self._panel.parameterNode
        chosen = node is not None and node.apVolume is not None and node.lateralVolume is not None
        estimate = self._current()
        self._ui.estimatePositionButton.enabled = idle and chosen
        self._ui.acceptPositionButton.enabled = idle and estimate is not None
        if estimate is not None:
            self._show(estimate.record, "")
            return
        accepted = acceptedPosition(node.apVolume, node.lateralVolume) if chosen else None
        if accepted is not None and node.geometry is Geometry.SCENE:
            self._show(accepted["record"], _("Accepted: the radiographs stand where this puts them."))
        else:
            self._show(None, "")

    def forget(self) -> None:
        """Say nothing about radiographs that are gone."""
        self._asked = self._estimate = None
        self._show(None, "")

    def _current(self) -> PositionEstimate | None:
        """The estimate, where it is one of what is chosen and stands there now."""
        node, estimate = self._panel.parameterNode, self._estimate
        if node is None or estimate is None or self._asked != pairChoices(node):
            return None
        return estimate if estimate.isOf(node.apVolume, node.lateralVolume) else None

    def _show(self, record: dict[str, Any] | None, state: str) -> None:
        lines: list[str] = []
        if record is not None:
            lines += [f"<b>{escape(state)}</b>"] if state else []
            lines += [f"\u2022 {escape(line)}" for line in [*positionInWords(record), *takenForGranted()]]
            lines += [warningLine(line) for line in record["warnings"]]
        self._ui.positionLabel.text = "<br>".join(lines)
        self._ui.positionLabel.toolTip = "" if record is None else "<br>".join(map(escape, assumedInWords(record)))

    def _onEstimate(self, *_arguments: Any) -> None:
        if not self._panel.hasPackages():
            return
        node = self._panel.parameterNode
        asked = pairChoices(node)
        self._panel.run(
            lambda: estimatePositionJob(
                node.apVolume,
                node.lateralVolume,
                node.side.value,
                node.geometry,
                node.rigFile,
                node.modelFolder,
                node.device,
                node.prepare,
            ),
            lambda estimate: self._estimated(estimate, asked),
        )

    def _estimated(self, estimate: PositionEstimate, asked: tuple[Any, ...]) -> None:
        self._asked, self._estimate = asked, estimate
        self._panel.update()
        if self._current() is None:
            self._panel.tell(
                _("The radiographs or their geometry were changed meanwhile: press Estimate its position again.")
            )
        else:
            self._panel.tell(
                _("Nothing was moved yet. Did the knee stay as it was between the exposures? Press Accept.")
            )

    def _onAccept(self, *_arguments: Any) -> None:
        if not self._panel.canRead():
            return
        node, estimate = self._panel.parameterNode, self._current()
        if estimate is None:
            return
        try:
            acceptPosition(node.apVolume, node.lateralVolume, estimate)
        except Problem as problem:
            self._panel.tellProblem(problem)
            return
        self._estimate = None
        node.geometry = Geometry.SCENE
        self._panel.update()
        self._onRig()
