"""A ruler in a real DICOM radiograph: found by its ticks or marked by hand, accepted into the rig of the scene."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SAMPLE = Path(__file__).resolve().parents[2] / "Resources" / "SampleCase"
TICK_MM = 5.0
#: The sample's own rig magnifies 1.15 at the knee; the ruler says that this room magnifies a little less.
MAGNIFICATION = 1.14
PIXEL_MM = 0.4
COLUMN, FIRST_ROW, TICKS = 40.0, 60.0, 26
PERIOD = TICK_MM * MAGNIFICATION / PIXEL_MM


@pytest.fixture(scope="module")
def with_ruler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's radiographs and rig, with lead ticks along the left side of the AP view."""
    import shutil

    import pydicom

    folder = tmp_path_factory.mktemp("lineal-\u00e4")
    for name in ("lateral.dcm", "rig.json"):
        shutil.copy(SAMPLE / name, folder / name)
    dataset = pydicom.dcmread(SAMPLE / "ap.dcm")
    slope = float(dataset.RealWorldValueMappingSequence[0].RealWorldValueSlope)
    rows, columns = np.mgrid[: dataset.Rows, : dataset.Columns]
    lead = np.zeros(rows.shape)
    for tick in range(TICKS):
        away = np.abs(rows - FIRST_ROW - tick * PERIOD)
        lead += np.clip(PERIOD / 8 + 0.5 - away, 0.0, 1.0) * (np.abs(columns - COLUMN) < 10)
    stored = dataset.pixel_array.astype(np.float64) + 0.5 * lead / slope
    dataset.PixelData = np.clip(stored.round(), 0, 65535).astype(np.uint16).tobytes()
    dataset.save_as(folder / "ap.dcm")
    return folder


@pytest.fixture
def panel(slicer_host: Any, with_ruler: Path) -> Iterator[Any]:
    from slicer_host.panel import Panel

    opened = Panel(slicer_host)
    for view in ("ap", "lateral"):
        opened.answer(str(with_ruler / f"{view}.dcm"))
        opened.click("loadApButton" if view == "ap" else "loadLateralButton")
        opened.waitUntilIdle()
    opened.widget.parameterNode.side = type(opened.widget.parameterNode.side).LEFT
    opened.process()
    yield opened
    opened.close()


def _choose(panel: Any, name: str) -> Any:
    from BiplanarBoneReconLib.parameters import CalibrationTarget

    target = CalibrationTarget(name)
    panel.widget.parameterNode.calibrationTarget = target
    panel.process()
    return target


def _depth_and_length(rig: dict[str, Any]) -> tuple[float, float]:
    """From the source to the knee's centre and to the detector in mm, of the AP view."""
    view = rig["views"][0]
    source = view["source"][1]
    return rig["field_of_view"]["center"][1] - source, view["detector_origin"][1] - source


def test_each_kind_shows_its_own_size(panel: Any) -> None:
    for index, name in enumerate(("ball", "ticks", "length")):
        _choose(panel, name)
        assert panel.ui.calibrationSizeStack.currentIndex == index


def test_ticks_are_found_accepted_and_used(panel: Any) -> None:
    from BiplanarBoneReconLib.parameters import Geometry
    from BiplanarBoneReconLib.radiograph_sources import calibratedRig
    from BiplanarBoneReconLib.scene_calibration import rulerPixels

    node, ui = panel.widget.parameterNode, panel.ui
    _choose(panel, "ticks")
    ui.tickSpacingSpinBox.value = TICK_MM
    panel.process()
    assert not ui.acceptTargetButton.enabled
    panel.click("detectTargetButton")
    panel.waitUntilIdle()
    assert not panel.host.errors, panel.host.errors
    # The middle of the line lies on the ticks; it may reach beyond them, and be turned by a few degrees.
    row, column = np.mean(rulerPixels("ap", node.apVolume), axis=0)
    assert row == pytest.approx(FIRST_ROW + (TICKS - 1) / 2 * PERIOD, abs=4 * PERIOD)
    assert abs(column - COLUMN) < 4.5 * MAGNIFICATION / PIXEL_MM
    for words in ("ticks: residual", f"Magnification at the ruler {MAGNIFICATION:.2f}"):
        assert words in ui.calibrationLabel.text
    panel.click("acceptTargetButton")
    panel.waitUntilIdle()
    assert not panel.host.errors, panel.host.errors
    assert node.geometry is Geometry.SCENE
    rig = calibratedRig(node.apVolume, node.lateralVolume)
    assert rig["provenance"]["calibrations"][0]["kind"] == "ruler"
    depth, length = _depth_and_length(rig)
    assert length / depth == pytest.approx(MAGNIFICATION, rel=4e-3)
    assert "calibrated in this scene" in ui.understoodLabel.text


