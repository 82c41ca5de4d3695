"""The engine's planning as one job: landmarks and measurements, an osteotomy, a guide, as far as they are wanted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from .bones_owner import belongTo, fitsStill, isOf
from .engine_job import EngineJob, Step
from .engine_process import EngineProcess
from .hierarchy import folderOf, newFolder, remove
from .parameters import Osteotomy, Target
from .problems import Problem
from .scene_landmarks import givenLandmarks, placeLandmarks, planningFolderName
from .scene_plan import cutPlane, placeGuide, placePlan, planParts
from .segments import bonesOf, legOf, writeSurfaces


@dataclass(frozen=True)
class PlanNodes:
    """What stands in the scene of a plan; each None where it does not yet."""

    landmarks: Any = None
    measurements: Any = None
    plane: Any = None
    table: Any = None


@dataclass(frozen=True)
class OsteotomyChoices:
    """What is to be planned. value: in the target's unit. byHand: the cut is the plane as it was dragged."""

    osteotomy: Osteotomy = Osteotomy.OPENING
    target: Target = Target.FUJISAWA
    value: float = 62.5
    biplanar: bool = True
    byHand: bool = False


def planJob(
    segmentation: Any,
    side: str = "",
    nodes: PlanNodes | None = None,
    choices: OsteotomyChoices | None = None,
    guide: bool = False,
    measured: bool = False,
    processFactory: Callable[[], EngineProcess] = EngineProcess,
) -> EngineJob:
    """Find landmarks and measure; with `choices` plan an osteotomy, with `guide` make its guide. The value is PlanNodes.

    side: "right", "left" or "" (what the segmentation says). measured: the landmarks of `nodes` are those of these bones already, and only
    the plan is made anew. Landmarks that were moved by hand are kept.
    """
    nodes = nodes or PlanNodes()
    if segmentation is None:
        raise Problem(_("Choose the bones to plan on: reconstruct first, or choose a segmentation of the scene."))
    bones = bonesOf(segmentation)
    if choices is not None and "tibia" not in bones:
        raise Problem(
            _("{segmentation} has no segment named tibia: name the segments after the bones.").format(
                segmentation=segmentation.GetName()
            )
        )
    if not bones:
        raise Problem(
            _(
                "{segmentation} has no segment named femur, tibia, fibula or patella: name the segments after the "
                "bones."
            ).format(segmentation=segmentation.GetName())
        )
    leg = _sideOf(segmentation, bones, side)
    # What was set by hand on other bones says nothing about these.
    outdated: list[Any] = []
    if nodes.landmarks is not None and not isOf(nodes.landmarks, segmentation):
        outdated = [node for node in (nodes.landmarks, nodes.plane, nodes.table) if node is not None]
        outdated += planParts(nodes.table).values()
        nodes = PlanNodes(measurements=nodes.measurements)
    given = givenLandmarks(nodes.landmarks)
    stood = None if nodes.plane is None else cutPlane(nodes.plane)
    cut = stood if choices is not None and choices.byHand else None
    if nodes.landmarks is not None and not fitsStill(nodes.landmarks, segmentation):
        if given or cut is not None:
            raise Problem(
                _(
                    "{segmentation} was moved or changed since its landmarks and cut were set by hand: undo that, or delete the list of "
                    "landmarks and the cut plane and set them anew."
                ).format(segmentation=segmentation.GetName())
            )
        measured = False

    def prepare(folder: Path) -> None:
        writeSurfaces(segmentation, bones, folder / "bones")
        content = {"schema": "ssrkd-landmarks/1", "frame": "LPS", "unit": "mm", "side": leg, "landmarks": given}
        (folder / "landmarks.json").write_text(json.dumps(content), encoding="utf-8")

    def common(folder: Path, out: str) -> list[str]:
        words = [str(folder / "bones"), f"--side={leg}", f"--out={folder / out}", "--no-pictures"]
        return [*words, f"--landmarks={folder / 'landmarks.json'}"] if given else words

    def measure(folder: Path) -> list[str]:
        return ["measure", *common(folder, "measured")]

    def plan(folder: Path) -> list[str]:
        assert choices is not None
        words = ["plan-hto", *common(folder, "plan"), f"--type={choices.osteotomy.value}"]
        words.append(f"{choices.target.option}={choices.value}")
        words += [] if choices.biplanar else ["--uniplanar"]
        return words if cut is None else [*words, "--cut-plane", *(f"{value:.6f}" for value in cut)]

    def makeGuide(folder: Path) -> list[str]:
        return ["guide", str(folder / "plan"), f"--out={folder / 'guide'}", "--no-pictures"]

    def place(folder: Path, results: list[dict[str, Any]]) -> PlanNodes:
        item = _planningFolder(segmentation, nodes)
        answers = dict(zip(names, results, strict=True))
        landmarks, measurements = nodes.landmarks, nodes.measurements
        if "measure" in answers:
            landmarks, measurements = placeLandmarks(landmarks, measurements, answers["measure"], item, given)
            belongTo(landmarks, segmentation)
        plane, table = nodes.plane, nodes.table
        if "plan" in answers:
            plane, table = placePlan(
                folder / "plan",
                answers["plan"],
                segmentation,
                landmarks,
                plane,
                table,
                stood,
                cut is not None,
                item,
            )
        if "guide" in answers:
            placeGuide(folder / "guide", table, item)
        for node in outdated:
            if slicer.mrmlScene.IsNodePresent(node):
                remove(node)
        return PlanNodes(landmarks, measurements, plane, table)

    steps = {} if measured and nodes.landmarks is not None else {"measure": Step(measure, 0.2)}
    steps |= {"plan": Step(plan, 0.2)} if choices is not None else {}
    steps |= {"guide": Step(makeGuide, 0.6)} if guide and choices is not None else {}
    names = list(steps)
    needed = [(_("The segmentation"), segmentation)]
    known = [(_("The list of landmarks"), nodes.landmarks), (_("The cut plane"), nodes.plane)]
    known += [(_("The table of measurements"), nodes.measurements), (_("The table of the plan"), nodes.table)]
    needed += [(name, node) for name, node in known if node is not None]
    return EngineJob(list(steps.values()), place, needed, processFactory, prepare)


def _planningFolder(segmentation: Any, nodes: PlanNodes) -> int:
    """The folder that the landmarks or the measurements lie in, else a new one beside the bones."""
    known = [node for node in (nodes.landmarks, nodes.measurements) if node is not None]
    found = folderOf(known[0]) if known else None
    return newFolder(planningFolderName(), folderOf(segmentation)) if found is None else found


def _sideOf(segmentation: Any, bones: dict[str, str], side: str) -> str:
    stated = next((found for identifier in bones.values() if (found := legOf(segmentation, identifier))), "")
    if not (side or stated):
        raise Problem(_("Choose the side in section 1: the segmentation does not say which leg it is."))
    if side and stated and side != stated:
        raise Problem(
            _("{segmentation} is of the other leg than the side chosen in section 1: correct the side.").format(
                segmentation=segmentation.GetName()
            )
        )
    return side or stated
