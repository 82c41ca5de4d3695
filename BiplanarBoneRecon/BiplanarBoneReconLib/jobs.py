"""The engine's work as jobs: what is run, and what becomes of it in the scene."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from . import layouts
from .engine_arguments import geometryInWords, pairArguments
from .engine_job import EngineJob, Step
from .engine_process import EngineProcess
from .export_files import exportFolder, saveScene
from .frames import isRigid, toWorld
from .hierarchy import folderOf, newFolder, put
from .parameters import Alignment, Device, Frame, Geometry
from .problems import Problem
from .radiograph_sources import VIEW_NAMES, checkPair
from .scene_bones import (
    OUTLINE_ATTRIBUTE,
    PATIENT_ATTRIBUTE,
    SIDE_ATTRIBUTE,
    addOutlines,
    addSegmentation,
    isMadeFrom,
    madeFrom,
    showEdgesOf,
)
from .scene_comparison import addComparison, question
from .scene_radiographs import addRadiograph, placeOnDetectors
from .scene_uncertainty import addUncertainty
from .segments import bonesOf, legOf, segmentIds, writeModel, writeSurfaces
from .texts import REPORT, RIG, attachedJson, attachJson

ProcessFactory = Callable[[], EngineProcess]


def loadJob(path: str, view: str, processFactory: ProcessFactory = EngineProcess) -> EngineJob:
    """Read a DICOM or image file as a radiograph; the value is its volume."""
    if not path.strip():
        raise Problem(_("Choose the file of the {view} radiograph.").format(view=VIEW_NAMES[view]))

    def place(folder: Path, results: list[dict[str, Any]]) -> Any:
        node = addRadiograph(folder / "radiographs" / f"{view}.nrrd", view, str(Path(path).resolve()))
        if results[0].get("patient_id"):
            node.SetAttribute(PATIENT_ATTRIBUTE, results[0]["patient_id"])
        return node

    step = Step(lambda folder: ["inspect", f"--{view}={path}", f"--out={folder / 'radiographs'}"])
    return EngineJob([step], place, processFactory=processFactory)


def inspectJob(
    ap: Any,
    lateral: Any,
    side: str = "",
    geometry: Geometry = Geometry.FILES,
    rigFile: str = "",
    processFactory: ProcessFactory = EngineProcess,
) -> EngineJob:
    """Say what is understood of a pair and stand it on its detectors; the value is the engine's report."""
    checkPair(ap, lateral)

    pair: list[str] = []

    def inspect(folder: Path) -> list[str]:
        pair[:] = pairArguments(ap, lateral, side, geometry, rigFile, folder)
        return ["inspect", *pair, f"--out={folder / 'radiographs'}"]

    def place(folder: Path, results: list[dict[str, Any]]) -> dict[str, Any]:
        report = {**results[0], "geometry": geometryInWords(pair)}
        placeOnDetectors({"ap": ap, "lateral": lateral}, report["rig"])
        if report.get("patient_id"):
            ap.SetAttribute(PATIENT_ATTRIBUTE, report["patient_id"])
        layouts.showRadiographs({"ap": ap, "lateral": lateral}, report["rig"])
        # Those of other bones, or of another geometry, lie beside the bones of these images.
        showEdgesOf(_bonesIn(ap, lateral, report["rig"]))
        return report

    return EngineJob([Step(inspect)], place, _pair(ap, lateral), processFactory)


def reconstructJob(
    ap: Any,
    lateral: Any,
    side: str = "",
    geometry: Geometry = Geometry.FILES,
    rigFile: str = "",
    modelFolder: str = "",
    resolution: int = 256,
    device: Device = Device.AUTO,
    processFactory: ProcessFactory = EngineProcess,
    refine: bool = True,
    prepare: bool = True,
) -> EngineJob:
    """Reconstruct the bones; the value is the segmentation node.

    refine: fit the model's shape prior. prepare: leave out collimators and fill letters in the images first.
    """
    checkPair(ap, lateral)

    def reconstruct(folder: Path) -> list[str]:
        words = ["reconstruct", *pairArguments(ap, lateral, side, geometry, rigFile, folder)]
        words += [f"--resolution={resolution}", f"--device={device.value}", f"--out={folder / 'result'}"]
        words += ["--refine" if refine else "--no-refine", "--prepare" if prepare else "--no-prepare"]
        return [*words, f"--model={modelFolder.strip()}"] if modelFolder.strip() else words

    def outlines(folder: Path) -> list[str]:
        report = json.loads((folder / "result" / "report.json").read_text(encoding="utf-8"))
        rig = folder / "rig.json"
        rig.write_text(json.dumps(report["rig"]), encoding="utf-8")
        return ["outlines", str(folder / "result"), f"--rig={rig}", f"--out={folder / 'outlines.json'}"]

    def place(folder: Path, results: list[dict[str, Any]]) -> Any:
        return _placeBones(folder, results[0], ap, lateral)

    return EngineJob([Step(reconstruct, 0.8), Step(outlines, 0.2)], place, _pair(ap, lateral), processFactory)


