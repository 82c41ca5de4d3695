"""Part of panel section 1: a ball of known size says how much a radiograph is magnified."""

from __future__ import annotations

from html import escape
from typing import Any

from slicer.i18n import tr as _

from .calibration_jobs import acceptBallJob, detectBallJob
from .parameters import Geometry
from .scene_calibration import ballInWords, ballReport
from .texts import warningLine


class CalibrationPart:
    """Connects the widgets; `panel` runs the jobs, `onRig` is called when the rig has changed."""

    def __init__(self, panel: Any, onRig: Any) -> None:
        self._panel, self._ui, self._onRig = panel, panel.ui, onRig
        self._ui.detectBallButton.connect("clicked(bool)", self._onDetect)
        self._ui.acceptBallButton.connect("clicked(bool)", self._onAccept)

    def update(self, idle: bool) -> None:
        """Enable what can be used now, and say what was measured."""
        node = self._panel.parameterNode
        pair = () if node is None else (node.apVolume, node.lateralVolume)
        report = {} if node is None else ballReport(node.ballView.value)
        self._ui.detectBallButton.enabled = idle and node is not None and self._radiograph(node) is not None
        self._ui.acceptBallButton.enabled = idle and bool(report) and None not in pair
        self._ui.ballOffsetSpinBox.enabled = node is not None and node.ballOffsetKnown
        lines = [escape(line) for line in ballInWords(report)] if report else []
        lines += [warningLine(line) for line in report.get("warnings", [])]
        self._ui.calibrationLabel.text = "<br>".join(lines)

    def forget(self) -> None:
        """Say nothing about a ball that is gone."""
        self._ui.calibrationLabel.text = ""

    @staticmethod
    def _radiograph(node: Any) -> Any:
        return node.apVolume if node.ballView.value == "ap" else node.lateralVolume

    def _onDetect(self, *_arguments: Any) -> None:
        node = self._panel.parameterNode
        self._panel.run(
            lambda: detectBallJob(self._radiograph(node), node.ballView.value, node.ballDiameter), self._detected
        )

    def _detected(self, report: dict[str, Any]) -> None:
        self._panel.update()
        self._panel.tell(_("Is it the ball? Press Accept; or drag the point onto it and press Detect ball again."))

    def _onAccept(self, *_arguments: Any) -> None:
        node = self._panel.parameterNode
        self._panel.run(
            lambda: acceptBallJob(
                node.apVolume,
                node.lateralVolume,
                node.ballView.value,
                node.side.value,
                node.ballOffset if node.ballOffsetKnown else None,
            ),
            self._accepted,
        )

    def _accepted(self, report: dict[str, Any]) -> None:
        self._panel.parameterNode.geometry = Geometry.SCENE
        self._panel.update()
        self._onRig()
