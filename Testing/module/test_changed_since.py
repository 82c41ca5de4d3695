"""Bones that are not what was reconstructed any more, or not to be trusted: said in the panel, in a comparison, and beside files."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BONES = ("femur", "tibia", "fibula", "patella")


@pytest.fixture
def panel(slicer_host: Any, finished: Any) -> Iterator[Any]:
    """The panel on the scene that was reconstructed, compared, saved and read back."""
    from slicer_host.panel import Panel

    opened = Panel(slicer_host)
    yield opened
    opened.close()


def _under(node: Any, scale: tuple[float, float, float] = (1.0, 1.0, 1.0), up: float = 0.0) -> Any:
    """Put a node under a transform of its own."""
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    for axis, factor in enumerate(scale):
        matrix.SetElement(axis, axis, factor)
    matrix.SetElement(2, 3, up)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def _compared(panel: Any) -> dict[str, Any]:
    from BiplanarBoneReconLib.scene_comparison import comparisonReport, summaries

    panel.process()
    panel.click("compareButton")
    panel.waitUntilIdle()
    assert not panel.host.errors, panel.host.errors
    return comparisonReport(summaries()[-1])


def _exported(panel: Any, folder: Path) -> dict[str, Any]:
    """Export once; what the file says."""
    panel.widget.parameterNode.exportFolder = str(folder)
    panel.process()
    panel.click("exportButton")
    panel.waitUntilIdle()
    assert not panel.host.errors, panel.host.errors
    (report,) = folder.rglob("export_report.json")
    return json.loads(report.read_text(encoding="utf-8"))


def _light(bones: Any, light: str | None) -> None:
    from BiplanarBoneReconLib.texts import REPORT, attachedJson, attachJson

    report = attachedJson(bones, REPORT)
    report["trust"] = None if light is None else {**report["trust"], "light": light}
    attachJson(bones, REPORT, "Reconstruction report", report)


def _trust(panel: Any) -> str:
    panel.widget.update()
    return str(panel.ui.trustLabel.text)


def test_bones_as_they_were_reconstructed_have_no_doubts_but_their_light(panel: Any) -> None:
    """After the scene was saved and read back, too."""
    from BiplanarBoneReconLib.reconstructed_shape import motionSince
    from BiplanarBoneReconLib.reconstruction_doubts import doubtsOf

    node = panel.widget.parameterNode
    assert np.array_equal(motionSince(node.reconstruction), np.eye(4))
    _light(node.reconstruction, "green")
    assert doubtsOf(node.reconstruction) == doubtsOf(node.reference) == []
    assert "Warning" not in _trust(panel)
    for light, words in (("amber", "is amber"), ("red", "is red: do not use it"), (None, "was not assessed")):
        _light(node.reconstruction, light)
        (doubt,) = doubtsOf(node.reconstruction)
        assert words in doubt and node.reconstruction.GetName() in doubt


def test_a_geometry_that_is_changed_afterwards_outdates_the_bones(panel: Any, tmp_path: Path) -> None:
    """Another choice; then radiographs that stand otherwise; then a calibration that is accepted; saved and read back."""
    from BiplanarBoneReconLib.parameters import Geometry, Side
    from BiplanarBoneReconLib.radiograph_sources import standingRig
    from BiplanarBoneReconLib.scene_radiographs import calibrateTo
    from slicer_host.panel import Panel

    node = panel.widget.parameterNode
    node.geometry = Geometry.C_ARM
    panel.process()
    assert "in another geometry than the one chosen" in panel.ui.trustLabel.text
    node.geometry = Geometry.RIG_FILE
    assert "in another geometry than the one chosen" in _trust(panel)
    node.geometry = Geometry.FILES
    assert "Warning" not in _trust(panel)
    node.side = Side.RIGHT
    assert "for another side" in _trust(panel)
    node.side = Side.LEFT
    assert "Warning" not in _trust(panel)
    rig = copy.deepcopy(standingRig(node.apVolume, node.lateralVolume))
    rig["views"][1]["source"][2] += 3.0
    calibrateTo({"ap": node.apVolume, "lateral": node.lateralVolume}, rig)
    node.geometry = Geometry.SCENE
    words = _trust(panel)
    assert "stand in another geometry now" in words and "in another geometry than the one chosen" in words
    path = tmp_path / "outdated.mrb"
    assert panel.host.scene.WriteToMRB(str(path))
    panel.close()
    panel.host.clear()
    assert panel.host.scene.ReadFromMRB(str(path))
    opened = Panel(panel.host)
    assert opened.ui.trustLabel.text == words
    # Files of these bones say it as well.
    report = _exported(opened, tmp_path)
    assert any("stand in another geometry now" in note for note in report["notes"])
    opened.close()


def test_edges_go_with_their_bones(panel: Any) -> None:
    import slicer

    shown = [
        model.GetDisplayNode()
        for model in slicer.util.getNodesByClass("vtkMRMLModelNode")
        if model.GetAttribute("BiplanarBoneRecon.OutlineOf")
    ]
    assert shown and all(display.GetVisibility() for display in shown)
    slicer.mrmlScene.RemoveNode(panel.widget.parameterNode.reconstruction)
    panel.process()
    assert not any(display.GetVisibility() for display in shown)


def test_a_hardened_transform_takes_the_field_of_view_along(panel: Any) -> None:
    """Else bone beyond it would be measured, and bone in it left out."""
    from BiplanarBoneReconLib.scene_comparison import comparisonReport, summaries

    node = panel.widget.parameterNode
    before = comparisonReport(summaries()[-1])["bones"]
    for bones in (node.reconstruction, node.reference):
        _under(bones, up=30.0)
        bones.HardenTransform()
    after = _compared(panel)
    for bone in BONES:
        for measure in ("exact_assd_mm", "exact_hd_mm"):
            assert after["bones"][bone][measure] == pytest.approx(before[bone][measure], abs=0.02), bone
    assert after["warnings"] == [] and "Warning" not in _trust(panel)


def test_bones_that_were_edited_are_not_those_that_were_assessed(panel: Any) -> None:
    import vtk
    from BiplanarBoneReconLib.parameters import BoneColors
    from BiplanarBoneReconLib.scene_uncertainty import colorBones, hasUncertainty

    node = panel.widget.parameterNode
    assert hasUncertainty(node.reconstruction)
    surface = node.reconstruction.GetSegmentation().GetSegment("femur").GetRepresentation("Closed surface")
    fewer = vtk.vtkDecimatePro()
    fewer.SetInputData(surface)
    fewer.SetTargetReduction(0.3)
    fewer.Update()
    surface.DeepCopy(fewer.GetOutput())
    assert "was changed since it was reconstructed" in _trust(panel)
    assert not hasUncertainty(node.reconstruction) and not panel.ui.boneColorsComboBox.enabled
    assert not colorBones(node.reconstruction, BoneColors.INTERVAL, 3.0)
    report = _compared(panel)
    assert any("was changed since" in words for words in report["warnings"])
    assert any("without its field of view" in words for words in report["warnings"])
    assert "without its field of view" in panel.ui.comparisonLabel.text


@pytest.mark.parametrize("hardened", [False, True])
@pytest.mark.parametrize(
    ("scale", "words"), [((1.1, 1.1, 1.1), "bends or stretches"), ((-1.0, 1.0, 1.0), "is mirrored by a transform")]
)
def test_a_transform_that_changes_bones_is_said(
    panel: Any, tmp_path: Path, scale: tuple[float, float, float], words: str, hardened: bool
) -> None:
    """Sound meshes of a wrong size are not sound bones."""
    node = panel.widget.parameterNode
    _under(node.reconstruction, scale)
    if hardened:
        node.reconstruction.HardenTransform()
    assert words in _trust(panel)
    report = _exported(panel, tmp_path)
    assert any(words in note for note in report["notes"])
    assert words in panel.ui.exportLabel.text


def test_a_moved_reconstruction_is_still_that_reconstruction(panel: Any) -> None:
    _under(panel.widget.parameterNode.reconstruction, up=12.0)
    assert "Warning" not in _trust(panel)


def test_a_red_light_is_asked_about_and_written_beside_the_files(panel: Any, tmp_path: Path) -> None:
    node, host = panel.widget.parameterNode, panel.host
    _light(node.reconstruction, "red")
    host.confirm = False
    try:
        node.exportFolder = str(tmp_path)
        panel.process()
        panel.click("exportButton")
    finally:
        host.confirm = True
    assert "is red: do not use it" in host.confirmations[0] and "Export all the same?" in host.confirmations[0]
    assert panel.widget.isIdle and list(tmp_path.iterdir()) == []
    report = _exported(panel, tmp_path)
    assert "is red: do not use it" in report["notes"][0]
    assert "is red: do not use it" in panel.ui.exportLabel.text
    assert "sound" not in panel.status().split("</b>")[0] and "is red" in panel.status()
    # A check writes nothing and asks nothing.
    asked = len(host.confirmations)
    panel.click("checkMeshButton")
    panel.waitUntilIdle()
    assert len(host.confirmations) == asked and "is red" in panel.status()


def test_a_plan_says_how_far_its_bones_can_be_trusted(panel: Any) -> None:
    node = panel.widget.parameterNode
    _light(node.reconstruction, "red")
    node.planned = node.reconstruction
    panel.process()
    assert panel.ui.planLabel.text == ""
    panel.click("measureButton")
    panel.waitUntilIdle()
    assert not panel.host.errors, panel.host.errors
    assert panel.ui.planLabel.text.startswith("<b>Warning:</b> The traffic light of Bones left is red: do not use it.")


def test_bones_of_a_ct_are_exported_without_a_word(panel: Any, tmp_path: Path) -> None:
    panel.widget.parameterNode.exported = panel.widget.parameterNode.reference
    report = _exported(panel, tmp_path)
    assert report["notes"] == [] and "Warning" not in panel.ui.exportLabel.text
    assert panel.status() == "Exported. All meshes are sound." and panel.host.confirmations == []


def test_segments_that_are_left_out_are_named(panel: Any, tmp_path: Path) -> None:
    import slicer

    node = panel.widget.parameterNode
    segments = node.reference.GetSegmentation()
    for name in ("Femur_2", "Skin"):
        other = slicer.vtkSegment()
        other.SetName(name)
        other.AddRepresentation("Closed surface", segments.GetSegment("femur").GetRepresentation("Closed surface"))
        segments.AddSegment(other, name)
    node.exported = node.reference
    report = _exported(panel, tmp_path)
    assert set(report["bones"]) == {"tibia", "fibula", "patella"}
    (note,) = report["notes"]
    assert note.startswith("Left out are Femur, Femur_2, Skin:") and note in panel.ui.exportLabel.text


def test_a_reference_in_another_frame_is_said(panel: Any) -> None:
    node = panel.widget.parameterNode
    _under(node.reference, up=15.0)
    report = _compared(panel)
    (warning,) = report["warnings"]
    assert "may stand in another frame" in warning and "may stand in another frame" in panel.ui.comparisonLabel.text
    node.alignment = type(node.alignment).KNEE
    assert _compared(panel)["warnings"] == []


def test_a_label_map_that_is_painted_on_has_left_its_figures(panel: Any) -> None:
    """Segmentations of a CT are label maps: one voxel more is another bone."""
    import vtk
    from BiplanarBoneReconLib.bones_owner import placeOf, samePlace
    from vtk.util.numpy_support import vtk_to_numpy

    node = panel.widget.parameterNode
    segments = node.reference.GetSegmentation()
    segments.SetConversionParameter("Oversampling factor", "0.5")
    assert segments.CreateRepresentation("Binary labelmap")
    segments.SetSourceRepresentationName("Binary labelmap")
    then = placeOf(node.reference)
    assert samePlace(then, placeOf(node.reference))
    _compared(panel)
    assert "another one" not in panel.ui.comparisonLabel.text
    image = segments.GetSegment("tibia").GetRepresentation("Binary labelmap")
    label = segments.GetSegment("tibia").GetLabelValue()
    voxels = vtk_to_numpy(image.GetPointData().GetScalars())
    voxels[np.flatnonzero(voxels == label)[:40]] = 0
    image.Modified()
    image.GetPointData().GetScalars().Modified()
    now = placeOf(node.reference)
    assert not samePlace(then, now)
    # That of the tibia alone, by as many voxels.
    assert [a - b for a, b in zip(then, now, strict=True) if a - b > 30] == [40.0]
    panel.widget.update()
    assert "another one" in panel.ui.comparisonLabel.text
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    rows, columns, slices = image.GetDimensions()[1], image.GetDimensions()[0], image.GetDimensions()[2]
    inside = np.argwhere(voxels.reshape(slices, rows, columns) == label).mean(axis=0)[::-1]
    middle = matrix.MultiplyPoint([*(inside + np.array(image.GetExtent())[::2]), 1.0])[:3]
    assert any(np.allclose(now[index : index + 3], middle, atol=1e-6) for index in range(len(now) - 2))


def _visible(bones: Any) -> tuple[bool, bool]:
    """Whether bones, and all their edges, are shown."""
    import slicer

    edges = [
        model.GetDisplayNode()
        for model in slicer.util.getNodesByClass("vtkMRMLModelNode")
        if model.GetNodeReference("BiplanarBoneRecon.EdgesOf") is bones
    ]
    assert edges
    return bool(bones.GetDisplayNode().GetVisibility()), all(display.GetVisibility() for display in edges)


def test_bones_are_seen_between_their_own_radiographs_only(panel: Any) -> None:
    """Two reconstructions of one pair, then radiographs that stand in another geometry: nothing of the others lies between them."""
    from BiplanarBoneReconLib.parameters import BoneColors, Geometry
    from BiplanarBoneReconLib.scene_uncertainty import uncertaintyModels

    node = panel.widget.parameterNode
    first = node.reconstruction
    node.prepare = False
    panel.process()
    panel.click("reconstructButton")
    panel.waitUntilIdle()
    assert not panel.host.errors, panel.host.errors
    second = node.reconstruction
    # Names that a selector shows tell them apart.
    assert second.GetID() != first.GetID() and second.GetName() != first.GetName()
    assert _visible(first) == (False, False) and _visible(second) == (True, True)
    node.reconstruction = first
    panel.process()
    assert _visible(first) == (True, True) and _visible(second) == (False, False)
    node.reconstruction = second
    node.boneColors = BoneColors.INTERVAL
    panel.process()
    models = [model.GetDisplayNode() for model in uncertaintyModels(second)]
    assert models and all(display.GetVisibility() for display in models)
    node.geometry = Geometry.C_ARM
    panel.process()
    panel.click("inspectButton")
    panel.waitUntilIdle()
    assert _visible(first) == _visible(second) == (False, False)
    assert not any(display.GetVisibility() for display in models)
    # Bones of a CT stay as somebody has shown them.
    node.reference.GetDisplayNode().SetVisibility(True)
    node.geometry = Geometry.FILES
    panel.process()
    panel.click("inspectButton")
    panel.waitUntilIdle()
    assert _visible(first) == (False, False) and _visible(second) == (True, True)
    assert all(display.GetVisibility() for display in models)
    assert node.reference.GetDisplayNode().GetVisibility()


def test_a_bending_transform_that_is_changed_has_left_its_figures(panel: Any) -> None:
    import slicer
    import vtk

    node = panel.widget.parameterNode
    spline, there = vtk.vtkThinPlateSplineTransform(), vtk.vtkPoints()
    here = vtk.vtkPoints()
    for place in ((0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50)):
        here.InsertNextPoint(place)
        there.InsertNextPoint(1.05 * place[0], place[1], place[2])
    spline.SetSourceLandmarks(here)
    spline.SetTargetLandmarks(there)
    spline.SetBasisToR()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    transform.SetAndObserveTransformToParent(spline)
    node.reference.SetAndObserveTransformNodeID(transform.GetID())
    _compared(panel)
    assert "another one" not in panel.ui.comparisonLabel.text
    assert "bends or stretches" in panel.ui.comparisonLabel.text
    there.SetPoint(1, 65.0, 0.0, 0.0)
    there.Modified()
    spline.Modified()
    panel.widget.update()
    assert "another one" in panel.ui.comparisonLabel.text


def test_a_csv_is_named_after_what_was_compared(panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import qt

    offered: list[str] = []

    def chosen(parent: Any, title: str, name: str, kinds: str) -> str:
        offered.append(name)
        return str(tmp_path / name)

    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", chosen)
    panel.click("saveCsvButton")
    assert offered == ["Bones-left-against-Sample-reference.csv"]
    assert "femur" in (tmp_path / offered[0]).read_text(encoding="utf-8")
