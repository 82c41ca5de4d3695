"""Part of panel section 1: a ball or ruler of known size says how much a radiograph is magnified."""

from __future__ import annotations

from html import escape
from typing import Any

from slicer.i18n import tr as _

from .calibration_jobs import acceptTargetJob, measureTargetJob
from .calibration_targets import chosenTarget
from .parameters import CalibrationTarget, Geometry
from .texts import warningLine

#: Of what spin boxes and the engine's reports round.
_SAME_SIZE_MM = 0.005


class CalibrationPart:
    """Connects the widgets; `panel` runs the jobs, `onRig` is called when the rig has changed."""

    def __init__(self, panel: Any, onRig: Any) -> None:
        self._panel, self._ui, self._onRig = panel, panel.ui, onRig
        self._ui.detectTargetButton.connect("clicked(bool)", self._onDetect)
        self._ui.acceptTargetButton.connect("clicked(bool)", self._onAccept)

    def update(self, idle: bool) -> None:
        """Enable what can be used now, and say what was measured."""
        node = self._panel.parameterNode
        pair = () if node is None else (node.apVolume, node.lateralVolume)
        radiograph = None if node is None else self._radiograph(node)
        target = None if radiograph is None else chosenTarget(node)
        report = {} if target is None else target.report(radiograph)
        if node is not None:
            self._ui.calibrationSizeStack.currentIndex = list(CalibrationTarget).index(node.calibrationTarget)
        self._ui.detectTargetButton.enabled = idle and radiograph is not None
        # What was measured with another size would be accepted as if it were of this one.
        measuredWith = target.found(radiograph).size if target is not None and report else None
        sameSize = measuredWith is None or abs(measuredWith - target.size) < _SAME_SIZE_MM
        self._ui.acceptTargetButton.enabled = idle and bool(report) and sameSize and None not in pair
        self._ui.targetOffsetSpinBox.enabled = node is not None and node.calibrationOffsetKnown
        lines = [escape(line) for line in target.inWords(radiograph)] if target is not None and report else []
        lines += [warningLine(line) for line in report.get("warnings", [])]
        if not sameSize:
            words = _("This was measured with a size of {size:g} mm, and another one is entered: press Detect.")
            lines.append(warningLine(words.format(size=measuredWith)))
        self._ui.calibrationLabel.text = "<br>".join(lines)

    def forget(self) -> None:
        """Say nothing about a target that is gone."""
        self._ui.calibrationLabel.text = ""

    @staticmethod
    def _radiograph(node: Any) -> Any:
        return node.apVolume if node.calibrationView.value == "ap" else node.lateralVolume

    def _onDetect(self, *_arguments: Any) -> None:
        node = self._panel.parameterNode
        target, radiograph = chosenTarget(node), self._radiograph(node)
        missing = "" if radiograph is None else target.toPlace(radiograph)
        if missing:
            target.prepare(radiograph)
            self._panel.tell(missing)
            return
        if not self._panel.canRead():
            return
        self._panel.run(lambda: measureTargetJob(radiograph, target), self._detected)

    def _detected(self, report: dict[str, Any]) -> None:
        self._panel.update()
        if self._panel.parameterNode.calibrationTarget is CalibrationTarget.BALL:
            self._panel.tell(_("Is it the ball? Press Accept; or drag the point onto it and press Detect again."))
        else:
            self._panel.tell(
                _("Does the line lie along the ruler? Press Accept; or drag its ends and press Detect again.")
            )

    def _onAccept(self, *_arguments: Any) -> None:
        if not self._panel.canRead():
            return
        node = self._panel.parameterNode
        self._panel.run(
            lambda: acceptTargetJob(
                node.apVolume,
                node.lateralVolume,
                chosenTarget(node),
                node.side.value,
                node.calibrationOffset if node.calibrationOffsetKnown else None,
            ),
            self._accepted,
        )

    def _accepted(self, report: dict[str, Any]) -> None:
        self._panel.parameterNode.geometry = Geometry.SCENE
        self._panel.update()
        self._onRig()
