"""A calibration ball in a real DICOM radiograph: found, corrected with a click, accepted into the rig of the scene."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SAMPLE = Path(__file__).resolve().parents[2] / "Resources" / "SampleCase"
DIAMETER_MM = 20.0
#: The sample's own rig magnifies 1.15 at the knee; the ball says that this room magnifies a little more.
MAGNIFICATION = 1.16
CENTER = (70.0, 90.0)


@pytest.fixture(scope="module")
def with_ball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's radiographs and rig, with the shadow of a ball in the upper corner of the AP view."""
    import shutil

    import pydicom

    folder = tmp_path_factory.mktemp("kugel-\u00e4")
    for name in ("lateral.dcm", "rig.json"):
        shutil.copy(SAMPLE / name, folder / name)
    dataset = pydicom.dcmread(SAMPLE / "ap.dcm")
    slope = float(dataset.RealWorldValueMappingSequence[0].RealWorldValueSlope)
    rows, columns = np.mgrid[: dataset.Rows, : dataset.Columns]
    pixel = 0.4 / MAGNIFICATION
    away = np.hypot(rows - CENTER[0], columns - CENTER[1]) * pixel
    through = 2 * np.sqrt(np.maximum((DIAMETER_MM / 2) ** 2 - away**2, 0.0))
    stored = dataset.pixel_array.astype(np.float64) + 0.06 * through / slope
    dataset.PixelData = np.clip(stored.round(), 0, 65535).astype(np.uint16).tobytes()
    dataset.save_as(folder / "ap.dcm")
    return folder


@pytest.fixture
def panel(slicer_host: Any, with_ball: Path) -> Iterator[Any]:
    from slicer_host.panel import Panel

    opened = Panel(slicer_host)
    for view in ("ap", "lateral"):
        opened.answer(str(with_ball / f"{view}.dcm"))
        opened.click("loadApButton" if view == "ap" else "loadLateralButton")
        opened.waitUntilIdle()
    opened.ui.ballDiameterSpinBox.value = DIAMETER_MM
    opened.widget.parameterNode.side = type(opened.widget.parameterNode.side).LEFT
    opened.process()
    yield opened
    opened.close()


def test_the_ball_is_found_accepted_and_used(panel: Any) -> None:
    from BiplanarBoneReconLib.parameters import Geometry
    from BiplanarBoneReconLib.radiograph_sources import calibratedRig
    from BiplanarBoneReconLib.scene_calibration import ballPixel, ballPoint, ballReport

    node, ui = panel.widget.parameterNode, panel.ui
    assert not ui.acceptTargetButton.enabled
    panel.click("detectTargetButton")
    panel.waitUntilIdle()
    assert not panel.host.errors
    report = ballReport("ap")
    assert report["measured"]["magnification"] == pytest.approx(MAGNIFICATION, rel=0.01)
    assert ballPixel("ap", node.apVolume) == pytest.approx(CENTER, abs=1.0)
    for words in ("residual", "Magnification at the ball 1.1"):
        assert words in ui.calibrationLabel.text
    # The point stands on the detector, where the radiograph does.
    position = [0.0] * 3
    ballPoint("ap").GetNthControlPointPositionWorld(0, position)
    rig = json.loads((SAMPLE / "rig.json").read_text())["views"][0]
    corner = np.array(rig["detector_origin"]) + 0.4 * np.array([CENTER[1], 0.0, -CENTER[0]])
    np.testing.assert_allclose(position, corner * [-1, -1, 1], atol=0.5)

    panel.click("acceptTargetButton")
    panel.waitUntilIdle()
    assert not panel.host.errors, panel.host.errors
    assert node.geometry is Geometry.SCENE
    calibrated = calibratedRig(node.apVolume, node.lateralVolume)
    assert calibrated["provenance"]["calibrations"][0]["kind"] == "ball"
    view, fixed = (calibrated["views"][index] for index in (0, 1))
    depth = np.array(calibrated["field_of_view"]["center"])[1] - view["source"][1]
    length = view["detector_origin"][1] - view["source"][1]
    assert length / depth == pytest.approx(report["measured"]["magnification"], rel=2e-3)
    for name, value in json.loads((SAMPLE / "rig.json").read_text())["views"][1].items():
        assert fixed[name] == (value if isinstance(value, str) else pytest.approx(value)), name
    for words in ("calibrated in this scene", f"magnification {length / depth:.3f}"):
        assert words in ui.understoodLabel.text


