"""A planned osteotomy in the scene: the cut as a plane that can be dragged, fragments, wedge and guide as models, and a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from .bones_owner import belongTo, bonesBehind, fitsStill, isOf
from .hierarchy import put, remove
from .problems import Problem
from .scene_bones import readSurface
from .scene_landmarks import fillTable, landmarkReport, newTable, toLPS, toRAS, wasCorrected
from .texts import attachedJson, attachJson

PART_ATTRIBUTE = "BiplanarBoneRecon.PlanPart"
_PLACED = "BiplanarBoneRecon.PlacedPlane"
#: Role under which a part refers to the table of its plan, and that to the landmarks that it was made with.
_PLAN, _LANDMARKS = "BiplanarBoneRecon.Plan", "BiplanarBoneRecon.Landmarks"
_REPORT = "BiplanarBoneRecon.PlanReport"
#: Role under which the plan's table refers to the simulation of its guide.
SIMULATION = "BiplanarBoneRecon.GuideSimulation"
_PLANE_SIZE_MM = 90.0
_MOVED_MM, _TURNED = 0.02, 1e-4
#: Part: name of its model, colour, whether it is shown at first.
_PARTS = {
    "proximal": ("Proximal fragment", (0.90, 0.86, 0.74), True),
    "distal": ("Distal fragment before", (0.70, 0.66, 0.56), False),
    "distal_moved": ("Distal fragment", (0.80, 0.76, 0.62), True),
    "wedge": ("Wedge", (0.90, 0.35, 0.25), True),
    "corrected": ("Corrected tibia", (0.85, 0.82, 0.70), False),
    "guide": ("Cutting guide", (0.30, 0.60, 0.85), True),
    "guide_seated": ("Guide seated on the real bone", (0.40, 0.80, 0.35), True),
}


def placePlan(
    folder: Path,
    plan: dict[str, Any],
    segmentation: Any,
    landmarks: Any,
    plane: Any,
    table: Any,
    stood: list[float] | None,
    byHand: bool,
    item: int,
) -> tuple[Any, Any]:
    """Show the result folder of `ssrkd plan-hto`; returns the cut plane and the table, made where they are None.

    plan: its plan.json. segmentation, landmarks: what was planned on. stood: where the plane was when the engine began, None without one.
    byHand: that is where the plan cuts; else the plane is put to where it does. item: the folder for what is new. A guide of an earlier
    plan does not fit any more and is removed, with what was simulated of it.
    """
    surfaces = {name: readSurface(folder / file) for name, file in plan["files"].items() if name in _PARTS}
    if plane is None:
        plane = _newPlane()
        put(plane, item)
    # Dragged while the engine was at work, it stays, differs from what is noted here, and is followed again.
    if not byHand and (stood is None or cutPlane(plane) == stood):
        _movePlane(plane, plan)
        stood = cutPlane(plane)
    plane.SetAttribute(_PLACED, json.dumps(stood))
    if table is None:
        table = newTable("Osteotomy plan")
        put(table, item)
    _forgetSimulation(table)
    showRows(table, plan)
    attachJson(table, _REPORT, "Osteotomy plan report", plan).SetHideFromEditors(True)
    belongTo(table, segmentation)
    table.SetNodeReferenceID(_LANDMARKS, landmarks.GetID())
    for name, surface in surfaces.items():
        placePart(name, surface, table, item)
    for name in ("guide", "guide_seated"):
        if name in planParts(table):
            remove(planParts(table)[name])
    # Of a plan whose table somebody deleted.
    for node in _partNodes():
        if node.GetNodeReference(_PLAN) is None:
            remove(node)
    return plane, table


def placeGuide(folder: Path, table: Any, item: int) -> None:
    """Show the result folder of `ssrkd guide`, made of the plan of a table."""
    placePart("guide", readSurface(folder / "guide.stl"), table, item)


def planParts(table: Any) -> dict[str, Any]:
    """The models of the plan of a table, by part; {} without one."""
    found = {
        node.GetAttribute(PART_ATTRIBUTE): node
        for node in _partNodes()
        if table is not None and node.GetNodeReferenceID(_PLAN) == table.GetID()
    }
    return {name: found[name] for name in _PARTS if name in found}


def planOf(segmentation: Any) -> Any:
    """The table of the plan of these bones that was made last, None where there is none."""
    scene, kind = slicer.mrmlScene, "vtkMRMLTableNode"
    tables = [scene.GetNthNodeByClass(index, kind) for index in range(scene.GetNumberOfNodesByClass(kind))]
    return next((table for table in reversed(tables) if isOf(table, segmentation) and planReport(table)), None)


def whyOutdated(table: Any, segmentation: Any) -> str:
    """What has changed since the plan of a table was made, as a sentence; "" where it fits its bones and landmarks."""
    if not fitsStill(table, segmentation):
        return _("The bones were moved or changed since this plan was made: press Plan.")
    landmarks = table.GetNodeReference(_LANDMARKS)
    known = landmarkReport(landmarks).get("landmarks", {}).get("landmarks", {})
    planned = planReport(table)["landmarks"]
    if wasCorrected(landmarks) or any(
        name not in known or np.abs(np.subtract(planned[name], known[name])).max() > _MOVED_MM for name in planned
    ):
        return _("The landmarks were changed since this plan was made: press Plan.")
    return ""


def plannedModels(segmentation: Any) -> dict[str, Any]:
    """The models of the plan of these bones, by part, to be used with them. Raises Problem where the plan does not fit them any more."""
    table = planOf(segmentation)
    parts = planParts(table)
    if parts and (outdated := whyOutdated(table, segmentation)):
        raise Problem(outdated)
    if not all(fitsStill(node, segmentation) for node in parts.values()):
        raise Problem(_("The models of the plan were moved away from the bones: press Plan."))
    return parts


def _partNodes() -> list[Any]:
    scene, kind = slicer.mrmlScene, "vtkMRMLModelNode"
    nodes = [scene.GetNthNodeByClass(index, kind) for index in range(scene.GetNumberOfNodesByClass(kind))]
    return [node for node in nodes if node.GetAttribute(PART_ATTRIBUTE)]


def planReport(table: Any) -> dict[str, Any]:
    """plan.json behind the plan's table, {} where there is none."""
    return attachedJson(table, _REPORT) or {}


