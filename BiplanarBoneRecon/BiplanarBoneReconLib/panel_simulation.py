"""Panel section 4, last part: the guide of the plan on the real bone."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from .bones_owner import isOf
from .panel_plan import nodesOf
from .problems import Problem
from .scene_plan import planReport
from .scene_simulation import simulationInWords, simulationReport, writePage
from .simulation_jobs import simulateJob


class SimulationSection:
    """Connects the widgets of the part; `panel` runs the job."""

    def __init__(self, panel: Any) -> None:
        self._panel = panel
        self._ui = panel.ui
        self._offered = ""
        self._ui.simulateButton.connect("clicked(bool)", lambda *_: self._run())
        self._ui.simulationReportButton.connect("clicked(bool)", lambda *_: self._openPage())

    def update(self, idle: bool) -> None:
        """Enable what can be used now; offer the CT that is compared with as the real bones, once for each."""
        node = self._panel.parameterNode
        if node is not None and node.reference is not None and node.reference.GetID() != self._offered:
            self._offered = node.reference.GetID()
            if node.realBones is None:
                node.realBones = node.reference
        planned = node is not None and isOf(node.planTable, node.planned) and bool(planReport(node.planTable))
        self._ui.simulateButton.enabled = idle and planned and node.realBones is not None
        self._ui.simulationReportButton.enabled = planned and bool(simulationReport(node.planTable))
        self._ui.simulationLabel.text = "<br>".join(simulationInWords(node.planTable)) if planned else ""

    def forget(self) -> None:
        """Say nothing about a simulation that is gone."""
        self._ui.simulationLabel.text = ""
        self._offered = ""

    def _run(self) -> None:
        node = self._panel.parameterNode
        if not self._panel.hasPackages(planning=True):
            return
        self._panel.run(lambda: simulateJob(node.planned, nodesOf(node), node.realBones), self._done)

    def _done(self, report: dict[str, Any]) -> None:
        self._panel.tell(_("Simulated. The green guide lies where it would come to rest on the real bone."))

    def _openPage(self) -> None:
        try:
            path = writePage(self._panel.parameterNode.planTable, Path(slicer.app.temporaryPath))
        except Problem as problem:
            self._panel.tellProblem(problem)
            return
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))
        self._panel.tell(_("The report: {path}").format(path=escape(str(path))))
