"""Panel section 4: landmarks, an osteotomy whose cut can be dragged, and its guide."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from . import layouts
from .bones_owner import isOf
from .debounce import Debounce
from .landmark_places import missingForPlan, whereInWords
from .parameters import BiplanarBoneReconParameterNode, Target
from .plan_jobs import OsteotomyChoices, PlanNodes, planJob
from .problems import Problem
from .reconstruction_doubts import doubtsOf
from .scene_landmarks import givenLandmarks, landmarkReport, wasCorrected
from .scene_plan import cutPlane, forgetDrag, planInWords, planParts, planReport, wasDragged, whyOutdated
from .segments import bonesOf
from .texts import warningLine

#: A drag is answered when the hand has been still for so long.
_STILL_MS = 350


class PlanSection:
    """Connects the widgets of the section; `panel` runs the jobs."""

    def __init__(self, panel: Any) -> None:
        self._panel = panel
        self._ui = panel.ui
        self._observed: list[tuple[Any, int]] = []
        self._followSoon = Debounce(self._follow, _STILL_MS)
        self._updateSoon = Debounce(panel.update, _STILL_MS)
        self._refused: tuple[Any, ...] | None = None
        self._byHand = False
        self._ui.measureButton.connect("clicked(bool)", lambda *_: self._run())
        self._ui.planButton.connect("clicked(bool)", lambda *_: self._run(plan=True))
        self._ui.guideButton.connect("clicked(bool)", lambda *_: self._run(plan=True, guide=True))
        self._ui.showPlanButton.connect("clicked(bool)", lambda *_: self._show())

    def update(self, idle: bool) -> None:
        """Enable what can be used now, and watch what can be dragged."""
        node, ui = self._panel.parameterNode, self._ui
        chosen = node is not None and node.planned is not None
        for button in (ui.measureButton, ui.planButton, ui.guideButton):
            button.enabled = idle and chosen
        ui.showPlanButton.enabled = node is not None and node.landmarks is not None
        ui.cutByHandCheckBox.enabled = node is not None and node.cutPlane is not None
        if node is not None:
            ui.targetStack.currentIndex = list(Target).index(node.target)
            if self._byHand and not node.cutByHand and node.cutPlane is not None:
                # The usual cut is wanted again, wherever the plane was dragged to.
                forgetDrag(node.cutPlane)
            self._byHand = node.cutByHand
        ui.planLabel.text = "" if node is None else resultsInWords(node)
        watched = () if node is None else (node.landmarks, node.cutPlane, node.planned)
        self._observe([item for item in watched if item is not None])
        if idle:
            self._onMoved()

    def forget(self) -> None:
        """Say nothing about a plan that is gone, and watch nothing of it."""
        self._followSoon.stop()
        self._updateSoon.stop()
        self._observe([])
        self._refused, self._byHand = None, False
        self._ui.planLabel.text = ""

    def _observe(self, nodes: list[Any]) -> None:
        if {id(node) for node, _tag in self._observed} == {id(node) for node in nodes}:
            return
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed = []
        for node in nodes:
            # Bones that are moved leave their plan behind.
            self._observed.append((node, node.AddObserver(node.TransformModifiedEvent, self._updateSoon)))
            if not node.IsA("vtkMRMLMarkupsNode"):
                continue
            for event in (node.PointModifiedEvent, vtk.vtkCommand.ModifiedEvent):
                self._observed.append((node, node.AddObserver(event, self._onMoved)))
            for event in (node.PointPositionDefinedEvent, node.PointPositionUndefinedEvent):
                self._observed.append((node, node.AddObserver(event, self._onPlaced)))

    def _onPlaced(self, caller: Any = None, event: Any = None) -> None:
        """What is still missing has changed; and what was placed has moved."""
        if not slicer.mrmlScene.IsClosing():
            self._panel.update()
        self._onMoved()

    def _onMoved(self, caller: Any = None, event: Any = None) -> None:
        node = self._panel.parameterNode
        if node is not None and node.followDrags and self._changes(node):
            self._followSoon()

    @staticmethod
    def _changes(node: BiplanarBoneReconParameterNode) -> bool:
        # Those of other bones than are chosen now are left as they are.
        return isOf(node.landmarks, node.planned) and (
            wasCorrected(node.landmarks) or (node.cutPlane is not None and wasDragged(node.cutPlane))
        )

    def _follow(self) -> None:
        """Work out again what hangs on what was moved; while the engine is at work, its end brings us back here."""
        node = self._panel.parameterNode
        if node is None or not self._panel.isIdle or slicer.mrmlScene.IsClosing() or not self._changes(node):
            return
        state = _movable(node)
        if state == self._refused:
            return
        self._run(plan=node.cutPlane is not None, following=True)

    def _run(
        self,
        plan: bool = False,
        guide: bool = False,
        following: bool = False,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Measure, with `plan` or `guide` more.

        following: something was moved, and nobody pressed a button. then: called when it is done.
        """
        node = self._panel.parameterNode
        if not following and not self._panel.hasPackages(planning=plan):
            return
        if plan and node.cutPlane is not None and wasDragged(node.cutPlane):
            node.cutByHand = True
        if plan and not following and not isOf(node.landmarks, node.planned):
            # Measured first: what the image does not show can then be placed, and the rest is not lost.
            self._run(then=lambda: self._run(plan, guide))
            return
        lacking = missingForPlan(node.landmarks, node.target) if plan and not following else []
        if lacking:
            self._panel.tellProblem(Problem(_missingInWords(lacking)))
            return
        state = _movable(node)
        choices = choicesOf(node) if plan else None
        onlyTheCut = following and not wasCorrected(node.landmarks)
        self._refused = None

        def refused(problem: Problem) -> None:
            # No dialogue while somebody drags: the sentence below the panel says it, until they move on.
            self._refused = state
            self._panel.tell(f"<b>{escape(str(problem))}</b>")

        self._panel.run(
            lambda: planJob(node.planned, node.side.value, nodesOf(node), choices, guide, onlyTheCut),
            lambda nodes: self._done(nodes, following, then),
            refused if following else None,
        )

    def _done(self, nodes: PlanNodes, following: bool, then: Callable[[], None] | None = None) -> None:
        node = self._panel.parameterNode
        if nodes.plane is None or node.cutPlane is None or nodes.plane.GetID() != node.cutPlane.GetID():
            node.cutByHand = False
        node.landmarks, node.measurements = nodes.landmarks, nodes.measurements
        node.cutPlane, node.planTable = nodes.plane, nodes.table
        self._panel.update()
        if not following:
            self._show()
        lacking = missingForPlan(nodes.landmarks, node.target)
        words = _("Drag a landmark or the cut plane: what hangs on it follows.")
        if lacking:
            words = _("Before a plan, {count} landmarks are to be placed: see the buttons of section 4.").format(
                count=len(lacking)
            )
        self._panel.tell(words)
        if then is not None:
            then()

    def _show(self) -> None:
        node = self._panel.parameterNode
        planned = isOf(node.planTable, node.planned) and planParts(node.planTable)
        tibia = bonesOf(node.planned).get("tibia") if planned else None
        layouts.showPlan(node.planned, node.measurements, node.planTable, [tibia] if tibia else [])


