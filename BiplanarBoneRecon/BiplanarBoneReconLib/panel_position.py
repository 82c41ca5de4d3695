"""Part of panel section 1: two radiographs without a common frame, whose bones tell where the second one was taken."""

from __future__ import annotations

from html import escape
from typing import Any

from slicer.i18n import tr as _

from .known_bones import checkKnownBones, knownNames
from .pair_choices import positionChoices
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
        self._ui.knownReferenceButton.connect("clicked(bool)", self._onReference)

    def update(self, idle: bool) -> None:
        """Enable what can be used now, and say what was estimated."""
        node = self._panel.parameterNode
        chosen = node is not None and node.apVolume is not None and node.lateralVolume is not None
        self._ui.knownReferenceButton.enabled = node is not None and node.reference is not None
        self._ui.knownBonesLabel.text = "" if node is None else self._bonesInWords()
        estimate = self._current()
        self._ui.estimatePositionButton.enabled = idle and chosen
        self._ui.acceptPositionButton.enabled = idle and estimate is not None
        if estimate is not None:
            self._show(estimate.record, estimate.bones, "")
            return
        accepted = acceptedPosition(node.apVolume, node.lateralVolume) if chosen else None
        if accepted is not None and node.geometry is Geometry.SCENE:
            state = _("Accepted: the radiographs stand where this puts them.")
            # Scenes of earlier versions do not name bones.
            self._show(accepted["record"], accepted.get("bones", ""), state)
        else:
            self._show(None, "", "")

    def forget(self) -> None:
        """Say nothing about radiographs that are gone."""
        self._asked = self._estimate = None
        self._ui.knownBonesLabel.text = ""
        self._show(None, "", "")

    def _bonesInWords(self) -> str:
        """Which bones are those of the chosen node, or why they cannot be."""
        node = self._panel.parameterNode
        if node.knownBones is None:
            return ""
        try:
            checkKnownBones(node.knownBones, node.side.value)
        except Problem as problem:
            return warningLine(str(problem))
        named = [f"{bone} ({name})" for bone, name in knownNames(node.knownBones).items()]
        return escape(_("Known: {bones}, where they stand in the scene.").format(bones=", ".join(named)))

    def _current(self) -> PositionEstimate | None:
        """The estimate, where it is one of what is chosen and stands there now."""
        node, estimate = self._panel.parameterNode, self._estimate
        if node is None or estimate is None or self._asked != positionChoices(node):
            return None
        return estimate if estimate.isOf(node.apVolume, node.lateralVolume) else None

    def _show(self, record: dict[str, Any] | None, bones: str, state: str) -> None:
        lines: list[str] = []
        if record is not None:
            lines += [f"<b>{escape(state)}</b>"] if state else []
            lines += [f"\u2022 {escape(line)}" for line in [*positionInWords(record, bones), *takenForGranted()]]
            lines += [warningLine(line) for line in record["warnings"]]
        self._ui.positionLabel.text = "<br>".join(lines)
        self._ui.positionLabel.toolTip = "" if record is None else "<br>".join(map(escape, assumedInWords(record)))

    def _onEstimate(self, *_arguments: Any) -> None:
        if not self._panel.hasPackages():
            return
        node = self._panel.parameterNode
        asked = positionChoices(node)
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
                node.turnKnownTo,
                node.shiftKnownTo,
                node.knownBones,
            ),
            lambda estimate: self._estimated(estimate, asked),
        )

    def _estimated(self, estimate: PositionEstimate, asked: tuple[Any, ...]) -> None:
        self._asked, self._estimate = asked, estimate
        self._panel.update()
        if self._current() is None:
            self._panel.tell(
                _(
                    "The radiographs, their geometry or what is known before were changed meanwhile: press Estimate its position again."
                )
            )
        else:
            self._panel.tell(
                _("Nothing was moved yet. Did the knee stay as it was between the exposures? Press Accept.")
            )

    def _onReference(self, *_arguments: Any) -> None:
        self._panel.parameterNode.knownBones = self._panel.parameterNode.reference

    def _onAccept(self, *_arguments: Any) -> None:
        if not self._panel.canRead():
            return
        node, estimate = self._panel.parameterNode, self._current()
        if estimate is None:
            # Bones that are moved, or a transform above them, tell the panel nothing.
            self._panel.update()
            self._panel.tell(_("What this was estimated from was changed since: press Estimate its position again."))
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
