"""A simulated guide in the scene: the seated guide as a model, its figures in the plan's table, and the engine's page behind them."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from .frames import LPS_TO_RAS, moved
from .problems import Problem
from .scene_bones import readSurface
from .scene_plan import SIMULATION, placeGuide, placePart, planReport, showRows
from .texts import attachedJson, attachJson

SEATED = "guide_seated"
_PAGE = "guide_simulation.html"


def placeSimulation(
    folder: Path, guideFolder: Path, report: dict[str, Any], table: Any, reference: str, item: int
) -> None:
    """Show the result folder of `ssrkd simulate-guide` beside the guide that it was made with.

    report: its report.json. table: the plan's. reference: name of the bones that it was seated on. item: the folder for what is new.
    """
    page = (folder / "report.html").read_text(encoding="utf-8")
    seated = moved(readSurface(guideFolder / "guide.stl"), LPS_TO_RAS @ _seat(report) @ LPS_TO_RAS)
    placeGuide(guideFolder, table, item)
    placePart(SEATED, seated, table, item)
    attached = {"report": report, "page": page, "reference": reference}
    attachJson(table, SIMULATION, "Guide simulation", attached).SetHideFromEditors(True)
    showRows(table, planReport(table), report)


def simulationReport(table: Any) -> dict[str, Any]:
    """report.json of the simulation behind the plan's table, {} where there is none."""
    return (attachedJson(table, SIMULATION) or {}).get("report", {})


def simulationInWords(table: Any) -> list[str]:
    """The simulation's figures as lines of HTML; none where there is no simulation."""
    attached = attachedJson(table, SIMULATION)
    if attached is None:
        return []
    guide = attached["report"]["guide"]
    contact, seat, cut = guide["contact"], guide["seating_error"], guide["cut_plane"]
    lines = [
        _(
            "Guide on {reference}: {near:.0f} % of its face within 0.25 mm of the bone, {half:.0f} % within 0.5 mm, "
            "{one:.0f} % within 1 mm."
        ).format(
            reference=attached["reference"],
            near=contact["contact_percent_within_0.25_mm"],
            half=contact["contact_percent_within_0.5_mm"],
            one=contact["contact_percent_within_1_mm"],
        ),
        _(
            "It sits {shift:.2f} mm and {turn:.2f}\u00b0 from where it was planned; the cut is off by {angle:.2f}\u00b0 and at most "
            "{distance:.2f} mm."
        ).format(
            shift=seat["translation_mm"],
            turn=seat["rotation_degrees"],
            angle=cut["angle_degrees"],
            distance=cut["largest_mm"],
        ),
    ]
    correction = guide["correction"]
    if correction is not None:
        lines.append(
            _(
                "Correction off by {frontal:+.2f}\u00b0 in the frontal and {slope:+.2f}\u00b0 in the sagittal plane."
            ).format(frontal=correction["frontal_degrees"], slope=correction["sagittal_degrees"])
        )
    registration = attached["report"]["registration"]
    lines.append(
        _(
            "Before, the planned tibia was laid onto that bone: moved by {moved:.2f} mm, residual {residual:.2f} mm."
        ).format(moved=registration["translation_mm"], residual=registration["residual_mm"])
    )
    # The first note is about the scores, which stand in the report only.
    return [escape(line) for line in (*lines, *attached["report"]["notes"][1:])]


def writePage(table: Any, folder: Path) -> Path:
    """Write the engine's page of the simulation into a folder; returns the file. Raises Problem without one, or for a full disk."""
    attached = attachedJson(table, SIMULATION)
    if attached is None:
        raise Problem(_("There is no simulated guide: press Simulate guide first."))
    path = folder / _PAGE
    try:
        path.write_text(attached["page"], encoding="utf-8")
    except OSError as error:
        raise Problem(
            _("{path} cannot be written ({reason}): choose another place or free some space.").format(
                path=path, reason=error.strerror
            )
        ) from error
    return path


def _seat(report: dict[str, Any]) -> np.ndarray:
    """(4, 4), from where the guide was designed to its seat on the reference, LPS."""
    return np.array(report["guide"]["motion"]) @ np.array(report["registration"]["matrix"])
