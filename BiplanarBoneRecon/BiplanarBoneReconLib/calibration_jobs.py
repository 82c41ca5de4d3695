"""The engine's calibration by a ball or a ruler as jobs: measure it, and put its magnification into the rig."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from .calibration_targets import Target
from .engine_arguments import intensityArguments
from .engine_job import EngineJob, Step
from .engine_process import EngineProcess
from .problems import Problem
from .radiograph_sources import VIEW_NAMES, checkPair, checkRadiograph, radiographFile, standingRig
from .scene_radiographs import calibrateTo


def measureTargetJob(
    radiograph: Any, target: Target, processFactory: Callable[[], EngineProcess] = EngineProcess
) -> EngineJob:
    """Find and measure a target on a radiograph. The value is the report."""
    if radiograph is None:
        raise Problem(
            _("Choose the {view} radiograph first: from the scene, or with its Load button.").format(
                view=VIEW_NAMES[target.view]
            )
        )
    checkRadiograph(radiograph)
    words = target.words(radiograph)

    def place(folder: Path, results: list[dict[str, Any]]) -> dict[str, Any]:
        target.show(radiograph, results[0])
        return results[0]

    def measure(folder: Path) -> list[str]:
        return ["calibrate", words[0], *_image(radiograph, folder), *words[1:]]

    node = (_("The {view} radiograph").format(view=VIEW_NAMES[target.view]), radiograph)
    return EngineJob([Step(measure)], place, [node], processFactory)


def acceptTargetJob(
    ap: Any,
    lateral: Any,
    target: Target,
    side: str,
    offset: float | None = None,
    processFactory: Callable[[], EngineProcess] = EngineProcess,
) -> EngineJob:
    """Give a view of the pair's rig the magnification of the target that was measured; the value is the report.

    The rig is the one that both radiographs stand in. offset: by how many mm the target lies nearer the detector than the knee's
    centre; None where that was not measured.
    """
    checkPair(ap, lateral)
    view = target.view
    radiograph = ap if view == "ap" else lateral
    if not target.report(radiograph):
        raise Problem(_("Measure the ball or ruler first: press Detect."))
    rig = standingRig(ap, lateral)
    if rig is None:
        raise Problem(_("Press Check and show first, so that it is known which rig is corrected."))
    found = target.found(radiograph)
    words = found.words(radiograph)

    def calibrate(folder: Path) -> list[str]:
        (folder / "rig.json").write_text(json.dumps(rig), encoding="utf-8")
        arguments = ["calibrate", words[0], *_image(radiograph, folder), *words[1:]]
        arguments += [f"--view={view}", f"--rig={folder / 'rig.json'}"]
        arguments += [f"--side={side}"] if side else []
        arguments += [] if offset is None else [f"--offset={offset:g}"]
        return [*arguments, f"--out={folder / 'calibrated.json'}"]

    def place(folder: Path, results: list[dict[str, Any]]) -> dict[str, Any]:
        calibrated = json.loads((folder / "calibrated.json").read_text(encoding="utf-8"))
        calibrateTo({"ap": ap, "lateral": lateral}, calibrated)
        found.show(radiograph, results[0])
        return results[0]

    nodes = [(_("The AP radiograph"), ap), (_("The lateral radiograph"), lateral)]
    return EngineJob([Step(calibrate)], place, nodes, processFactory)


def _image(radiograph: Any, folder: Path) -> list[str]:
    file = radiographFile(radiograph, folder)
    return [str(file.path), *intensityArguments([file])]
