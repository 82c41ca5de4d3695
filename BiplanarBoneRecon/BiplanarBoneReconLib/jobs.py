"""The engine's work as jobs: what is run, and what becomes of it in the scene."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from . import layouts
from .engine_arguments import geometryInWords, pairArguments
from .engine_job import EngineJob, Step
from .engine_process import EngineProcess
from .hierarchy import folderOf, newFolder, put
from .parameters import Device, Geometry
from .problems import Problem
from .radiograph_sources import VIEW_NAMES, checkPair
from .reconstructed_shape import noteShape
from .reconstruction_doubts import noteAsked
from .scene_bones import (
    OUTLINE_ATTRIBUTE,
    PATIENT_ATTRIBUTE,
    SIDE_ATTRIBUTE,
    addOutlines,
    addSegmentation,
    isMadeFrom,
    madeFrom,
    showOnly,
)
from .scene_radiographs import addRadiograph, placeOnDetectors
from .scene_uncertainty import addUncertainty
from .segments import segmentIds
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
        showOnly(_bonesIn(ap, lateral, report["rig"]))
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
        segmentation = _placeBones(folder, results[0], ap, lateral)
        noteAsked(segmentation, geometry, rigFile)
        noteShape(segmentation)
        return segmentation

    return EngineJob([Step(reconstruct, 0.8), Step(outlines, 0.2)], place, _pair(ap, lateral), processFactory)


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
    showOnly(segmentation)
    return segmentation


def _bonesIn(ap: Any, lateral: Any, rig: dict[str, Any]) -> Any:
    """The bones that were reconstructed last from these radiographs in this geometry, None where there are none."""
    scene, kind = slicer.mrmlScene, "vtkMRMLSegmentationNode"
    nodes = [scene.GetNthNodeByClass(index, kind) for index in range(scene.GetNumberOfNodesByClass(kind))]
    own = [node for node in nodes if isMadeFrom(node, ap, lateral) and attachedJson(node, RIG) == rig]
    return own[-1] if own else None


def _pair(ap: Any, lateral: Any) -> list[tuple[str, Any]]:
    return [(_("The AP radiograph"), ap), (_("The lateral radiograph"), lateral)]
