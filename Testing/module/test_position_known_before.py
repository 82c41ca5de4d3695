"""What is known before of the second view's position: how well it is believed, and the bones of a CT that is in the scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from played_pair import PlayedEngine, estimate

SAMPLE = Path(__file__).resolve().parents[2] / "Resources" / "SampleCase"
BONES = ("femur", "tibia", "fibula", "patella")


@pytest.fixture
def panel(pair_panel: Any) -> Any:
    return pair_panel


def _refused(panel: Any) -> str:
    panel.click("estimatePositionButton")
    panel.waitUntilIdle()
    ((words, _),) = panel.host.errors
    panel.host.errors.clear()
    assert not panel.ui.acceptPositionButton.enabled
    return str(words)


def _written(folder: Path) -> dict[str, np.ndarray]:
    """Bounds, LPS mm, of the bones that the engine was given."""
    import vtk

    found = {}
    for file in folder.iterdir():
        reader = vtk.vtkPLYReader()
        reader.SetFileName(str(file))
        reader.Update()
        found[file.stem] = np.array(reader.GetOutput().GetBounds())
    return found


def _moved(node: Any, right: float) -> None:
    """Put a node under a transform that moves it to the patient's right."""
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, right)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())


def _model(name: str, bone: str, folder: int | None = None) -> Any:
    """The sample's true bone as a model, as somebody loads an STL file."""
    import slicer
    from BiplanarBoneReconLib.hierarchy import put
    from BiplanarBoneReconLib.scene_bones import readSurface

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", name)
    node.SetAndObservePolyData(readSurface(SAMPLE / f"{bone}.ply"))
    node.CreateDefaultDisplayNodes()
    if folder is not None:
        put(node, folder)
    return node


def test_a_belief_is_told_to_the_engine_and_kept_with_the_scene(
    panel: Any, engine: PlayedEngine, tmp_path: Path
) -> None:
    from slicer_host.panel import Panel

    ui = panel.ui
    assert ui.positionOptionsSection.collapsed
    assert (ui.turnKnownSpinBox.value, ui.shiftKnownSpinBox.value) == (3.0, 8.0)
    engine.plays()
    estimate(panel)
    assert {"--turn=3", "--shift=8"} <= set(engine.words)
    assert not any(word.startswith("--bones") for word in engine.words)
    assert ui.acceptPositionButton.enabled
    ui.turnKnownSpinBox.value = 1.5
    panel.process()
    # What was estimated with another belief cannot be accepted any more.
    assert not ui.acceptPositionButton.enabled and ui.positionLabel.text == ""
    ui.shiftKnownSpinBox.value = 20.0
    estimate(panel)
    assert {"--turn=1.5", "--shift=20"} <= set(engine.words)
    path = tmp_path / "belief.mrb"
    assert panel.host.scene.WriteToMRB(str(path))
    panel.close()
    panel.host.clear()
    assert panel.host.scene.ReadFromMRB(str(path))
    opened = Panel(panel.host)
    assert (opened.ui.turnKnownSpinBox.value, opened.ui.shiftKnownSpinBox.value) == (1.5, 20.0)
    opened.close()


def test_the_engine_takes_every_belief_that_the_panel_offers(panel: Any) -> None:
    from SSRKDCore.geometry import preset
    from SSRKDCore.geometry.calibration.pose_estimate import DEFAULT_SHIFT_SD, DEFAULT_TURN_SD, check_belief

    turn, shift = panel.ui.turnKnownSpinBox, panel.ui.shiftKnownSpinBox
    assert (turn.value, shift.value) == (DEFAULT_TURN_SD, DEFAULT_SHIFT_SD)
    for ends in ((turn.minimum, shift.minimum), (turn.maximum, shift.maximum)):
        check_belief(preset("room", "left"), *ends)


def test_the_reference_is_known_bones_where_it_stands(panel: Any, engine: PlayedEngine) -> None:
    from BiplanarBoneReconLib.scene_position import acceptedPosition

    node, ui = panel.widget.parameterNode, panel.ui
    panel.click("knownReferenceButton")
    panel.process()
    assert node.knownBones.GetID() == node.reference.GetID()
    assert "femur (" in ui.knownBonesLabel.text and "Warning" not in ui.knownBonesLabel.text
    engine.plays(bones="known")
    estimate(panel)
    still = _written(engine.bones)
    assert set(still) == set(BONES)
    assert f"that of {node.reference.GetName()}" in ui.positionLabel.text
    assert "no independent check" in ui.positionLabel.text
    _moved(node.knownBones, 7.0)
    # Moved bones are others: nothing of it can be accepted.
    ui.acceptPositionButton.click()
    assert "was changed since" in panel.status() and not ui.acceptPositionButton.enabled
    estimate(panel)
    for bone, bounds in _written(engine.bones).items():
        # RAS to the right is LPS to -x.
        np.testing.assert_allclose(bounds - still[bone], [-7.0, -7.0, 0, 0, 0, 0], atol=1e-3)
    panel.click("acceptPositionButton")
    panel.waitUntilIdle()
    assert not panel.host.errors, panel.host.errors
    name = node.reference.GetName()
    node.knownBones = None
    panel.process()
    assert acceptedPosition(node.apVolume, node.lateralVolume)["bones"] == name
    # Whose shape it was is told as long as it is accepted, whatever is chosen now.
    assert f"that of {name}" in ui.positionLabel.text


