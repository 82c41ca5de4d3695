"""A calibration ball or ruler on a radiograph in the scene: what can be dragged onto it, and what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from . import layouts
from .frames import toWorld
from .radiograph_sources import VIEW_NAMES
from .texts import attachedJson, attachJson

BALL_ATTRIBUTE = "BiplanarBoneRecon.CalibrationBall"
RULER_ATTRIBUTE = "BiplanarBoneRecon.CalibrationRuler"
_OUTLINE_ATTRIBUTE = "BiplanarBoneRecon.CalibrationBallOutline"
_REPORT = "BiplanarBoneRecon.CalibrationReport"
#: Role under which a point or line refers to the radiograph that it stands on.
_RADIOGRAPH = "BiplanarBoneRecon.CalibratedRadiograph"


def ballPoint(view: str) -> Any:
    """The point on the ball of a view ("ap" or "lateral"), or None."""
    return _marked("vtkMRMLMarkupsFiducialNode", BALL_ATTRIBUTE, view)


def ballPixel(view: str, radiograph: Any) -> tuple[float, float] | None:
    """(row, column) where the point of a view stands on its radiograph; None without one."""
    point = ballPoint(view)
    if not isOn(point, radiograph) or point.GetNumberOfDefinedControlPoints() == 0:
        return None
    return _pixel(point, 0, radiograph)


def rulerLine(view: str) -> Any:
    """The line on the ruler of a view, or None."""
    return _marked("vtkMRMLMarkupsLineNode", RULER_ATTRIBUTE, view)


def isOn(marker: Any, radiograph: Any) -> bool:
    """Whether a point or line was put onto this radiograph, and not onto another one of its view."""
    return marker is not None and bool(marker.GetNodeReferenceID(_RADIOGRAPH) == radiograph.GetID())


def rulerPixels(view: str, radiograph: Any) -> list[tuple[float, float]] | None:
    """(row, column) of both ends of a view's line on its radiograph; None without one."""
    line = rulerLine(view)
    if not isOn(line, radiograph) or line.GetNumberOfDefinedControlPoints() < 2:
        return None
    return [_pixel(line, index, radiograph) for index in (0, 1)]


def placeRuler(
    view: str, radiograph: Any, ends: Sequence[Sequence[float]] | None = None, report: dict[str, Any] | None = None
) -> Any:
    """Show a ruler's line with its ends at (row, column), across the middle of the radiograph unless they are known, and keep what was
    measured; returns the line.
    """
    if ends is None:
        columns, rows, _slices = radiograph.GetImageData().GetDimensions()
        ends = [[rows / 2, columns / 4], [rows / 2, 3 * columns / 4]]
    line = rulerLine(view)
    if line is None:
        name = _("Calibration ruler ({view})").format(view=VIEW_NAMES[view])
        line = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", name)
        line.SetAttribute(RULER_ATTRIBUTE, view)
        line.CreateDefaultDisplayNodes()
        # Its own length would be that of the shadow on the detector.
        line.GetDisplayNode().SetPropertiesLabelVisibility(False)
        for _end in ends:
            line.AddControlPoint(vtk.vtkVector3d(0.0, 0.0, 0.0), "")
        line.SetFixedNumberOfControlPoints(True)
    _putOnto(line, radiograph)
    for index, end in enumerate(ends):
        line.SetNthControlPointPositionWorld(index, *_onDetector(radiograph, *end))
    layouts.restrictTo(line.GetDisplayNode(), [layouts.SLICE_VIEWS[view], layouts.KNEE_VIEW])
    if report is not None:
        attachJson(line, _REPORT, "Calibration report", report).SetHideFromEditors(True)
    return line


def rulerReport(view: str) -> dict[str, Any]:
    """What was measured of a view's ruler, {} where nothing was."""
    return attachedJson(rulerLine(view), _REPORT) or {}


def placeBall(view: str, radiograph: Any, report: dict[str, Any]) -> Any:
    """Show what `ssrkd calibrate ball` measured; returns the point."""
    ball = report["measured"]["ball"]
    point = ballPoint(view)
    if point is None:
        name = _("Calibration ball ({view})").format(view=VIEW_NAMES[view])
        point = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        point.SetAttribute(BALL_ATTRIBUTE, view)
        point.CreateDefaultDisplayNodes()
        point.AddControlPoint(vtk.vtkVector3d(0.0, 0.0, 0.0), "")
        point.SetFixedNumberOfControlPoints(True)
    _putOnto(point, radiograph)
    point.SetNthControlPointPositionWorld(0, *_onDetector(radiograph, *ball["center"]))
    attachJson(point, _REPORT, "Calibration report", report).SetHideFromEditors(True)
    outline = _marked("vtkMRMLModelNode", _OUTLINE_ATTRIBUTE, view)
    if outline is None:
        outline = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", f"{point.GetName()} outline")
        outline.SetAttribute(_OUTLINE_ATTRIBUTE, view)
        outline.CreateDefaultDisplayNodes()
        display = outline.GetDisplayNode()
        display.SetColor(1.0, 0.2, 0.6)
        display.SetLineWidth(2)
        display.SetLighting(False)
        display.SetVisibility2D(True)
        display.SetSliceDisplayModeToProjection()
    outline.SetAndObservePolyData(_closedLine([_onDetector(radiograph, *pixel) for pixel in ball["outline"]]))
    layouts.restrictTo(outline.GetDisplayNode(), [layouts.SLICE_VIEWS[view], layouts.KNEE_VIEW])
    return point


