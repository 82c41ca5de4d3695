"""The bundled sample in the Sample Data module: no hospital and no download needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import slicer

from .engine_files import MODULE_FOLDER, sampleCaseFolder
from .engine_job import EngineJob
from .hierarchy import newFolder, put, remove
from .jobs import inspectJob, loadJob
from .problems import Problem
from .scene_bones import BONES, SIDE_ATTRIBUTE, segmentationOf

SAMPLE_NAME = "BiplanarKnee"
REFERENCE_NAME = "Sample reference"


def registerSampleData() -> None:
    """Make the sample known to the Sample Data module."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="BiplanarBoneRecon",
        sampleName=SAMPLE_NAME,
        thumbnailFileName=str(MODULE_FOLDER / "Resources" / "Icons" / "BiplanarBoneRecon.png"),
        customDownloader=lambda source: list(loadSample().values()),
    )


def loadSample(place: bool = True) -> dict[str, Any]:
    """Add the sample: nodes by "ap", "lateral" and "reference"; `place` stands the radiographs on their detectors.

    Raises Problem when the engine cannot read it.
    """
    folder = sampleCaseFolder()
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    nodes: dict[str, Any] = {}
    try:
        for view in ("ap", "lateral"):
            nodes[view] = _finished(loadJob(str(folder / case["radiographs"][view]), view))
        if place:
            _finished(inspectJob(nodes["ap"], nodes["lateral"], case["side"]))
    except Problem:
        for node in nodes.values():
            # Not there any more where the scene was closed meanwhile.
            if slicer.mrmlScene.IsNodePresent(node):
                remove(node)
        raise
    item = newFolder(f"Sample knee ({case['side']})")
    for node in nodes.values():
        put(node, item)
    return {**nodes, "reference": _reference(folder, case, item)}


def _finished(job: EngineJob) -> Any:
    job.start()
    return job.wait()


def _reference(folder: Path, case: dict[str, Any], item: int) -> Any:
    """The sample's true bones, as a segmentation of a CT would be."""
    node = segmentationOf({bone: folder / case["reference"][bone] for bone in BONES}, REFERENCE_NAME, {})
    node.SetAttribute(SIDE_ATTRIBUTE, case["side"])
    node.GetDisplayNode().SetVisibility(False)
    put(node, item)
    slicer.app.processEvents()
    return node