def compareJob(
    reconstruction: Any,
    reference: Any,
    matched: dict[str, str],
    alignment: Alignment = Alignment.NONE,
    processFactory: ProcessFactory = EngineProcess,
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
    frame = np.eye(4) if rig is None else toWorld(reconstruction)
    if frame is None or not isRigid(frame):
        raise Problem(
            _(
                "{reconstruction} is under a transform that bends, stretches or mirrors it, and its field of view cannot follow: "
                "take it out of that transform, and move the reference instead."
            ).format(reconstruction=reconstruction.GetName())
        )

    def prepare(folder: Path) -> None:
        fromWorld = np.linalg.inv(frame)
        writeSurfaces(reconstruction, {bone: own[bone] for bone in pairs}, folder / "reconstruction", fromWorld)
        writeSurfaces(reference, pairs, folder / "reference", fromWorld)

    def compare(folder: Path) -> list[str]:
        words = ["compare", str(folder / "reconstruction"), str(folder / "reference"), f"--out={folder / 'comparison'}"]
        words += ["--surfaces", "--no-pictures", f"--align={alignment.value}"]
        if rig is None:
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
        return addComparison(folder / "comparison", report, pair, asked, frame)

    nodes = [(_("The reconstruction"), reconstruction), (_("The reference"), reference)]
    return EngineJob([Step(compare)], place, nodes, processFactory, prepare)


def exportJob(
    segmentation: Any,
    parent: str,
    formats: Sequence[str],
    frame: Frame = Frame.LPS,
    triangles: int | None = None,
    patient: str = "",
    scene: bool = False,
    checkOnly: bool = False,
    processFactory: ProcessFactory = EngineProcess,
    models: dict[str, Any] | None = None,
) -> EngineJob:
    """Check the meshes and write files; the value is the engine's report with the key `folder`, where the files are.

    models: model nodes by the name that their files shall have, written beside the bones.
    """
    if segmentation is None:
        raise Problem(_("Choose the segmentation to export."))
    bones = bonesOf(segmentation)
    if not bones:
        raise Problem(
            _(
                "{segmentation} has no segment named femur, tibia, fibula or patella: name the segments after the "
                "bones."
            ).format(segmentation=segmentation.GetName())
        )
    if not checkOnly and not formats and not scene:
        raise Problem(_("Choose at least one format to export."))
    side = legOf(segmentation, next(iter(bones.values())))
    target = None if checkOnly else exportFolder(parent, patient, side, frame.value)

    def prepare(folder: Path) -> None:
        writeSurfaces(segmentation, bones, folder / "bones")
        for name, node in (models or {}).items():
            writeModel(node, folder / f"{name}.ply")

    def export(folder: Path) -> list[str]:
        from datetime import date

        words = ["export", str(folder / "bones"), f"--out={target or folder / 'check'}", f"--frame={frame.value}"]
        words += [f"--format={suffix}" for suffix in formats]
        words += [f"--also={name}={folder / name}.ply" for name in models or {}]
        words += [f"--patient={patient}", f"--date={date.today().isoformat()}"]
        words += [f"--side={side}"] if side else []
        words += [f"--triangles={triangles}"] if triangles is not None else []
        return [*words, "--check-only"] if checkOnly or not formats else words

    def place(folder: Path, results: list[dict[str, Any]]) -> dict[str, Any]:
        if scene and target is not None:
            try:
                saveScene(target / f"{target.name}.mrb", folder)
            except (Problem, OSError):
                shutil.rmtree(target, ignore_errors=True)
                raise
        return results[0]

    return EngineJob([Step(export)], place, [(_("The segmentation"), segmentation)], processFactory, prepare)


def _placeBones(folder: Path, report: dict[str, Any], ap: Any, lateral: Any) -> Any:
    side = report["side"]["declared"] or report["side"]["inferred"] or ""
    patient = ap.GetAttribute(PATIENT_ATTRIBUTE) or ""
    segmentation = addSegmentation(folder / "result", f"Bones {side}".strip())
    if not segmentIds(segmentation):
        raise Problem(
            _("No bone was found: check that the radiographs show a knee, the right way up, and are not swapped.")
        )
    segmentation.SetAttribute(SIDE_ATTRIBUTE, side)
    segmentation.SetAttribute(PATIENT_ATTRIBUTE, patient)
    madeFrom(segmentation, ap, lateral)
    edges = addOutlines(folder / "outlines.json", segmentation)
    uncertain = addUncertainty(folder / "result", report, segmentation)
    item = folderOf(ap)
    if item is None:
        item = newFolder(" ".join(word for word in ("Knee", patient, side) if word))
    texts = [
        attachJson(segmentation, RIG, "Rig", report["rig"]),
        attachJson(segmentation, REPORT, "Reconstruction report", report),
    ]
    for node in (ap, lateral, segmentation, *texts):
        put(node, item)
    edgeFolder = newFolder("Edges over the radiographs", item)
    for node in edges:
        put(node, edgeFolder)
    if uncertain:
        uncertainFolder = newFolder("Uncertainty", item)
        for node in uncertain:
            put(node, uncertainFolder)
    pair = {"ap": ap, "lateral": lateral}
    placeOnDetectors(pair, report["rig"])
    layouts.showRadiographs(pair, report["rig"])
    layouts.showEdges(edges, OUTLINE_ATTRIBUTE)
    showEdgesOf(segmentation)
    return segmentation


def _bonesIn(ap: Any, lateral: Any, rig: dict[str, Any]) -> Any:
    """The bones that were reconstructed last from these radiographs in this geometry, None where there are none."""
    scene, kind = slicer.mrmlScene, "vtkMRMLSegmentationNode"
    nodes = [scene.GetNthNodeByClass(index, kind) for index in range(scene.GetNumberOfNodesByClass(kind))]
    own = [node for node in nodes if isMadeFrom(node, ap, lateral) and attachedJson(node, RIG) == rig]
    return own[-1] if own else None


def _pair(ap: Any, lateral: Any) -> list[tuple[str, Any]]:
    return [(_("The AP radiograph"), ap), (_("The lateral radiograph"), lateral)]