@contextmanager
def markersGoWith(radiographs: dict[str, Any]) -> Iterator[None]:
    """Points and lines on radiographs (by view name) stay on their pixels while these are stood elsewhere inside the `with` block."""
    nodes = {view: node for view, node in radiographs.items() if node is not None}
    on = [(view, node, ballPixel(view, node), rulerPixels(view, node)) for view, node in nodes.items()]
    yield
    for view, node, ball, ends in on:
        if ball is not None:
            report = ballReport(view)
            if report:
                placeBall(view, node, report)
            # It may have been dragged since it was measured.
            ballPoint(view).SetNthControlPointPositionWorld(0, *_onDetector(node, *ball))
        if ends is not None:
            placeRuler(view, node, ends)


def ballReport(view: str) -> dict[str, Any]:
    """What was measured of a view's ball, {} where nothing was."""
    return attachedJson(ballPoint(view), _REPORT) or {}


def ballInWords(report: dict[str, Any]) -> list[str]:
    """A ball's measurement, one sentence a line, without the warnings."""
    measured = report["measured"]
    lines = [
        _("Ball of {diameter:g} mm: residual {residual:.1f} % of its shadow, confidence {confidence:.0f} %.").format(
            diameter=measured["diameter_mm"],
            residual=measured["residual_percent"],
            confidence=100 * measured["ball"]["confidence"],
        )
    ]
    return lines + _scaleInWords(report, _("Magnification at the ball {magnification:.3f} \u00b1 {uncertainty:.2f} %."))


def rulerInWords(report: dict[str, Any]) -> list[str]:
    """A ruler's measurement, one sentence a line, without the warnings."""
    measured = report["measured"]
    if measured["residual_px"] is None:
        words = _("Ruler of {length:g} mm between the ends of the line.").format(length=measured["length_mm"])
    else:
        words = _("Ruler of {length:.1f} mm in {ticks:.0f} ticks: residual {residual:.2f} pixels.").format(
            length=measured["length_mm"], ticks=measured["ticks"], residual=measured["residual_px"]
        )
    return [
        words,
        *_scaleInWords(report, _("Magnification at the ruler {magnification:.3f} \u00b1 {uncertainty:.2f} %.")),
    ]


def _scaleInWords(report: dict[str, Any], sentence: str) -> list[str]:
    measured = report["measured"]
    lines = []
    if measured["magnification"] is not None:
        lines.append(
            sentence.format(magnification=measured["magnification"], uncertainty=measured["uncertainty_percent"])
        )
    at_centre = measured.get("magnification_at_centre")
    if at_centre is not None:
        lines.append(_("Magnification at the knee's centre {magnification:.3f}.").format(magnification=at_centre))
    return lines + [_("Assumed: {words}.").format(words=words) for words in report["assumed"]]


def _putOnto(marker: Any, radiograph: Any) -> None:
    """Let a point or line stand on this radiograph; what was measured on another one says nothing here."""
    if not isOn(marker, radiograph):
        marker.SetNodeReferenceID(_RADIOGRAPH, radiograph.GetID())
        attachJson(marker, _REPORT, "Calibration report", {}).SetHideFromEditors(True)


def _pixel(markups: Any, index: int, radiograph: Any) -> tuple[float, float]:
    """(row, column) of a control point on a radiograph."""
    position = [0.0, 0.0, 0.0]
    markups.GetNthControlPointPositionWorld(index, position)
    column, row = (np.linalg.inv(_pixelsToWorld(radiograph)) @ [*position, 1.0])[:2]
    return float(row), float(column)


def _onDetector(radiograph: Any, row: float, column: float) -> list[float]:
    return [float(value) for value in (_pixelsToWorld(radiograph) @ [column, row, 0.0, 1.0])[:3]]


def _pixelsToWorld(radiograph: Any) -> np.ndarray:
    """(4, 4) from column, row, slice to where the radiograph is seen: under its transforms, as far as they are linear."""
    matrix, above = vtk.vtkMatrix4x4(), toWorld(radiograph)
    radiograph.GetIJKToRASMatrix(matrix)
    own = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    return own if above is None else above @ own


def _closedLine(corners: list[list[float]]) -> Any:
    points, lines = vtk.vtkPoints(), vtk.vtkCellArray()
    for corner in corners:
        points.InsertNextPoint(corner)
    lines.InsertNextCell(len(corners) + 1)
    for index in [*range(len(corners)), 0]:
        lines.InsertCellPoint(index)
    polydata = vtk.vtkPolyData()
    polydata.SetPoints(points)
    polydata.SetLines(lines)
    return polydata


def _marked(kind: str, attribute: str, value: str) -> Any:
    scene = slicer.mrmlScene
    for index in range(scene.GetNumberOfNodesByClass(kind)):
        node = scene.GetNthNodeByClass(index, kind)
        if node.GetAttribute(attribute) == value:
            return node
    return None
