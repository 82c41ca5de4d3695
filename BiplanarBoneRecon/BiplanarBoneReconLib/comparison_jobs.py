"""A reconstruction measured against a segmentation of a CT, as a job."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from .engine_job import EngineJob, Step
from .engine_process import EngineProcess
from .frames import isRigid, toWorld
from .parameters import Alignment
from .problems import Problem
from .reconstructed_shape import motionSince
from .reconstruction_doubts import shapeChanged
from .scene_comparison import addComparison, question
from .segments import bonesOf, legOf, writeSurfaces
from .texts import RIG, attachedJson

#: Mean distance of every bone beyond which two segmentations stand in different frames rather than differ in shape.
_ELSEWHERE_MM = 3.0


def compareJob(
    reconstruction: Any,
    reference: Any,
    matched: dict[str, str],
    alignment: Alignment = Alignment.NONE,
    processFactory: Callable[[], EngineProcess] = EngineProcess,
) -> EngineJob:
    """Measure a reconstruction against a reference; the value is the summary table.

    matched: segment ID of the reference by bone.
    """
    if reconstruction is None:
        raise Problem(_("Choose the reconstruction: reconstruct first, or choose a segmentation of the scene."))
    if reference is None:
        raise Problem(_("Choose the reference segmentation, made from the CT."))
    if reconstruction.GetID() == reference.GetID():
        raise Problem(
            _("{reference} is chosen as reconstruction and as reference: choose the segmentation of the CT.").format(
                reference=reference.GetName()
            )
        )
    own = bonesOf(reconstruction)
    pairs = {bone: segment for bone, segment in matched.items() if segment and bone in own}
    if not pairs:
        raise Problem(
            _(
                "No segment of {reference} is matched to a bone of {reconstruction}: choose the segments by hand."
            ).format(reference=reference.GetName(), reconstruction=reconstruction.GetName())
        )

    for bone, segment in pairs.items():
        legs = legOf(reconstruction, own[bone]), legOf(reference, segment)
        if all(legs) and legs[0] != legs[1]:
            raise Problem(
                _("{reconstruction} and {reference} are of different legs: choose bones of the same leg.").format(
                    reconstruction=reconstruction.GetName(), reference=reference.GetName()
                )
            )
    pair = {"reconstruction": reconstruction, "reference": reference}
    asked = question(pair, pairs, alignment.value)
    rig = attachedJson(reconstruction, RIG)
    # The field of view went with the bones when they were moved, and stands upright only in their own frame.
    hardened = motionSince(reconstruction)
    above = np.eye(4) if rig is None else toWorld(reconstruction)
    frame = above if above is None or rig is None or hardened is None else above @ hardened
    if frame is None or not isRigid(frame):
        raise Problem(
            _(
                "{reconstruction} is under a transform that bends, stretches or mirrors it, and its field of view cannot follow: "
                "take it out of that transform, and move the reference instead."
            ).format(reconstruction=reconstruction.GetName())
        )
    # Whoever has edited bones may have moved them too.
    hasFieldOfView = rig is not None and hardened is not None

    def prepare(folder: Path) -> None:
        fromWorld = np.linalg.inv(frame)
        writeSurfaces(reconstruction, {bone: own[bone] for bone in pairs}, folder / "reconstruction", fromWorld)
        writeSurfaces(reference, pairs, folder / "reference", fromWorld)

    def compare(folder: Path) -> list[str]:
        words = ["compare", str(folder / "reconstruction"), str(folder / "reference"), f"--out={folder / 'comparison'}"]
        words += ["--surfaces", "--no-pictures", f"--align={alignment.value}"]
        if not hasFieldOfView:
            return [*words, "--field-of-view=none"]
        (folder / "rig.json").write_text(json.dumps(rig), encoding="utf-8")
        return [*words, f"--field-of-view={folder / 'rig.json'}"]

    def place(folder: Path, results: list[dict[str, Any]]) -> Any:
        report = results[0]
        if not report["surfaces"]:
            reasons = "; ".join(f"{bone}: {row['failure']}" for bone, row in report["bones"].items())
            raise Problem(
                _("No bone could be measured ({reasons}): check that both segmentations show the same knee.").format(
                    reasons=reasons
                )
            )
        report["warnings"] = [*report.get("warnings", []), *_doubtsOfComparison(report, pair, alignment)]
        return addComparison(folder / "comparison", report, pair, asked, frame)

    nodes = [(_("The reconstruction"), reconstruction), (_("The reference"), reference)]
    return EngineJob([Step(compare)], place, nodes, processFactory, prepare)


def _doubtsOfComparison(report: dict[str, Any], pair: dict[str, Any], alignment: Alignment) -> list[str]:
    """Why figures are perhaps not those of the reconstruction, in sentences."""
    doubts = [words for node in pair.values() if (words := shapeChanged(node))]
    if motionSince(pair["reconstruction"]) is None:
        doubts.append(
            _(
                "It was compared without its field of view, which may not have gone with it: places where a bone is cut count too."
            )
        )
    measured = [row["exact_assd_mm"] for row in report["bones"].values() if not row.get("failure")]
    if alignment is Alignment.NONE and min(measured) > _ELSEWHERE_MM:
        doubts.append(
            _(
                "Every bone lies more than {limit:g} mm from the reference on average: {reference} may stand in another frame. Align the "
                "whole knee, or move the reference with a transform."
            ).format(limit=_ELSEWHERE_MM, reference=pair["reference"].GetName())
        )
    return doubts
