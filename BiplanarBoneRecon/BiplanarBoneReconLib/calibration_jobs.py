"""The engine's calibration by a ball as jobs: find it, and put its magnification into the rig."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from .engine_arguments import intensityArguments
from .engine_job import EngineJob, Step
from .engine_process import EngineProcess
from .problems import Problem
from .radiograph_sources import VIEW_NAMES, checkPair, checkRadiograph, radiographFile
from .scene_calibration import ballPixel, ballReport, placeBall
from .scene_radiographs import placeOnDetectors
from .texts import CALIBRATED_RIG, RIG, attachedJson, attachJson


def detectBallJob(
    radiograph: Any, view: str, diameter: float, processFactory: Callable[[], EngineProcess] = EngineProcess
) -> EngineJob:
    """Find and measure a ball of a diameter in mm; where a point stands on the radiograph already, near it. The value is the report."""
    if radiograph is None:
        raise Problem(
            _("Choose the {view} radiograph first: from the scene, or with its Load button.").format(
                view=VIEW_NAMES[view]
            )
        )
    checkRadiograph(radiograph)
    near = ballPixel(view, radiograph)

    def place(folder: Path, results: list[dict[str, Any]]) -> dict[str, Any]:
        placeBall(view, radiograph, results[0])
        return results[0]

    def measure(folder: Path) -> list[str]:
        return ["calibrate", "ball", *_image(radiograph, folder), f"--diameter={diameter}", *_near(near)]

    return EngineJob([Step(measure)], place, _needed(radiograph, view), processFactory)


def acceptBallJob(
    ap: Any,
    lateral: Any,
    view: str,
    side: str,
    offset: float | None = None,
    processFactory: Callable[[], EngineProcess] = EngineProcess,
) -> EngineJob:
    """Give a view of the pair's rig the magnification of the ball that was found; the value is the report.

    The rig is the one that both radiographs stand in. offset: by how many mm the ball lies nearer the detector than the knee's
    centre; None where that was not measured.
    """
    checkPair(ap, lateral)
    radiograph = ap if view == "ap" else lateral
    found = ballReport(view)
    near = ballPixel(view, radiograph)
    if not found or near is None:
        raise Problem(_("Find the ball first: press Detect ball."))
    rig = attachedJson(radiograph, RIG)
    if rig is None or rig != attachedJson(lateral if view == "ap" else ap, RIG):
        raise Problem(_("Press Check and show first, so that it is known which rig the ball corrects."))

    def calibrate(folder: Path) -> list[str]:
        (folder / "rig.json").write_text(json.dumps(rig), encoding="utf-8")
        words = ["calibrate", "ball", *_image(radiograph, folder), *_near(near)]
        words += [f"--diameter={found['measured']['diameter_mm']}", f"--view={view}", f"--rig={folder / 'rig.json'}"]
        words += [f"--side={side}"] if side else []
        words += [] if offset is None else [f"--offset={offset:g}"]
        return [*words, f"--out={folder / 'calibrated.json'}"]

    def place(folder: Path, results: list[dict[str, Any]]) -> dict[str, Any]:
        calibrated = json.loads((folder / "calibrated.json").read_text(encoding="utf-8"))
        placeOnDetectors({"ap": ap, "lateral": lateral}, calibrated)
        for node in (ap, lateral):
            attachJson(node, CALIBRATED_RIG, f"{node.GetName()} calibrated rig", calibrated).SetHideFromEditors(True)
        # The point goes with its radiograph.
        placeBall(view, radiograph, results[0])
        return results[0]

    nodes = [(_("The AP radiograph"), ap), (_("The lateral radiograph"), lateral)]
    return EngineJob([Step(calibrate)], place, nodes, processFactory)


def _image(radiograph: Any, folder: Path) -> list[str]:
    file = radiographFile(radiograph, folder)
    return [str(file.path), *intensityArguments([file])]


def _near(pixel: tuple[float, float] | None) -> list[str]:
    return [] if pixel is None else ["--near", *(f"{value:.2f}" for value in pixel)]


def _needed(radiograph: Any, view: str) -> list[tuple[str, Any]]:
    return [(_("The {view} radiograph").format(view=VIEW_NAMES[view]), radiograph)]
