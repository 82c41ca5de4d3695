"""Two radiographs without a common frame: the second one's position estimated from the bones, told in words, accepted into the scene."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from played_pair import LOWERED_MM, PlayedEngine, estimate, record

SAMPLE = Path(__file__).resolve().parents[2] / "Resources" / "SampleCase"


@pytest.fixture
def panel(pair_panel: Any) -> Any:
    return pair_panel


def _accept(panel: Any) -> None:
    panel.click("acceptPositionButton")
    panel.waitUntilIdle()
    assert not panel.host.errors, panel.host.errors


def _pair(panel: Any) -> tuple[Any, Any]:
    return panel.widget.parameterNode.apVolume, panel.widget.parameterNode.lateralVolume


def _standing(volume: Any) -> np.ndarray:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def _scene(panel: Any) -> tuple[Any, ...]:
    """What must stay: the nodes, where the radiographs stand, in which rig, and what is chosen."""
    import slicer
    from BiplanarBoneReconLib.radiograph_sources import calibratedRig, standingRig

    nodes = [slicer.mrmlScene.GetNthNode(index).GetID() for index in range(slicer.mrmlScene.GetNumberOfNodes())]
    pair = _pair(panel)
    stand = [_standing(volume).tolist() for volume in pair]
    return nodes, stand, standingRig(*pair), calibratedRig(*pair), panel.widget.parameterNode.geometry


def _calibrated(panel: Any, kind: str = "ball") -> dict[str, Any]:
    """The pair as it is after a ball on its AP view was accepted; the rig."""
    from BiplanarBoneReconLib.parameters import Geometry
    from BiplanarBoneReconLib.scene_radiographs import calibrateTo

    rig = json.loads((SAMPLE / "rig.json").read_text(encoding="utf-8"))
    entry = {"kind": kind, "view": "ap", "uncertainty": {"magnification_at_centre_percent_95": 0.8}}
    rig["provenance"] = {**rig.get("provenance", {}), "calibrations": [entry]}
    calibrateTo(dict(zip(("ap", "lateral"), _pair(panel), strict=True)), rig)
    panel.widget.parameterNode.geometry = Geometry.SCENE
    panel.widget.update()
    return rig


def test_a_position_is_estimated_told_accepted_and_kept_with_the_balls_record(panel: Any) -> None:
    """The engine's own estimate for the bundled sample, which starts from the rig that a ball has calibrated."""
    from BiplanarBoneReconLib.radiograph_sources import calibratedRig

    node, ui = panel.widget.parameterNode, panel.ui
    ball = _calibrated(panel)
    assert not ui.acceptPositionButton.enabled and ui.positionLabel.text == ""
    before, stood = _scene(panel), [_standing(volume) for volume in _pair(panel)]
    estimate(panel)
    assert _scene(panel) == before
    assert ui.acceptPositionButton.enabled and "Nothing was moved yet" in panel.status()
    for words in (
        "The lateral view is moved",
        "lower by",
        "\u00b1",
        "mm before",
        "should not have bent",
        "shape model",
    ):
        assert words in ui.positionLabel.text, words
    # With one pair of views no image tells how far away the second source was.
    told, untold = ui.positionLabel.text.split("The images do not tell")
    assert "along its beam" in untold and "along its beam" not in told
    assert "Assumed: the first view, both source-to-detector distances" in ui.positionLabel.toolTip
    assert "Warning:" in ui.positionLabel.text

    _accept(panel)
    rig = calibratedRig(*_pair(panel))
    assert [entry["kind"] for entry in rig["provenance"]["calibrations"]] == ["ball", "pair"]
    assert rig["provenance"]["calibrations"][0] == ball["provenance"]["calibrations"][0]
    np.testing.assert_allclose(_standing(node.apVolume), stood[0], atol=1e-6)
    moved = np.linalg.norm((_standing(node.lateralVolume) - stood[1])[:3, 3])
    # The sample's rig is right: the estimate stays near it.
    assert 0.0 < moved < 30.0
    assert "calibrated in this scene" in ui.understoodLabel.text
    assert ui.positionLabel.text.startswith("<b>Accepted") and not ui.acceptPositionButton.enabled