def cutPlane(plane: Any) -> list[float]:
    """Origin and normal of the cut plane: six numbers, LPS mm."""
    origin, normal = [0.0] * 3, [0.0] * 3
    plane.GetOriginWorld(origin)
    plane.GetNormalWorld(normal)
    return [*toLPS(origin), *toLPS(normal)]


def wasDragged(plane: Any) -> bool:
    """Whether the plane stands elsewhere than the plan that is shown has it."""
    placed = plane.GetAttribute(_PLACED)
    if not placed:
        return False
    difference = np.abs(np.subtract(cutPlane(plane), json.loads(placed)))
    return bool(difference[:3].max() > _MOVED_MM or difference[3:].max() > _TURNED)


def forgetDrag(plane: Any) -> None:
    """Let the plane count as not dragged where it stands now."""
    plane.SetAttribute(_PLACED, json.dumps(cutPlane(plane)))


def planInWords(plan: dict[str, Any]) -> list[str]:
    """The plan's figures, one sentence a line, without the warnings."""
    parameters = plan["parameters"]
    lines = [
        _("Wedge {angle:.1f}\u00b0, {height:.1f} mm at the cortex; hinge {hinge:.1f} mm from its cortex.").format(
            angle=plan["wedge_degrees"], height=plan["height_mm"], hinge=parameters["hinge_to_cortex_mm"]
        )
    ]
    for name, item in plan["changes"].items():
        lines.append(
            _("{name}: {before:.1f} \u2192 {after:.1f}{error}").format(
                name=_title(name), before=item["before"], after=item["after"], error=_error(item)
            )
        )
    return lines


def _error(change: dict[str, Any]) -> str:
    """By how much a reconstruction's figure is expected to be wrong, to be set behind it."""
    error = change.get("expected_error")
    return "" if error is None else _(" (of a reconstruction \u00b1\u00a0{error:.1f})").format(error=error)


def _title(name: str) -> str:
    """hinge_height_mm as "Hinge height (mm)"."""
    for suffix, unit in (("_degrees", "\u00b0"), ("_percent", "%"), ("_mm", "mm")):
        if name.endswith(suffix):
            words = name.removesuffix(suffix).replace("_", " ").replace("mpta", "MPTA").replace("hka", "HKA")
            return f"{words[:1].upper()}{words[1:]} ({unit})"
    return name.replace("_", " ")


def showRows(table: Any, plan: dict[str, Any], simulation: dict[str, Any] | None = None) -> None:
    """Fill the plan's table, with a column for the seated guide where its simulation (report.json of `ssrkd simulate-guide`) is known."""
    rows = _rows(plan)
    if simulation is not None:
        figures = _simulated(simulation["guide"])
        count = len(rows["Quantity"])
        # Before the warnings, which end the table.
        first = count - len(plan["warnings"])
        for title, values in rows.items():
            values[first:first] = [name if title == "Quantity" else "" for name in figures]
        rows["Seated guide"] = (
            ["" for _row in range(first)] + list(figures.values()) + ["" for _row in plan["warnings"]]
        )
    fillTable(table, rows)