def test_a_length_is_marked_by_hand(panel: Any) -> None:
    """Without a line, Detect puts one across the radiograph and says what to do with it."""
    from BiplanarBoneReconLib.radiograph_sources import calibratedRig
    from BiplanarBoneReconLib.scene_calibration import rulerLine, rulerPixels

    node, ui = panel.widget.parameterNode, panel.ui
    _choose(panel, "length")
    ui.rulerLengthSpinBox.value = 20 * TICK_MM
    panel.process()
    panel.click("detectTargetButton")
    panel.process()
    line = rulerLine("ap")
    assert line.GetNumberOfControlPoints() == 2
    assert "Drag both ends" in ui.statusLabel.text and not ui.acceptTargetButton.enabled
    (first_row, first_column), (second_row, second_column) = rulerPixels("ap", node.apVolume)
    assert first_row == pytest.approx(second_row) and second_column > first_column + 50
    matrix = np.zeros(16)
    _to_scene(node.apVolume, matrix)
    for index, row in enumerate((FIRST_ROW, FIRST_ROW + 20 * PERIOD)):
        line.SetNthControlPointPositionWorld(index, *(matrix.reshape(4, 4) @ [COLUMN, row, 0.0, 1.0])[:3])
    panel.click("detectTargetButton")
    panel.waitUntilIdle()
    assert not panel.host.errors, panel.host.errors
    assert f"Magnification at the ruler {MAGNIFICATION:.3f}" in ui.calibrationLabel.text
    # The same line measured as ticks would be another measurement.
    _choose(panel, "ticks")
    assert not ui.acceptTargetButton.enabled and "ruler" not in ui.calibrationLabel.text
    _choose(panel, "length")
    panel.click("acceptTargetButton")
    panel.waitUntilIdle()
    assert not panel.host.errors, panel.host.errors
    depth, length = _depth_and_length(calibratedRig(node.apVolume, node.lateralVolume))
    assert length / depth == pytest.approx(MAGNIFICATION, rel=4e-3)
    # The line went with its radiograph.
    (row, column), _ = rulerPixels("ap", node.apVolume)
    assert (row, column) == pytest.approx((FIRST_ROW, COLUMN), abs=0.1)


def _to_scene(volume: Any, elements: np.ndarray) -> None:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    elements[:] = [matrix.GetElement(row, column) for row in range(4) for column in range(4)]


def test_a_radiograph_without_ticks_says_so(panel: Any) -> None:
    from BiplanarBoneReconLib.parameters import View

    _choose(panel, "ticks")
    panel.widget.parameterNode.calibrationView = View.LATERAL
    panel.ui.tickSpacingSpinBox.value = TICK_MM
    panel.process()
    panel.click("detectTargetButton")
    panel.waitUntilIdle()
    assert "No ruler with ticks 5 mm apart" in panel.host.errors[-1][0]
    assert not panel.ui.acceptTargetButton.enabled


def test_a_line_on_another_radiograph_is_laid_onto_this_one_first(panel: Any) -> None:
    """Its ends were dragged onto the marks of another image."""
    from BiplanarBoneReconLib.scene_calibration import rulerLine, rulerPixels

    node, ui = panel.widget.parameterNode, panel.ui
    _choose(panel, "length")
    panel.click("detectTargetButton")
    panel.click("detectTargetButton")
    panel.waitUntilIdle()
    assert ui.acceptTargetButton.enabled
    for index in (0, 1):
        rulerLine("ap").SetNthControlPointPositionWorld(index, 0.0, 0.0, 10.0 * index)
    node.apVolume, node.lateralVolume = node.lateralVolume, node.apVolume
    panel.process()
    assert not ui.acceptTargetButton.enabled and ui.calibrationLabel.text == ""
    panel.click("detectTargetButton")
    panel.process()
    assert "Drag both ends" in ui.statusLabel.text and not ui.acceptTargetButton.enabled
    (first_row, first_column), (second_row, second_column) = rulerPixels("ap", node.apVolume)
    assert first_row == pytest.approx(second_row) and second_column > first_column + 50


def test_a_line_on_a_radiograph_that_was_moved_is_where_it_is_seen(panel: Any) -> None:
    """Under a transform, as when a whole knee is moved onto a CT: the marks that the ends are dragged onto are those of the image."""
    import slicer
    import vtk
    from BiplanarBoneReconLib.scene_calibration import placeRuler, rulerPixels

    radiograph = panel.widget.parameterNode.apVolume
    turn = vtk.vtkTransform()
    turn.Translate(20.0, 5.0, -7.0)
    turn.RotateWXYZ(25.0, 1.0, 1.0, 0.0)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(turn.GetMatrix())
    radiograph.SetAndObserveTransformNodeID(transform.GetID())
    ends = [[60.0, 40.0], [180.0, 45.0]]
    line = placeRuler("ap", radiograph, ends)
    np.testing.assert_allclose(rulerPixels("ap", radiograph), ends, atol=1e-6)
    matrix, position = np.zeros(16), [0.0] * 3
    _to_scene(radiograph, matrix)
    line.GetNthControlPointPositionWorld(0, position)
    seen = turn.TransformPoint((matrix.reshape(4, 4) @ [40.0, 60.0, 0.0, 1.0])[:3])
    np.testing.assert_allclose(position, seen, atol=1e-6)