def test_the_next_reconstruction_uses_what_was_accepted(panel: Any, engine: PlayedEngine) -> None:
    from BiplanarBoneReconLib.parameters import Geometry
    from BiplanarBoneReconLib.radiograph_sources import calibratedRig

    node = panel.widget.parameterNode
    engine.plays()
    start = _standing(node.lateralVolume)
    estimate(panel)
    _accept(panel)
    assert node.geometry is Geometry.SCENE
    # The detector went with its view.
    down = (_standing(node.lateralVolume) - start)[:3, 3]
    np.testing.assert_allclose(down, LOWERED_MM * start[:3, 1] / np.linalg.norm(start[:3, 1]), atol=1e-6)
    panel.click("reconstructButton")
    panel.waitUntilIdle()
    assert "reconstruct" in engine.words
    assert engine.rig == calibratedRig(node.apVolume, node.lateralVolume)


def test_a_scene_that_is_reopened_says_what_was_accepted(panel: Any, engine: PlayedEngine, tmp_path: Path) -> None:
    from BiplanarBoneReconLib.parameters import Geometry
    from slicer_host.panel import Panel

    engine.plays()
    estimate(panel)
    _accept(panel)
    words = panel.ui.positionLabel.text
    path = tmp_path / "accepted.mrb"
    assert panel.host.scene.WriteToMRB(str(path))
    panel.close()
    panel.host.clear()
    assert panel.host.scene.ReadFromMRB(str(path))
    opened = Panel(panel.host)
    assert opened.ui.positionLabel.text == words and words.startswith("<b>Accepted")
    opened.widget.parameterNode.geometry = Geometry.FILES
    opened.process()
    assert opened.ui.positionLabel.text == ""
    opened.close()


@pytest.mark.parametrize(
    ("bones", "words"),
    [
        ("known", "was given"),
        ("reconstructed", "fits a wrong position too"),
        ("shape_model", "can pass for a turned view"),
        ("of a later engine", None),
    ],
)
def test_what_was_found_in_words(slicer_host: Any, bones: str, words: str | None) -> None:
    from BiplanarBoneReconLib.position_words import positionInWords

    told, untold, outlines, *shape = positionInWords(record(bones))
    assert told.startswith(
        "The lateral view is moved, as the images tell (95\u00a0%): lower by 4.0\u00a0\u00b1\u00a01.7\u00a0mm,"
    )
    assert "turned in its plane by \u22120.9\u00b0\u00a0\u00b1\u00a03.5\u00b0" in told
    # No minus before nothing.
    assert "tilted up or down by 0.0\u00b0" in told
    for direction in (
        "turned sideways by \u22122.4\u00b0",
        "(the angle between the views)",
        "along its beam by \u22124.1",
    ):
        assert direction in untold
    assert "0.44 and 0.77 mm before, 0.45 and 0.54 mm after" in outlines
    assert (shape == []) if words is None else (len(shape) == 1 and words in shape[0])


def test_outlines_that_were_not_seen_are_not_told(slicer_host: Any) -> None:
    from BiplanarBoneReconLib.position_words import positionInWords

    unseen = record()
    unseen["measured"]["outline_distance_mm"]["after"] = [0.45, None]
    assert not any("outlines" in line for line in positionInWords(unseen))


def test_the_engines_words_are_text_and_no_markup(panel: Any, engine: PlayedEngine) -> None:
    engine.plays()
    estimate(panel)
    assert "Not known &lt;well&gt; enough." in panel.ui.positionLabel.text


def test_an_estimate_goes_away_with_what_it_is_of(panel: Any, engine: PlayedEngine) -> None:
    """Other images, another leg, another geometry, a ball that was accepted since: nothing of it can be accepted for these."""
    from BiplanarBoneReconLib.parameters import Geometry, Side

    node, ui = panel.widget.parameterNode, panel.ui
    engine.plays()

    def isShown() -> bool:
        panel.process()
        assert ui.acceptPositionButton.enabled == (ui.positionLabel.text != "")
        return bool(ui.acceptPositionButton.enabled)

    estimate(panel)
    assert isShown()
    for name, other in (("side", Side.LEFT), ("geometry", Geometry.ROOM), ("lateralVolume", None)):
        own = getattr(node, name)
        setattr(node, name, other)
        assert not isShown(), name
        setattr(node, name, own)
        assert isShown(), name
    node.apVolume, node.lateralVolume = node.lateralVolume, node.apVolume
    assert not isShown()
    node.apVolume, node.lateralVolume = node.lateralVolume, node.apVolume
    # Shown once more, the radiographs stand where they stood.
    panel.click("inspectButton")
    panel.waitUntilIdle()
    assert isShown()
    _calibrated(panel)
    assert not isShown()
    node.geometry = Geometry.FILES
    assert not isShown()


