"""Panel section 5: files for guide design."""

from __future__ import annotations

from html import escape
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from .dependencies import SURFACES
from .export_files import reportInWords
from .export_jobs import exportJob
from .patient import followPatient
from .reconstruction_doubts import doubtsOf, isRed
from .scene_plan import plannedModels, planOf, planParts
from .texts import warningLine


class ExportSection:
    """Connects the widgets of the section; `panel` runs the jobs."""

    def __init__(self, panel: Any) -> None:
        self._panel = panel
        self._ui = panel.ui
        self._told = ""
        self._ui.exportFolderButton.connect("clicked(bool)", self._onFolder)
        self._ui.checkMeshButton.connect("clicked(bool)", lambda *_: self._onExport(checkOnly=True))
        self._ui.exportButton.connect("clicked(bool)", lambda *_: self._onExport(checkOnly=False))

    def update(self, idle: bool) -> None:
        """Enable what can be used now."""
        node = self._panel.parameterNode
        chosen = node is not None and node.exported is not None
        if chosen:
            followPatient(node)
        self._ui.checkMeshButton.enabled = idle and chosen
        self._ui.exportButton.enabled = idle and chosen and bool(node.exportFolder.strip())
        self._ui.planCheckBox.enabled = chosen and bool(planParts(planOf(node.exported)))
        if node is not None and self._told != (node.exported.GetID() if chosen else ""):
            self._ui.exportLabel.text = ""
        self._ui.trianglesSpinBox.enabled = node is not None and node.limitTriangles

    def forget(self) -> None:
        """Say nothing about files of a scene that is gone."""
        self._ui.exportLabel.text = ""

    def _onFolder(self, *_arguments: Any) -> None:
        path = qt.QFileDialog.getExistingDirectory(self._panel.window, _("Folder to export to"), "")
        if path:
            self._panel.parameterNode.exportFolder = path

    def _onExport(self, checkOnly: bool) -> None:
        node = self._panel.parameterNode
        if not self._panel.hasPackages(only=SURFACES):
            return
        exported, red = node.exported.GetID(), isRed(node.exported)
        # What is said of files of before would stand beside a new error.
        self._ui.exportLabel.text = ""
        if red and not checkOnly:
            question = _("{doubts}\n\nExport all the same?").format(doubts="\n".join(doubtsOf(node.exported)))
            if not slicer.util.confirmOkCancelDisplay(question, "BiplanarBoneRecon"):
                return
        wanted = {"stl": node.exportStl, "obj": node.exportObj, "ply": node.exportPly}
        self._panel.run(
            lambda: exportJob(
                node.exported,
                node.exportFolder,
                [suffix for suffix, chosen in wanted.items() if chosen],
                node.exportFrame,
                node.triangles if node.limitTriangles else None,
                node.patientId,
                node.exportScene,
                checkOnly,
                models=plannedModels(node.exported) if node.exportPlan else None,
            ),
            lambda report: self._done(report, checkOnly, exported, red),
        )

    def _done(self, report: dict[str, Any], checkOnly: bool, exported: str, red: bool) -> None:
        self._told = exported
        where = (
            _("Nothing was written.")
            if checkOnly
            else _("Files in mm, {frame} axes: {folder}").format(frame=report["frame"], folder=escape(report["folder"]))
        )
        notes = "<br>".join(warningLine(note) for note in report["notes"])
        self._ui.exportLabel.text = f"{notes}{'<br>' if notes else ''}{where}{reportInWords(report)}"
        self._panel.update()
        unsound = [bone for bone, row in report["bones"].items() if row["check"]["problems"]]
        if unsound:
            self._panel.tell(
                _("<b>The mesh of the {bones} is not sound</b>; repair it before a guide is made.").format(
                    bones=escape(", ".join(unsound))
                )
            )
        elif red:
            self._panel.tell(
                _("<b>The traffic light of these bones is red: do not use them</b>, sound as their meshes are.")
            )
        else:
            self._panel.tell(_("All meshes are sound.") if checkOnly else _("Exported. All meshes are sound."))