def choicesOf(node: BiplanarBoneReconParameterNode) -> OsteotomyChoices:
    """What the panel asks for."""
    values = {Target.FUJISAWA: node.fujisawa, Target.HKA: node.hipKneeAnkle, Target.ANGLE: node.wedgeAngle}
    return OsteotomyChoices(node.osteotomy, node.target, values[node.target], node.biplanar, node.cutByHand)


def nodesOf(node: BiplanarBoneReconParameterNode) -> PlanNodes:
    """What stands in the scene already."""
    return PlanNodes(node.landmarks, node.measurements, node.cutPlane, node.planTable)


def _missingInWords(names: list[str]) -> str:
    places = "\n".join(f"- {whereInWords(name)}" for name in names)
    return _(
        "A plan for this target needs landmarks that the image does not show. Press Place for each in section 4:\n{places}"
    ).format(places=places)


def resultsInWords(node: BiplanarBoneReconParameterNode) -> str:
    """Measurements of the chosen bones that have a value, and their plan with its warnings, as HTML."""
    own = isOf(node.landmarks, node.planned)
    rows = landmarkReport(node.landmarks).get("measurements", {}).values() if own else ()
    # The limits of a ratio lie a tenth or two apart.
    known = [
        f"{row['name'].replace('_', ' ')} {row['value']:.{2 if row['unit'] == 'ratio' else 1}f} {row['unit']}"
        for row in rows
        if row["value"] is not None
    ]
    # Bone is cut along what stands here.
    lines = [warningLine(doubt) for doubt in doubtsOf(node.planned)] if known else []
    lines += [escape(", ".join(known))] if known else []
    plan = planReport(node.planTable) if isOf(node.planTable, node.planned) else {}
    if plan:
        if outdated := whyOutdated(node.planTable, node.planned):
            lines.append(warningLine(outdated))
        lines += [escape(line) for line in planInWords(plan)]
        lines += [warningLine(warning["message"]) for warning in plan["warnings"]]
        if "guide" not in planParts(node.planTable):
            lines.append(escape(_("No guide for this plan yet.")))
    return "<br>".join(lines)


def _movable(node: BiplanarBoneReconParameterNode) -> tuple[Any, ...]:
    """What somebody can have dragged, to see whether it is what was refused already."""
    plane = () if node.cutPlane is None else tuple(round(value, 4) for value in cutPlane(node.cutPlane))
    given = {name: tuple(round(value, 3) for value in point) for name, point in givenLandmarks(node.landmarks).items()}
    return plane, tuple(sorted(given.items()))
