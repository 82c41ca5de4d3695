"""Panel section 2: one button."""

from __future__ import annotations

from html import escape
from typing import Any

import qt
from slicer.i18n import tr as _

from . import layouts
from .jobs import reconstructJob
from .parameters import BoneColors
from .reconstruction_doubts import changesOf, choiceChanged, geometryChanged
from .scene_bones import hideEdgesWithoutBones, isMadeFrom, showOnly
from .scene_uncertainty import colorBones, hasUncertainty
from .texts import REPORT, attachedJson, warningLine
from .trust_light import lightInWords


class ReconstructSection:
    """Connects the widgets of the section; `panel` runs the jobs."""

    def __init__(self, panel: Any) -> None:
        self._panel = panel
        self._ui = panel.ui
        self._colored: tuple[Any, ...] | None = None
        self._bones = ""
        self._ui.boneColorsComboBox.connect("activated(int)", self._onColors)
        self._ui.modelButton.connect("clicked(bool)", self._onModel)
        self._ui.reconstructButton.connect("clicked(bool)", self._onReconstruct)

    def update(self, idle: bool) -> None:
        """Enable what can be used now."""
        node = self._panel.parameterNode
        chosen = node is not None and node.apVolume is not None and node.lateralVolume is not None
        self._ui.reconstructButton.enabled = idle and chosen
        self._ui.reconstructButton.toolTip = (
            _("Reconstruct femur, tibia, fibula and patella.")
            if chosen
            else _("Choose an AP and a lateral radiograph first.")
        )

        # From the scene, so that a reopened one says it too.
        report = None if node is None else attachedJson(node.reconstruction, REPORT)
        self._ui.reconstructionLabel.text = "" if report is None else resultInWords(report)
        lines: list[str] = []
        if report is not None:
            outdated = [choiceChanged(node) if chosen else "", *changesOf(node.reconstruction)]
            lines = [*(warningLine(words) for words in outdated if words), lightInWords(report)]
        self._ui.trustLabel.text = "<br>".join(lines)
        self._showChosen()
        hideEdgesWithoutBones()
        self._updateColors()

    def _showChosen(self) -> None:
        """When others of the bones of these radiographs are chosen, they are the ones to be seen."""
        node = self._panel.parameterNode
        bones = None if node is None else node.reconstruction
        before, self._bones = self._bones, "" if bones is None else bones.GetID()
        if not before or bones is None or self._bones == before:
            return
        if isMadeFrom(bones, node.apVolume, node.lateralVolume) and not geometryChanged(bones):
            showOnly(bones)

    def _updateColors(self) -> None:
        """Colour the bones as the parameter node says, when that or the bones have changed."""
        node = self._panel.parameterNode
        bones = None if node is None else node.reconstruction
        known = hasUncertainty(bones)
        self._ui.boneColorsComboBox.enabled = self._ui.boneColorsRangeSpinBox.enabled = known
        if node is None:
            return
        # Bones that are hidden have no colours in their place.
        seen = bones is not None and bones.GetDisplayNode() is not None and bool(bones.GetDisplayNode().GetVisibility())
        state = (node.boneColors, node.boneColorsRange, None if bones is None else bones.GetID(), known, seen)
        if state != self._colored:
            self._colored = state
            colorBones(bones, node.boneColors if seen else BoneColors.PLAIN, node.boneColorsRange)

    def _onColors(self, *_arguments: Any) -> None:
        """The view in which the colours are seen comes up when the user chooses them."""
        if self._panel.parameterNode is not None and self._panel.parameterNode.boneColors is not BoneColors.PLAIN:
            layouts.show(layouts.RADIOGRAPHS_LAYOUT)
            self._colored = None
            self._updateColors()

    def forget(self) -> None:
        """Say nothing about a result that is gone."""
        self._ui.reconstructionLabel.text = ""
        self._ui.trustLabel.text = ""
        self._colored, self._bones = None, ""

    def _onModel(self, *_arguments: Any) -> None:
        path = qt.QFileDialog.getExistingDirectory(self._panel.window, _("Model folder"), "")
        if path:
            self._panel.parameterNode.modelFolder = path

    def _onReconstruct(self, *_arguments: Any) -> None:
        if not self._panel.hasPackages():
            return
        node = self._panel.parameterNode
        self._panel.run(
            lambda: reconstructJob(
                node.apVolume,
                node.lateralVolume,
                node.side.value,
                node.geometry,
                node.rigFile,
                node.modelFolder,
                node.resolution.value,
                node.device,
                refine=node.refine,
                prepare=node.prepare,
            ),
            self._done,
        )

    def _done(self, segmentation: Any) -> None:
        node = self._panel.parameterNode
        node.reconstruction = segmentation
        node.exported = segmentation
        node.planned = segmentation
        self._panel.tell(
            _("Reconstructed. The coloured lines are the edges of the bones, projected onto the radiographs.")
        )


def resultInWords(report: dict[str, Any]) -> str:
    """Volumes, warnings and limits of a reconstruction as HTML."""
    bones = [
        _("{bone} {volume:.1f} cm\u00b3").format(bone=name.capitalize(), volume=row["volume_mm3"] / 1000)
        if row["found"]
        else _("{bone} not found").format(bone=name.capitalize())
        for name, row in report.get("bones", {}).items()
    ]
    lines = [escape(", ".join(bones) + ".")] if bones else []
    lines += [warningLine(line) for line in report.get("warnings", [])]
    lines.append(escape(report.get("limits", "")))
    return "<br>".join(lines)