def _simulated(guide: dict[str, Any]) -> dict[str, str]:
    contact, seat, cut = guide["contact"], guide["seating_error"], guide["cut_plane"]
    figures = {
        f"Guide: face within {limit} mm of the bone (%)": f"{contact[f'contact_percent_within_{limit}_mm']:.1f}"
        for limit in ("0.25", "0.5", "1")
    }
    figures["Guide: seating error (mm)"] = f"{seat['translation_mm']:.2f}"
    figures["Guide: seating error (\u00b0)"] = f"{seat['rotation_degrees']:.2f}"
    figures["Guide: cut plane off by (\u00b0)"] = f"{cut['angle_degrees']:.2f}"
    figures["Guide: cut off by at most (mm)"] = f"{cut['largest_mm']:.2f}"
    correction = guide["correction"]
    if correction is not None:
        figures["Guide: correction error, frontal (\u00b0)"] = f"{correction['frontal_degrees']:+.2f}"
        figures["Guide: correction error, sagittal (\u00b0)"] = f"{correction['sagittal_degrees']:+.2f}"
    return figures


def _forgetSimulation(table: Any) -> None:
    node = table.GetNodeReference(SIMULATION)
    if node is not None:
        table.SetNodeReferenceID(SIMULATION, None)
        remove(node)


def _rows(plan: dict[str, Any]) -> dict[str, list[str]]:
    rows = [
        ("Wedge (\u00b0)", "", f"{plan['wedge_degrees']:.2f}", "", ""),
        ("Height at the cortex (mm)", "", f"{plan['height_mm']:.2f}", "", ""),
    ]
    if plan["miniaci_degrees"] is not None:
        rows.append(("Wedge by Miniaci's construction (\u00b0)", "", f"{plan['miniaci_degrees']:.2f}", "", ""))
    for name in ("hinge_to_cortex_mm", "hinge_below_plateau_mm", "entry_below_plateau_mm", "hinge_tilt_degrees"):
        if plan["parameters"][name] is not None:
            rows.append((_title(name), "", f"{plan['parameters'][name]:.2f}", "", ""))
    for name, item in plan["changes"].items():
        error = item.get("expected_error")
        figures = (f"{item['before']:.2f}", f"{item['after']:.2f}", f"{item['change']:+.2f}")
        rows.append((_title(name), *figures, "" if error is None else f"{error:.2f}"))
    rows += [(f"Warning: {warning['message']}", "", "", "", "") for warning in plan["warnings"]]
    titles = ("Quantity", "Before", "Planned", "Change", "Expected error of a reconstruction")
    return {title: [row[column] for row in rows] for column, title in enumerate(titles)}


def _newPlane() -> Any:
    plane = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsPlaneNode", "Cut plane")
    plane.CreateDefaultDisplayNodes()
    plane.SetPlaneType(plane.PlaneTypePointNormal)
    plane.SetSizeMode(plane.SizeModeAbsolute)
    plane.SetSize(_PLANE_SIZE_MM, _PLANE_SIZE_MM)
    display = plane.GetDisplayNode()
    display.SetHandlesInteractive(True)
    display.SetScaleHandleVisibility(False)
    display.SetOpacity(0.5)
    display.SetPropertiesLabelVisibility(False)
    return plane


def _movePlane(plane: Any, plan: dict[str, Any]) -> None:
    """In the middle of the bone, where its handles are near at hand."""
    middle = np.mean([plan["hinge"]["point"], plan["entry"]], axis=0)
    plane.SetOriginWorld(toRAS(middle))
    plane.SetNormalWorld(toRAS(plan["cut_plane"]["normal"]))


def placePart(name: str, surface: Any, table: Any, item: int) -> None:
    """Show a surface (polydata in RAS) as a part of the plan of a table, in place of the one before; `item` is the folder for a new one."""
    node = planParts(table).get(name)
    title, color, shown = _PARTS[name]
    new = node is None
    if new:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", title)
        node.SetAttribute(PART_ATTRIBUTE, name)
        node.SetNodeReferenceID(_PLAN, table.GetID())
    # The surface lies in the world: a transform that the one before was put under would move it once more.
    node.SetAndObserveTransformNodeID(None)
    node.SetAndObservePolyData(surface)
    belongTo(node, bonesBehind(table))
    if not new:
        return
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetColor(color)
    node.GetDisplayNode().SetVisibility(shown)
    put(node, item)