def test_a_measured_place_of_the_ball_moves_the_knee_and_narrows_what_is_known(panel: Any) -> None:
    from BiplanarBoneReconLib.radiograph_sources import calibratedRig

    node, ui = panel.widget.parameterNode, panel.ui
    panel.click("detectTargetButton")
    panel.waitUntilIdle()
    assert not ui.targetOffsetSpinBox.enabled
    ui.targetOffsetCheckBox.checked = True
    ui.targetOffsetSpinBox.value = 30.0
    panel.process()
    assert ui.targetOffsetSpinBox.enabled
    panel.click("acceptTargetButton")
    panel.waitUntilIdle()
    assert not panel.host.errors, panel.host.errors
    rig = calibratedRig(node.apVolume, node.lateralVolume)
    view = rig["views"][0]
    depth = rig["field_of_view"]["center"][1] - view["source"][1]
    length = view["detector_origin"][1] - view["source"][1]
    # 30 mm nearer the detector than the knee: the knee is 30 mm nearer the source than the ball.
    assert depth == pytest.approx(length / MAGNIFICATION - 30.0, abs=3.0)
    (calibration,) = rig["provenance"]["calibrations"]
    assert calibration["uncertainty"]["magnification_at_centre_percent_95"] < 1.0
    assert not any("lies as far from the detector" in words for words in calibration["assumed"])


def test_a_point_that_is_dragged_is_where_the_ball_is_looked_for(panel: Any) -> None:
    """A click beside the ball finds it, a click where no ball is does not, and says so."""
    from BiplanarBoneReconLib.scene_calibration import ballPixel, ballPoint

    node = panel.widget.parameterNode
    panel.click("detectTargetButton")
    panel.waitUntilIdle()
    point = ballPoint("ap")
    found = [0.0] * 3
    point.GetNthControlPointPositionWorld(0, found)
    point.SetNthControlPointPositionWorld(0, found[0] + 3.0, found[1], found[2] - 3.0)
    panel.click("detectTargetButton")
    panel.waitUntilIdle()
    assert not panel.host.errors
    assert ballPixel("ap", node.apVolume) == pytest.approx(CENTER, abs=1.0)
    point.SetNthControlPointPositionWorld(0, found[0] - 150.0, found[1], found[2])
    panel.click("detectTargetButton")
    panel.waitUntilIdle()
    assert "ball" in panel.host.errors[-1][0]


def test_a_pair_that_was_not_calibrated_is_refused(panel: Any) -> None:
    from BiplanarBoneReconLib.parameters import Geometry

    panel.widget.parameterNode.geometry = Geometry.SCENE
    panel.click("inspectButton")
    panel.waitUntilIdle()
    assert "were not calibrated together" in panel.host.errors[-1][0]


def test_what_was_measured_on_another_radiograph_is_not_accepted_for_this_one(panel: Any, with_ball: Path) -> None:
    """The next patient's AP view is loaded: the ball of the first says nothing about it, and is not looked for where that one lay."""
    from BiplanarBoneReconLib.scene_calibration import ballPixel, ballPoint

    node, ui = panel.widget.parameterNode, panel.ui
    panel.click("detectTargetButton")
    panel.waitUntilIdle()
    first = node.apVolume
    assert ui.acceptTargetButton.enabled and "residual" in ui.calibrationLabel.text
    panel.answer(str(with_ball / "ap.dcm"))
    panel.click("loadApButton")
    panel.waitUntilIdle()
    assert not panel.host.errors
    assert not ui.acceptTargetButton.enabled and ui.calibrationLabel.text == ""
    assert ballPixel("ap", node.apVolume) is None
    point = ballPoint("ap")
    point.SetNthControlPointPositionWorld(0, 0.0, 0.0, 0.0)
    panel.click("detectTargetButton")
    panel.waitUntilIdle()
    assert not panel.host.errors
    assert ballPixel("ap", node.apVolume) == pytest.approx(CENTER, abs=1.0)
    assert ui.acceptTargetButton.enabled
    node.apVolume = first
    panel.process()
    assert not ui.acceptTargetButton.enabled


def test_a_ball_is_not_accepted_for_another_size_than_it_was_measured_with(panel: Any) -> None:
    """Whoever corrects the size and forgets Detect would calibrate with the old one."""
    ui = panel.ui
    panel.click("detectTargetButton")
    panel.waitUntilIdle()
    assert ui.acceptTargetButton.enabled and "another one is entered" not in ui.calibrationLabel.text
    ui.ballDiameterSpinBox.value = DIAMETER_MM + 5.0
    panel.process()
    assert not ui.acceptTargetButton.enabled
    assert f"a size of {DIAMETER_MM:g} mm, and another one is entered" in ui.calibrationLabel.text
    ui.ballDiameterSpinBox.value = DIAMETER_MM
    panel.process()
    assert ui.acceptTargetButton.enabled and "another one is entered" not in ui.calibrationLabel.text
