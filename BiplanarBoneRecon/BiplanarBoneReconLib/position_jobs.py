"""The engine's estimate of a second view's position as a job: two radiographs without a common frame, tied by the bones in both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import vtk
from slicer.i18n import tr as _

from .engine_arguments import imageArguments, pairArguments
from .engine_job import EngineJob, Step
from .engine_process import EngineProcess
from .frames import imageToRAS, toWorld
from .known_bones import checkKnownBones, writeKnownBones
from .parameters import Device, Geometry
from .problems import Problem
from .radiograph_sources import checkPair, standingRig
from .scene_position import PositionEstimate, acceptedPosition

#: A saved scene rounds positions.
_SAME_MM = 0.02


def estimatePositionJob(
    ap: Any,
    lateral: Any,
    side: str = "",
    geometry: Geometry = Geometry.FILES,
    rigFile: str = "",
    modelFolder: str = "",
    device: Device = Device.AUTO,
    prepare: bool = True,
    turnKnownTo: float = 3.0,
    shiftKnownTo: float = 8.0,
    knownBones: Any = None,
    processFactory: Callable[[], EngineProcess] = EngineProcess,
) -> EngineJob:
    """Estimate where the lateral radiograph was taken relative to the AP one. The value is a PositionEstimate; the scene stays as it is.

    It starts from the rig that a reconstruction would use. prepare: leave out collimators and fill letters in the images first.
    turnKnownTo, shiftKnownTo: standard deviations of how well that rig is believed to know the lateral view, degrees and mm. knownBones:
    segmentation, or one of the models, of this knee's CT, where the knee is in the scene; None takes the shape from the radiographs.
    """
    checkPair(ap, lateral)
    if knownBones is not None:
        checkKnownBones(knownBones, side)
        _checkStanding(ap, lateral)
    bones = "" if knownBones is None else knownBones.GetName()
    stood = standingRig(ap, lateral)
    accepted = acceptedPosition(ap, lateral) if geometry is Geometry.SCENE else None

    def inspect(folder: Path) -> list[str]:
        words = pairArguments(ap, lateral, side, geometry, rigFile, folder)
        return ["inspect", *words, f"--out={folder / 'radiographs'}"]

    def prepareBones(folder: Path) -> None:
        writeKnownBones(knownBones, folder / "bones")

    def estimate(folder: Path) -> list[str]:
        rig = folder / "radiographs" / "rig.json"
        if accepted is not None:
            rig = folder / "start.json"
            rig.write_text(json.dumps(accepted["start"]), encoding="utf-8")
        words = ["calibrate", "pair", *imageArguments(ap, lateral, side, folder), f"--rig={rig}"]
        words += ["--prepare" if prepare else "--no-prepare", f"--device={device.value}"]
        words += [f"--model={modelFolder.strip()}"] if modelFolder.strip() else []
        words += [f"--turn={turnKnownTo:g}", f"--shift={shiftKnownTo:g}"]
        words += [] if knownBones is None else [f"--bones={folder / 'bones'}"]
        return [*words, f"--out={folder / 'moved.json'}"]

    def place(folder: Path, results: list[dict[str, Any]]) -> PositionEstimate:
        start = results[0]["rig"] if accepted is None else accepted["start"]
        rig = json.loads((folder / "moved.json").read_text(encoding="utf-8"))
        # Names of files that are gone when the job has ended.
        record = {name: value for name, value in results[-1].items() if name not in ("rig", "record")}
        return PositionEstimate(ap.GetID(), lateral.GetID(), stood, start, rig, record, bones)

    # What was estimated already is estimated from where that started: the images would count twice otherwise.
    steps = [Step(inspect, 0.1), Step(estimate, 0.9)] if accepted is None else [Step(estimate)]
    nodes = [(_("The AP radiograph"), ap), (_("The lateral radiograph"), lateral)]
    nodes += [] if knownBones is None else [(_("The node of the known bones"), knownBones)]
    return EngineJob(steps, place, nodes, processFactory, None if knownBones is None else prepareBones)


def _checkStanding(ap: Any, lateral: Any) -> None:
    """Raise Problem where radiographs are seen elsewhere than the engine has them: bones laid between them would lie beside the knee."""
    rig = standingRig(ap, lateral)
    if rig is None:
        raise Problem(_("Press Check and show first: known bones are taken where they stand between the radiographs."))
    views = {view["name"]: view for view in rig["views"]}
    for name, node in (("ap", ap), ("lateral", lateral)):
        above, matrix = toWorld(node), vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        own = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
        stands = name in views and np.allclose(own, imageToRAS(views[name]), atol=_SAME_MM)
        if above is None or not np.allclose(above, np.eye(4)) or not stands:
            raise Problem(
                _(
                    "{node} was moved by a transform, and known bones are taken where they stand between the radiographs: press Check "
                    "and show, which brings it back, and move the bones instead."
                ).format(node=node.GetName())
            )
