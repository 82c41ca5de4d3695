"""Landmarks, axes and measurements of a leg in the scene: a markups point list that can be corrected, lines, and a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from .frames import LPS_TO_RAS
from .hierarchy import put
from .texts import attachedJson, attachJson

AXIS_ATTRIBUTE = "BiplanarBoneRecon.Axis"
_REPORT = "BiplanarBoneRecon.MeasurementReport"
_GIVEN = "given"
#: A saved scene rounds positions; a point that lies nearer than this to where the engine found it was not moved.
_MOVED_MM = 0.01
#: Name of each line: its two ends, each the middle of the landmarks named.
AXES = {
    "Mechanical axis of the leg": (("hip_centre",), ("ankle_centre",)),
    "Mechanical axis of the femur": (("hip_centre",), ("intercondylar_notch",)),
    "Mechanical axis of the tibia": (("medial_plateau_centre", "lateral_plateau_centre"), ("ankle_centre",)),
    "Shaft of the femur": (("femoral_shaft_proximal",), ("femoral_shaft_distal",)),
    "Shaft of the tibia": (("tibial_shaft_proximal",), ("tibial_shaft_distal",)),
    "Distal condyles": (("medial_condyle_distal",), ("lateral_condyle_distal",)),
    "Plateau": (("medial_plateau_edge",), ("lateral_plateau_edge",)),
}


def placeLandmarks(
    node: Any, table: Any, report: dict[str, Any], folder: int, known: dict[str, list[float]]
) -> tuple[Any, Any]:
    """Show measurements.json of `ssrkd measure`; returns the point list and the table, made where they are None.

    known: the landmarks set by hand that the engine was given; one that was moved since then stays where it is.
    Landmarks that could not be found stand in the list without a position and say why: a click in a view sets them.
    """
    found, missing = report["landmarks"]["landmarks"], report["landmarks"]["missing"]
    if node is None:
        node = _newList([*found, *missing])
    given = set(report["landmarks"]["given"])
    moved = {name for name, position in givenLandmarks(node).items() if known.get(name) != position}
    modified = node.StartModify()
    for index in range(node.GetNumberOfControlPoints()):
        name = _name(node, index)
        if name in moved:
            continue
        if name in found:
            node.SetNthControlPointPositionWorld(index, *toRAS(found[name]))
            node.SetNthControlPointDescription(index, _GIVEN if name in given else "")
        else:
            node.UnsetNthControlPointPosition(index)
            node.SetNthControlPointDescription(index, missing.get(name, ""))
    node.EndModify(modified)
    attachJson(node, _REPORT, "Measurement report", report).SetHideFromEditors(True)
    if table is None:
        table = newTable("Measurements")
    _fillMeasurements(table, report["measurements"])
    lines = _placeAxes(found)
    for item in (node, table, *lines):
        put(item, folder)
    return node, table


def givenLandmarks(node: Any) -> dict[str, list[float]]:
    """Positions (LPS mm) of the landmarks that a person has set or moved, by name; {} without a list."""
    if node is None:
        return {}
    computed = landmarkReport(node).get("landmarks", {}).get("landmarks", {})
    result = {}
    for index in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(index) != node.PositionDefined:
            continue
        name, position = _name(node, index), landmarkPosition(node, index)
        moved = name not in computed or np.abs(np.subtract(position, computed[name])).max() > _MOVED_MM
        if moved or node.GetNthControlPointDescription(index) == _GIVEN:
            result[name] = position
    return result


def wasCorrected(node: Any) -> bool:
    """Whether a landmark was set, moved or taken away since the engine measured."""
    report = landmarkReport(node).get("landmarks")
    if report is None:
        return False
    earlier = {name: report["landmarks"][name] for name in report["given"]}
    now = givenLandmarks(node)
    return set(earlier) != set(now) or any(
        np.abs(np.subtract(now[name], earlier[name])).max() > _MOVED_MM for name in now
    )


def landmarkReport(node: Any) -> dict[str, Any]:
    """What `placeLandmarks` was given last, {} where there is none."""
    return attachedJson(node, _REPORT) or {}


def landmarkPosition(node: Any, index: int) -> list[float]:
    """A point of a list in LPS mm."""
    position = [0.0, 0.0, 0.0]
    node.GetNthControlPointPositionWorld(index, position)
    return toLPS(position)


def indexOf(node: Any, name: str) -> int:
    """Number of a landmark in a list of `placeLandmarks`, -1 where it is not there."""
    return next((index for index in range(node.GetNumberOfControlPoints()) if _name(node, index) == name), -1)


def toRAS(point: Any) -> list[float]:
    """A point or direction (3,) of the engine in Slicer's axes; the same the other way round."""
    return [float(value) for value in LPS_TO_RAS[:3, :3] @ np.asarray(point, dtype=float)]


