"""A comparison in the scene: coloured surfaces with a legend in mm, tables, and a histogram, in a folder of their own."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from . import layouts
from .bones_owner import placeOf, samePlace
from .color_legend import addLegend
from .distance_colors import colorNode, scalarRange
from .frames import moved, turnedAboutZ
from .hierarchy import folderOf, newFolder, put, remove, removeIfEmpty
from .parameters import DistanceKind
from .scene_bones import BONES
from .texts import attachedJson, attachJson

SURFACE_ATTRIBUTE, BONE_ATTRIBUTE = "BiplanarBoneRecon.ComparedSurface", "BiplanarBoneRecon.Bone"
SUMMARY_ATTRIBUTE = "BiplanarBoneRecon.ComparisonSummary"
_ATTRIBUTE = "BiplanarBoneRecon.Comparison"
_REPORT = "BiplanarBoneRecon.ComparisonReport"
#: Role under which the summary refers to what was compared, followed by "reconstruction" or "reference".
_COMPARED = "BiplanarBoneRecon.Compared."
_VIEW_OF = {"reconstruction": layouts.RECONSTRUCTION_VIEW, "reference": layouts.REFERENCE_VIEW}
MEASURES = (
    ("exact_assd_mm", "ASSD (mm)"),
    ("exact_hd95_mm", "HD95 (mm)"),
    ("exact_hd_mm", "HD (mm)"),
    ("dice", "Dice"),
    ("paper_assd_mm", "Paper's protocol: ASSD (mm)"),
    ("paper_hd_mm", "Paper's protocol: HD (mm)"),
)


def addComparison(
    folder: Path, report: dict[str, Any], pair: dict[str, Any], asked: dict[str, Any], frame: np.ndarray
) -> Any:
    """The result folder of `ssrkd compare --surfaces` in the scene, instead of an earlier one; returns the summary table.

    pair: the nodes that were compared, "reconstruction" and "reference". asked: as `question` put it. frame: (4, 4) RAS, from the frame
    that was measured in to the world.
    """
    name = f"{pair['reconstruction'].GetName()} against {pair['reference'].GetName()}"
    earlier = [folderOf(node) for node in summaries()], [node.GetID() for node in _comparisonNodes()]
    item = newFolder(name)
    for bone, files in report["surfaces"].items():
        for surface, file in files.items():
            _keep(_coloredModel(folder / file, surface, bone, frame), item)
    summary = _summaryTable(report)
    _keep(summary, item)
    attached = {"report": report, "measures_csv": (folder / "measures.csv").read_text(encoding="utf-8")}
    attached |= {"asked": asked, "name": name}
    for surface, node in pair.items():
        summary.SetNodeReferenceID(_COMPARED + surface, node.GetID())
    _keep(attachJson(summary, _REPORT, "Comparison report", attached), item)
    for bone, row in report["bones"].items():
        _keep(_boneTable(bone, row, report["measures"]), item)
    for node in _histogram(report["histograms"]):
        _keep(node, item)
    _remove(*earlier)
    return summary


def summaries() -> list[Any]:
    """Summary tables of comparisons in the scene."""
    return [node for node in _nodes("vtkMRMLTableNode") if node.GetAttribute(SUMMARY_ATTRIBUTE)]


def comparisonReport(summary: Any) -> dict[str, Any]:
    """The engine's report behind a summary table, {} where it is gone."""
    return (attachedJson(summary, _REPORT) or {}).get("report", {})


def measuresCsv(summary: Any) -> str:
    """The measures as the engine's CSV text, "" where it is gone."""
    return str((attachedJson(summary, _REPORT) or {}).get("measures_csv", ""))


def question(pair: dict[str, Any], matched: dict[str, str], alignment: str) -> dict[str, Any]:
    """What a comparison answers: of the bones as they stand now ("reconstruction", "reference"), matched and aligned like this."""
    places = {surface: placeOf(node) for surface, node in pair.items()}
    return {"matched": matched, "alignment": alignment, "places": places}