def test_another_pair_is_not_stood_where_this_one_was(panel: Any, engine: PlayedEngine) -> None:
    from BiplanarBoneReconLib.problems import Problem
    from BiplanarBoneReconLib.scene_position import acceptPosition

    engine.plays()
    estimate(panel)
    found = panel.widget._sections[0]._position._estimate
    ap, lateral = _pair(panel)
    before = _scene(panel)
    for pair in ((lateral, ap), (ap, None)):
        with pytest.raises(Problem, match="not of these radiographs"):
            acceptPosition(*pair, found)
    assert _scene(panel) == before


def test_a_ball_that_is_accepted_afterwards_has_the_last_word(panel: Any, engine: PlayedEngine) -> None:
    from BiplanarBoneReconLib.scene_position import acceptedPosition

    engine.plays()
    estimate(panel)
    _accept(panel)
    assert acceptedPosition(*_pair(panel)) is not None
    ap, lateral = _pair(panel)
    assert acceptedPosition(lateral, ap) is None
    _calibrated(panel)
    assert acceptedPosition(ap, lateral) is None and panel.ui.positionLabel.text == ""


def test_an_estimate_that_is_repeated_starts_where_the_first_one_did(panel: Any, engine: PlayedEngine) -> None:
    """From where the first one led to, the same images would count twice."""
    from BiplanarBoneReconLib.radiograph_sources import calibratedRig

    engine.plays()
    estimate(panel)
    start = engine.rig
    _accept(panel)
    accepted = calibratedRig(*_pair(panel))
    assert accepted != start
    estimate(panel)
    assert engine.rig == start
    assert panel.ui.acceptPositionButton.enabled and "Accepted" not in panel.ui.positionLabel.text
    _accept(panel)
    assert calibratedRig(*_pair(panel)) == accepted
    assert [entry["kind"] for entry in accepted["provenance"]["calibrations"]] == ["pair"]


def test_it_starts_from_the_geometry_that_is_chosen(panel: Any, engine: PlayedEngine) -> None:
    """Chosen, and not shown yet: the radiographs stand in another one."""
    from BiplanarBoneReconLib.parameters import Device, Geometry

    node = panel.widget.parameterNode
    engine.plays()
    node.geometry, node.device, node.prepare, node.modelFolder = Geometry.C_ARM, Device.CPU, False, "/a model"
    panel.process()
    estimate(panel)
    assert engine.rig["provenance"]["preset"] == "c_arm"
    for word in ("--device=cpu", "--no-prepare", "--model=/a model", f"--ap={SAMPLE / 'ap.dcm'}"):
        assert word in engine.words, word
    assert panel.ui.acceptPositionButton.enabled
    panel.click("inspectButton")
    panel.waitUntilIdle()
    assert panel.ui.acceptPositionButton.enabled


def test_radiographs_without_their_files_are_estimated_as_they_stand(
    slicer_host: Any, engine: PlayedEngine, tmp_path: Path
) -> None:
    """The scene's own images are line integrals, and say nothing of a rig or a side."""
    import shutil

    from BiplanarBoneReconLib.radiograph_sources import standingRig
    from slicer_host.panel import Panel

    disc = tmp_path / "disc"
    disc.mkdir()
    panel = Panel(slicer_host)
    for view, button in (("ap", "loadApButton"), ("lateral", "loadLateralButton")):
        shutil.copy(SAMPLE / f"{view}.dcm", disc)
        panel.answer(str(disc / f"{view}.dcm"))
        panel.click(button)
        panel.waitUntilIdle()
    node = panel.widget.parameterNode
    node.side = type(node.side).LEFT
    shutil.rmtree(disc)
    engine.plays()
    stood = standingRig(*_pair(panel))
    estimate(panel)
    assert engine.rig["views"] == stood["views"] and engine.rig["provenance"] == stood["provenance"]
    assert "--intensity=line_integral" in engine.words and "--side=left" in engine.words
    _accept(panel)
    panel.close()