toLPS = toRAS


def newTable(name: str) -> Any:
    """An empty table that is read only."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    return node


def fillTable(node: Any, columns: dict[str, list[str]]) -> None:
    """Replace the content of a table by columns of text, by title."""
    node.RemoveAllColumns()
    for title, values in columns.items():
        array = vtk.vtkStringArray()
        array.SetName(title)
        for value in values:
            array.InsertNextValue(value)
        node.AddColumn(array)


def _newList(names: list[str]) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Landmarks")
    node.CreateDefaultDisplayNodes()
    for name in names:
        index = node.AddControlPoint(vtk.vtkVector3d(0.0, 0.0, 0.0))
        node.SetNthControlPointLabel(index, name.replace("_", " "))
        node.UnsetNthControlPointPosition(index)
    node.SetFixedNumberOfControlPoints(True)
    display = node.GetDisplayNode()
    display.SetUseGlyphScale(False)
    display.SetGlyphSize(3.0)
    display.SetTextScale(2.0)
    return node


def _name(node: Any, index: int) -> str:
    return str(node.GetNthControlPointLabel(index)).replace(" ", "_")


def _fillMeasurements(table: Any, measurements: dict[str, Any]) -> None:
    rows = list(measurements.values())
    notes = ["; ".join(f"no {name.replace('_', ' ')}: {why}" for name, why in row["missing"].items()) for row in rows]
    fillTable(
        table,
        {
            "Measurement": [row["name"] for row in rows],
            "Value": ["" if row["value"] is None else f"{row['value']:.2f}" for row in rows],
            "Unit": [row["unit"] for row in rows],
            # Bones of a CT have it not: the header says whose it is.
            "Expected error of a reconstruction": [_expected(row) for row in rows],
            "By hand": [", ".join(name.replace("_", " ") for name in row["given"]) for row in rows],
            "Note": [note or row["condition"] or "" for note, row in zip(notes, rows, strict=True)],
        },
    )


def _expected(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return ""
    return "?" if row.get("expected_error") is None else f"{row['expected_error']:.2f}"


def _placeAxes(found: dict[str, list[float]]) -> list[Any]:
    """Move the lines whose ends are known, remove the others; returns the lines that are new."""
    scene, added = slicer.mrmlScene, []
    present = {
        node.GetAttribute(AXIS_ATTRIBUTE): node
        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLMarkupsLineNode"))
        if (node := scene.GetNthNodeByClass(index, "vtkMRMLMarkupsLineNode")).GetAttribute(AXIS_ATTRIBUTE)
    }
    for name, ends in AXES.items():
        known = all(landmark in found for end in ends for landmark in end)
        node = present.get(name)
        if node is None and not known:
            continue
        if node is None:
            node = scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", name)
            node.SetAttribute(AXIS_ATTRIBUTE, name)
            node.CreateDefaultDisplayNodes()
            node.SetLocked(True)
            node.GetDisplayNode().SetPropertiesLabelVisibility(False)
            added.append(node)
        node.GetDisplayNode().SetVisibility(known)
        node.RemoveAllControlPoints()
        for end in ends if known else ():
            middle = np.mean([found[landmark] for landmark in end], axis=0)
            node.AddControlPointWorld(vtk.vtkVector3d(*toRAS(middle)), "")
    return added


def planningFolderName() -> str:
    """Of the subject-hierarchy folder that holds everything of a plan."""
    return _("Planning")