def test_models_in_one_folder_are_known_bones(panel: Any, engine: PlayedEngine) -> None:
    from BiplanarBoneReconLib.hierarchy import newFolder

    folder = newFolder("CT")
    femur = _model("Left femur", "femur", folder)
    tibia = _model("Left Tibia_1", "tibia", folder)
    _model("Implant", "patella", folder)
    _model("Patella", "patella")
    _moved(tibia, 3.0)
    panel.ui.knownBonesSelector.setCurrentNode(femur)
    panel.process()
    assert panel.widget.parameterNode.knownBones.GetID() == femur.GetID()
    assert "femur (Left femur), tibia (Left Tibia_1)," in panel.ui.knownBonesLabel.text
    engine.plays(bones="known")
    estimate(panel)
    written = _written(engine.bones)
    assert set(written) == {"femur", "tibia"}
    bounds = [0.0] * 6
    tibia.GetRASBounds(bounds)
    np.testing.assert_allclose(written["tibia"][:2], [-bounds[1], -bounds[0]], atol=1e-3)
    # Two femurs in the folder: the chosen one is meant, and with another chosen none of them.
    _model("Right femur", "femur", folder)
    panel.widget.update()
    assert "femur (Left femur)" in panel.ui.knownBonesLabel.text
    panel.ui.knownBonesSelector.setCurrentNode(tibia)
    panel.process()
    assert "femur" not in panel.ui.knownBonesLabel.text and "tibia" in panel.ui.knownBonesLabel.text


def test_bones_that_cannot_be_known_ones_are_refused(panel: Any, engine: PlayedEngine) -> None:
    """Bones of these very images, of the other leg, or no bones at all."""
    import slicer
    from BiplanarBoneReconLib.parameters import Side
    from BiplanarBoneReconLib.texts import REPORT, attachJson

    node, ui = panel.widget.parameterNode, panel.ui
    engine.plays()

    def chosen(bones: Any) -> str:
        node.knownBones = bones
        panel.process()
        words = _refused(panel)
        assert "Warning:" in ui.knownBonesLabel.text and words.split(":")[0] in ui.knownBonesLabel.text
        return words

    node.side = Side.RIGHT
    assert "is of a left knee, and a right one is chosen" in chosen(node.reference)
    node.side = Side.FILES
    bare = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Skin")
    assert "Skin has no bone named" in chosen(bare)
    edges = _model("Femur edges, ap", "femur")
    edges.SetAttribute("BiplanarBoneRecon.OutlineOf", "ap")
    assert "made from radiographs by this module" in chosen(edges)
    attachJson(node.reference, REPORT, "Reconstruction report", {})
    assert "made from radiographs by this module" in chosen(node.reference)
    assert not engine.wasAsked
    # One that is removed is chosen no more.
    node.knownBones = bare
    slicer.mrmlScene.RemoveNode(bare)
    panel.process()
    assert node.knownBones is None and ui.knownBonesLabel.text == ""


def test_known_bones_between_radiographs_that_a_transform_shows_elsewhere(panel: Any, engine: PlayedEngine) -> None:
    node = panel.widget.parameterNode
    node.knownBones = node.reference
    _moved(node.lateralVolume, 40.0)
    engine.plays(bones="known")
    assert "Lateral radiograph was moved by a transform" in _refused(panel)
    node.lateralVolume.HardenTransform()
    assert "Lateral radiograph was moved by a transform" in _refused(panel) and not engine.wasAsked
    panel.click("inspectButton")
    panel.waitUntilIdle()
    estimate(panel)
    assert engine.wasAsked


def test_bones_that_are_removed_meanwhile_end_the_estimate(panel: Any, engine: PlayedEngine) -> None:
    import slicer

    node = panel.widget.parameterNode
    node.knownBones = node.reference
    engine.plays(bones="known")
    panel.click("estimatePositionButton")
    slicer.mrmlScene.RemoveNode(node.reference)
    panel.waitUntilIdle()
    ((words, _),) = panel.host.errors
    assert words.startswith("The node of the known bones was removed") and not panel.ui.acceptPositionButton.enabled


def test_the_engines_own_estimate_from_the_samples_true_bones(panel: Any) -> None:
    """The real engine; bones that stand elsewhere are refused in one sentence."""
    node = panel.widget.parameterNode
    node.knownBones = node.reference
    estimate(panel)
    assert "that of Sample reference" in panel.ui.positionLabel.text
    assert panel.ui.acceptPositionButton.enabled
    _moved(node.reference, 600.0)
    assert "outside the field of view" in _refused(panel)


def test_radiographs_that_were_not_shown_yet_hold_no_known_bones(slicer_host: Any, engine: PlayedEngine) -> None:
    """Nothing says where in the scene the knee is."""
    from BiplanarBoneReconLib.jobs import loadJob
    from BiplanarBoneReconLib.position_jobs import estimatePositionJob
    from BiplanarBoneReconLib.problems import Problem
    from BiplanarBoneReconLib.scene_bones import segmentationOf

    pair = []
    # Names tell the radiographs of two patients apart.
    for view in ("ap", "lateral", "ap"):
        job = loadJob(str(SAMPLE / f"{view}.dcm"), view)
        job.start()
        pair.append(job.wait())
    assert len({node.GetName() for node in pair}) == 3
    bones = segmentationOf({bone: SAMPLE / f"{bone}.ply" for bone in BONES}, "CT", {})
    with pytest.raises(Problem, match="Press Check and show first"):
        estimatePositionJob(*pair[:2], knownBones=bones)