def test_marks_on_a_radiograph_go_with_it(panel: Any, engine: PlayedEngine) -> None:
    """A ball that was measured on the lateral view, and its point dragged since, and a ruler: they stay on their pixels."""
    import slicer
    from BiplanarBoneReconLib.scene_calibration import ballPixel, ballPoint, placeBall, placeRuler, rulerPixels

    lateral = panel.widget.parameterNode.lateralVolume
    ends = [[60.0, 40.0], [180.0, 45.0]]
    ball = {"center": [100.0, 120.0], "outline": [[95.0, 120.0], [105.0, 120.0], [100.0, 125.0]], "confidence": 0.9}
    point = placeBall("lateral", lateral, {"measured": {"ball": ball}, "assumed": [], "warnings": []})
    position = [0.0] * 3
    point.GetNthControlPointPositionWorld(0, position)
    point.SetNthControlPointPositionWorld(0, position[0], position[1], position[2] - 8.0)
    dragged = ballPixel("lateral", lateral)
    assert dragged[0] > 110.0
    placeRuler("lateral", lateral, ends)
    outline = next(node for node in slicer.util.getNodesByClass("vtkMRMLModelNode") if "outline" in node.GetName())
    height = outline.GetPolyData().GetBounds()[5]
    engine.plays()
    estimate(panel)
    _accept(panel)
    np.testing.assert_allclose(ballPixel("lateral", lateral), dragged, atol=1e-6)
    np.testing.assert_allclose(rulerPixels("lateral", lateral), ends, atol=1e-6)
    assert outline.GetPolyData().GetBounds()[5] == pytest.approx(height - LOWERED_MM, abs=1e-4)
    after = [0.0] * 3
    ballPoint("lateral").GetNthControlPointPositionWorld(0, after)
    assert after[2] == pytest.approx(position[2] - 8.0 - LOWERED_MM, abs=1e-6)


def test_a_refusal_is_told_and_nothing_is_moved(panel: Any, engine_does: Callable[[str], None]) -> None:
    before = _scene(panel)
    engine_does('print(\'{"error": "The outlines do not lie on edges.", "exit_code": 2}\'); raise SystemExit(2)')
    panel.click("estimatePositionButton")
    panel.waitUntilIdle()
    (error,) = panel.host.errors
    assert error[0] == "The outlines do not lie on edges." and error[0] in panel.status()
    assert _scene(panel) == before
    assert panel.ui.estimatePositionButton.enabled and not panel.ui.acceptPositionButton.enabled


def test_an_estimate_is_cancelled(panel: Any, engine: PlayedEngine) -> None:
    import time

    engine.plays(meanwhile="time.sleep(120)")
    before = _scene(panel)
    panel.click("estimatePositionButton")
    end = time.monotonic() + 60
    while "Matching outlines" not in panel.status():
        panel.process()
        assert time.monotonic() < end
    assert panel.ui.progressBar.value > 10 and not panel.ui.estimatePositionButton.enabled
    panel.click("cancelButton")
    panel.waitUntilIdle()
    assert panel.status() == "Cancelled. The scene is as it was."
    assert not panel.host.errors and _scene(panel) == before
    assert panel.ui.positionLabel.text == "" and not panel.ui.acceptPositionButton.enabled


def test_a_choice_that_is_changed_meanwhile(panel: Any, engine: PlayedEngine) -> None:
    from BiplanarBoneReconLib.parameters import Side

    engine.plays()
    panel.click("estimatePositionButton")
    panel.widget.parameterNode.side = Side.LEFT
    panel.waitUntilIdle()
    assert "changed meanwhile" in panel.status() and not panel.ui.acceptPositionButton.enabled


def test_a_closed_scene_takes_its_estimate_along(panel: Any, engine: PlayedEngine) -> None:
    engine.plays()
    estimate(panel)
    panel.host.scene.Clear(False)
    panel.host.addDefaultNodes()
    panel.process()
    ui = panel.ui
    assert ui.positionLabel.text == ui.positionLabel.toolTip == ""
    assert not ui.estimatePositionButton.enabled and not ui.acceptPositionButton.enabled


def test_it_asks_for_what_a_reconstruction_needs(
    panel: Any, engine: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from BiplanarBoneReconLib import dependencies

    absent = dependencies.Package("torch", "no_such_torch", "torch>=2.4", 865.0)
    monkeypatch.setattr(dependencies, "packages", lambda planning: [absent])
    monkeypatch.setattr(panel.host, "confirm", False)
    engine.plays()
    panel.click("estimatePositionButton")
    assert "torch, about 865 MB" in panel.host.confirmations[0]
    assert panel.widget.isIdle and not engine.wasAsked
