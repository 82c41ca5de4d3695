"""Panel section 1: which radiographs, which side, which geometry, and what was understood."""

from __future__ import annotations

from html import escape
from typing import Any

import qt
from slicer.i18n import tr as _

from .dependencies import missingPackages
from .jobs import inspectJob, loadJob
from .pair_choices import pairChoices
from .panel_calibration import CalibrationPart
from .panel_position import PositionPart
from .parameters import Geometry, Side
from .patient import readPatient
from .problems import Problem
from .radiograph_sources import VIEW_NAMES
from .sample_data import loadSample
from .scene_radiographs import understoodInWords
from .texts import warningLine

_FILES = "Radiographs (*);;DICOM (*.dcm);;Images (*.png *.tif *.tiff *.jpg *.jpeg *.nrrd *.nii *.nii.gz *.mha)"


class RadiographsSection:
    """Connects the widgets of the section; `panel` runs the jobs."""

    def __init__(self, panel: Any) -> None:
        self._panel = panel
        self._ui = panel.ui
        self._calibration = CalibrationPart(panel, self._onInspect)
        self._position = PositionPart(panel, self._onInspect)
        self._understood: tuple[Any, ...] | None = None
        self._ui.loadApButton.connect("clicked(bool)", lambda *_: self._onLoad("ap"))
        self._ui.loadLateralButton.connect("clicked(bool)", lambda *_: self._onLoad("lateral"))
        self._ui.rigFileButton.connect("clicked(bool)", self._onRigFile)
        self._ui.inspectButton.connect("clicked(bool)", self._onInspect)
        self._ui.sampleButton.connect("clicked(bool)", self._onSample)

    def update(self, idle: bool) -> None:
        """Enable what can be used now."""
        self._calibration.update(idle)
        self._position.update(idle)
        node = self._panel.parameterNode
        usesFile = node is not None and node.geometry is Geometry.RIG_FILE
        self._ui.rigFileEdit.enabled = self._ui.rigFileButton.enabled = usesFile
        chosen = node is not None and node.apVolume is not None and node.lateralVolume is not None
        self._ui.inspectButton.enabled = idle and chosen
        for button in (self._ui.loadApButton, self._ui.loadLateralButton, self._ui.sampleButton):
            button.enabled = idle
        if node is not None and self._understood != pairChoices(node):
            self._ui.understoodLabel.text = ""

    def forget(self) -> None:
        """Say nothing about radiographs that are gone."""
        self._ui.understoodLabel.text = ""
        self._calibration.forget()
        self._position.forget()

    def _onLoad(self, view: str) -> None:
        if not self._panel.canRead():
            return
        path = qt.QFileDialog.getOpenFileName(
            self._panel.window, _("Load the {view} radiograph").format(view=VIEW_NAMES[view]), "", _FILES
        )
        if path:
            self._panel.run(lambda: loadJob(path, view), lambda node: self._loaded(node, view))

    def _loaded(self, node: Any, view: str) -> None:
        if view == "ap":
            self._panel.parameterNode.apVolume = node
        else:
            self._panel.parameterNode.lateralVolume = node
        if self._panel.parameterNode.apVolume is not None and self._panel.parameterNode.lateralVolume is not None:
            self._onInspect()

    def _onRigFile(self, *_arguments: Any) -> None:
        path = qt.QFileDialog.getOpenFileName(self._panel.window, _("Rig file"), "", "Rig (*.json)")
        if path:
            self._panel.parameterNode.rigFile = path

    def _onInspect(self, *_arguments: Any) -> None:
        if not self._panel.canRead():
            return
        node = self._panel.parameterNode
        asked = pairChoices(node)
        self._panel.run(
            lambda: inspectJob(node.apVolume, node.lateralVolume, node.side.value, node.geometry, node.rigFile),
            lambda report: self.tell(report, asked),
        )

    def _onSample(self, *_arguments: Any) -> None:
        if not self._panel.canRead():
            return
        self._ui.sampleButton.enabled = False  # Events go on meanwhile.
        self._panel.tell(_("Loading the sample\u2026"))
        try:
            nodes = loadSample(place=False)
        except Problem as problem:
            self._panel.tellProblem(problem)
            return
        finally:
            self._ui.sampleButton.enabled = True
        if self._panel.parameterNode is None:
            # Another module was opened meanwhile.
            self._panel.initializeParameterNode()
        node = self._panel.parameterNode
        node.geometry, node.side = Geometry.FILES, Side.FILES
        node.apVolume, node.lateralVolume, node.reference = nodes["ap"], nodes["lateral"], nodes["reference"]
        self._onInspect()

    def tell(self, report: dict[str, Any], asked: tuple[Any, ...]) -> None:
        """What the engine understood of `asked`, with its warnings."""
        lines = [escape(line) for line in understoodInWords(report)]
        lines += [warningLine(line) for line in report["warnings"]]
        self._understood = asked
        still = asked == pairChoices(self._panel.parameterNode)
        self._ui.understoodLabel.text = "<br>".join(lines) if still else ""
        if still:
            readPatient(self._panel.parameterNode, report.get("patient_id") or "")
        self._panel.tell(
            "" if not missingPackages() else _("Packages that the engine needs are installed when you reconstruct.")
        )