def answers(summary: Any, pair: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Whether a summary table is what a comparison of this pair would give now."""
    then = (attachedJson(summary, _REPORT) or {}).get("asked", {})
    return (
        all(summary.GetNodeReferenceID(_COMPARED + surface) == node.GetID() for surface, node in pair.items())
        and {**then, "places": None} == {**asked, "places": None}
        and all(samePlace(then["places"][surface], place) for surface, place in asked["places"].items())
    )


def comparisonName(summary: Any) -> str:
    """What was compared with what, in words."""
    return str((attachedJson(summary, _REPORT) or {}).get("name", ""))


def coloredModels() -> list[Any]:
    """The coloured surfaces of the comparison, as far as they can be shown."""
    models = [node for node in _nodes("vtkMRMLModelNode") if node.GetAttribute(SURFACE_ATTRIBUTE)]
    return [node for node in models if node.GetDisplayNode() is not None]


def colorByDistance(kind: DistanceKind, reach: float) -> None:
    """Colour every surface of the comparison, with one legend in each of its two views."""
    models = coloredModels()
    low, high = scalarRange(kind, reach)
    legends = set()
    for model in models:
        display, surface = model.GetDisplayNode(), model.GetAttribute(SURFACE_ATTRIBUTE)
        display.SetAndObserveColorNodeID(colorNode(kind).GetID())
        display.SetActiveScalar(kind.value, vtk.vtkAssignAttribute.POINT_DATA)
        display.SetScalarRangeFlag(display.UseManualScalarRange)
        display.SetScalarRange(low, high)
        display.SetScalarVisibility(True)
        layouts.restrictTo(display, [_VIEW_OF[surface]])
        if surface not in legends:
            legends.add(surface)
            _legend(model, kind)


def showComparison(summary: Any, segmentations: list[Any]) -> None:
    """Side by side with linked cameras; table and histogram below. Plain segmentations stay out of these two views."""
    layouts.show(layouts.COMPARISON_LAYOUT)
    layouts.linkCameras()
    for segmentation in segmentations:
        layouts.keepOut(segmentation.GetDisplayNode(), list(_VIEW_OF.values()))
    models = coloredModels()
    for model in models:
        layouts.restrictTo(model.GetDisplayNode(), [_VIEW_OF[model.GetAttribute(SURFACE_ATTRIBUTE)]])
    if models:
        layouts.lookFromTheFront(list(_VIEW_OF.values()), _boundsOf(models))
    table, plot = layouts.viewNode("BiplanarTable"), layouts.viewNode("BiplanarHistogram")
    if table is not None:
        table.SetTableNodeID(summary.GetID())
    chart = next((node for node in _nodes("vtkMRMLPlotChartNode") if node.GetAttribute(SUMMARY_ATTRIBUTE)), None)
    if plot is not None and chart is not None:
        plot.SetPlotChartNodeID(chart.GetID())


def _boundsOf(models: list[Any]) -> tuple[float, float, float, float, float, float]:
    box = vtk.vtkBoundingBox()
    for model in models:
        bounds = [0.0] * 6
        model.GetRASBounds(bounds)
        box.AddBounds(bounds)
    limits = [0.0] * 6
    box.GetBounds(limits)
    return tuple(limits)  # type: ignore[return-value]


def _keep(node: Any, folder: int) -> None:
    node.SetAttribute(_ATTRIBUTE, "1")
    put(node, folder)


def _comparisonNodes() -> list[Any]:
    return [node for node in _nodes("vtkMRMLNode") if node.GetAttribute(_ATTRIBUTE)]


def _remove(folders: list[int | None], identifiers: list[str]) -> None:
    """Remove an earlier comparison, wherever its nodes were moved to, and its folder."""
    for identifier in identifiers:
        remove(slicer.mrmlScene.GetNodeByID(identifier))
    for folder in folders:
        if folder is not None:
            removeIfEmpty(folder)


def _coloredModel(path: Path, surface: str, bone: str, frame: np.ndarray) -> Any:
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(path))
    reader.Update()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", f"{bone.capitalize()} distances ({surface})")
    node.SetAndObservePolyData(moved(turnedAboutZ(reader.GetOutput()), frame))
    node.SetAttribute(SURFACE_ATTRIBUTE, surface)
    node.SetAttribute(BONE_ATTRIBUTE, bone)
    node.CreateDefaultDisplayNodes()
    return node


def _legend(model: Any, kind: DistanceKind) -> None:
    titles = {
        ("reconstruction", DistanceKind.SIGNED): _("Reconstruction:\nsigned (mm)"),
        ("reconstruction", DistanceKind.ABSOLUTE): _("Reconstruction:\nabsolute (mm)"),
        ("reference", DistanceKind.SIGNED): _("CT:\nsigned (mm)"),
        ("reference", DistanceKind.ABSOLUTE): _("CT:\nabsolute (mm)"),
    }
    surface = model.GetAttribute(SURFACE_ATTRIBUTE)
    addLegend(model, titles[surface, kind], [_VIEW_OF[surface]])


def _summaryTable(report: dict[str, Any]) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Distances")
    node.SetAttribute(SUMMARY_ATTRIBUTE, "1")
    _addColumn(node, "Bone", [bone.capitalize() for bone in report["bones"]], vtk.vtkStringArray())
    for key, title in MEASURES:
        values = [_figure(row.get(key)) for row in report["bones"].values()]
        _addColumn(node, title, values, vtk.vtkStringArray())
    notes = [row.get("failure") or row.get("dice_refused") or "" for row in report["bones"].values()]
    _addColumn(node, "Note", notes, vtk.vtkStringArray())
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    return node


def _boneTable(bone: str, row: dict[str, Any], meanings: dict[str, str]) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", f"{bone.capitalize()} distances")
    node.SetAttribute(BONE_ATTRIBUTE, bone)
    _addColumn(node, "Measure", [title for _key, title in MEASURES], vtk.vtkStringArray())
    _addColumn(node, "Value", [_figure(row.get(key)) for key, _title in MEASURES], vtk.vtkStringArray())
    _addColumn(node, "What it is", [meanings.get(key, "") for key, _title in MEASURES], vtk.vtkStringArray())
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    return node


def _histogram(histograms: dict[str, Any]) -> list[Any]:
    """The table, the series and the chart: share of each bone's area by signed distance."""
    if not histograms:
        return []
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Distance histogram")
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "Distance histogram chart")
    chart.SetAttribute(SUMMARY_ATTRIBUTE, "1")
    chart.SetTitle(_("Share of the reconstructed surface by distance"))
    chart.SetXAxisTitle(_("Signed distance to the CT (mm), outermost bins open-ended"))
    chart.SetYAxisTitle(_("Share of area (%)"))
    edges = next(iter(histograms.values()))["edges_mm"]
    _addColumn(table, "Distance (mm)", [(a + b) / 2 for a, b in pairwise(edges)], vtk.vtkDoubleArray())
    nodes = [table, chart]
    colors = {
        "femur": (0.80, 0.62, 0.20),
        "tibia": (0.20, 0.42, 0.72),
        "fibula": (0.25, 0.55, 0.25),
        "patella": (0.85, 0.40, 0.10),
    }
    for bone in BONES:
        if bone not in histograms:
            continue
        title = bone.capitalize()
        _addColumn(table, title, [100 * share for share in histograms[bone]["share_of_area"]], vtk.vtkDoubleArray())
        series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", title)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName("Distance (mm)")
        series.SetYColumnName(title)
        series.SetPlotType(series.PlotTypeScatter)
        series.SetMarkerStyle(series.MarkerStyleNone)
        series.SetLineWidth(2)
        series.SetColor(colors[bone])
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
        nodes.append(series)
    return nodes


def _addColumn(node: Any, title: str, values: list[Any], array: Any) -> None:
    array.SetName(title)
    for value in values:
        array.InsertNextValue(value)
    node.AddColumn(array)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _nodes(kind: str) -> list[Any]:
    scene = slicer.mrmlScene
    return [scene.GetNthNodeByClass(index, kind) for index in range(scene.GetNumberOfNodesByClass(kind))]
