"""The guide of the present plan on the real bone, as one job of the engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from .bones_owner import isOf
from .engine_job import EngineJob, Step
from .engine_process import EngineProcess
from .hierarchy import folderOf
from .plan_jobs import PlanNodes
from .problems import Problem
from .scene_plan import planReport, whyOutdated
from .scene_simulation import placeSimulation
from .segments import bonesOf, legOf, writeSurfaces


def simulateJob(
    segmentation: Any,
    nodes: PlanNodes,
    reference: Any,
    starts: int = 30,
    samples: int = 60,
    processFactory: Callable[[], EngineProcess] = EngineProcess,
) -> EngineJob:
    """Make the guide of the plan that stands in the scene and seat it on a reference's tibia; the value is the engine's report.

    segmentation: the bones that were planned on. reference: a segmentation of the real bones, which may lie elsewhere: the planned tibia is
    laid onto it first. starts, samples: poses that the guide is pressed from, and printed guides of the Monte Carlo.
    """
    plan = planReport(nodes.table) if nodes.table is not None else {}
    if not plan or segmentation is None:
        raise Problem(_("There is no plan yet: press Plan first."))
    if not isOf(nodes.landmarks, segmentation) or not isOf(nodes.table, segmentation):
        raise Problem(
            _("The plan was made on other bones than {segmentation}: press Plan first.").format(
                segmentation=segmentation.GetName()
            )
        )
    if outdated := whyOutdated(nodes.table, segmentation):
        raise Problem(outdated)
    _planFolder(nodes.table)
    if reference is None:
        raise Problem(_("Choose the real bones, a segmentation made from the CT, to seat the guide on."))
    if reference.GetID() == segmentation.GetID():
        raise Problem(
            _(
                "{reference} is what the guide was planned on: choose the segmentation of the CT as the real bones."
            ).format(reference=reference.GetName())
        )
    own, real = bonesOf(segmentation), bonesOf(reference)
    for node, bones in ((segmentation, own), (reference, real)):
        if "tibia" not in bones:
            raise Problem(
                _("{segmentation} has no segment named tibia: name the segments after the bones.").format(
                    segmentation=node.GetName()
                )
            )
    stated = legOf(reference, real["tibia"])
    if stated and stated != plan["side"]:
        raise Problem(
            _("{reference} is of the other leg than the plan: choose bones of the same leg.").format(
                reference=reference.GetName()
            )
        )

    def prepare(folder: Path) -> None:
        writeSurfaces(segmentation, {"tibia": own["tibia"]}, folder / "plan")
        writeSurfaces(reference, {"tibia": real["tibia"]}, folder / "reference")
        content = plan | {"files": {"tibia": "tibia.ply"}}
        (folder / "plan" / "plan.json").write_text(json.dumps(content), encoding="utf-8")

    def makeGuide(folder: Path) -> list[str]:
        return ["guide", str(folder / "plan"), f"--out={folder / 'guide'}", "--no-pictures"]

    def seat(folder: Path) -> list[str]:
        words = ["simulate-guide", f"--guide={folder / 'guide'}", f"--reference={folder / 'reference'}"]
        words += [f"--reconstruction={folder / 'plan'}", f"--out={folder / 'simulation'}"]
        return [*words, f"--starts={starts}", f"--samples={samples}"]

    def place(folder: Path, results: list[dict[str, Any]]) -> dict[str, Any]:
        item = _planFolder(nodes.table)
        placeSimulation(folder / "simulation", folder / "guide", results[1], nodes.table, reference.GetName(), item)
        return results[1]

    needed = [(_("The segmentation"), segmentation), (_("The real bones"), reference)]
    needed.append((_("The table of the plan"), nodes.table))
    return EngineJob([Step(makeGuide, 0.2), Step(seat, 0.8)], place, needed, processFactory, prepare)


def _planFolder(table: Any) -> int:
    """The folder of the plan that a table belongs to. Raises Problem where somebody took the table out of it."""
    item = folderOf(table)
    if item is None:
        raise Problem(
            _("The plan's table was taken out of its folder, and results belong beside it: press Plan again.")
        )
    return item
