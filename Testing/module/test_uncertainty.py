"""Bones coloured by how well they are known: the engine's numbers in RAS, in the legend's colours, kept with the scene, and undone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy


@pytest.fixture
def panel(slicer_host: Any, finished: Any) -> Iterator[Any]:
    """The panel on the scene that was reconstructed with the real engine, saved and read back."""
    from slicer_host.panel import Panel

    opened = Panel(slicer_host)
    yield opened
    opened.close()


def _choose(panel: Any, name: str, reach: float = 3.0) -> None:
    """As a user does: the box's value changes, and it says that it was used."""
    from BiplanarBoneReconLib.parameters import BoneColors

    index = [choice.name for choice in BoneColors].index(name)
    panel.ui.boneColorsRangeSpinBox.value = reach
    panel.ui.boneColorsComboBox.currentIndex = index
    panel.ui.boneColorsComboBox.activated.emit(index)
    panel.process()


def _knee_view() -> Any:
    from BiplanarBoneReconLib import layouts

    return layouts.viewNode(layouts.KNEE_VIEW)


def _legends() -> list[Any]:
    import slicer

    scene, kind = slicer.mrmlScene, "vtkMRMLColorLegendDisplayNode"
    nodes = [scene.GetNthNodeByClass(index, kind) for index in range(scene.GetNumberOfNodesByClass(kind))]
    return [node for node in nodes if node.IsDisplayableInView(_knee_view().GetID())]


def test_the_bones_are_coloured_with_a_legend_and_plain_again(panel: Any) -> None:
    from BiplanarBoneReconLib import layouts
    from BiplanarBoneReconLib.scene_uncertainty import BONE_ATTRIBUTE, uncertaintyModels

    bones = panel.widget.parameterNode.reconstruction
    models = uncertaintyModels(bones)
    assert [model.GetAttribute(BONE_ATTRIBUTE) for model in models] == ["femur", "tibia", "fibula", "patella"]
    assert panel.ui.boneColorsComboBox.enabled
    plain = bones.GetDisplayNode()
    knee = _knee_view().GetID()
    assert not any(model.GetDisplayNode().GetVisibility() for model in models)
    assert plain.IsDisplayableInView(knee)
    _choose(panel, "INTERVAL", 4.0)
    assert not plain.IsDisplayableInView(knee)
    for model in models:
        display = model.GetDisplayNode()
        assert display.GetVisibility() and display.GetScalarVisibility()
        assert display.GetActiveScalarName() == "interval95_mm" and display.GetScalarRange() == (0.0, 4.0)
        assert display.IsDisplayableInView(knee)
        other = layouts.viewNode(layouts.RECONSTRUCTION_VIEW)
        assert other is None or not display.IsDisplayableInView(other.GetID())
    (legend,) = _legends()
    assert "95 %" in legend.GetTitleText() and "mm" in legend.GetTitleText()
    _choose(panel, "EXPECTED")
    assert models[0].GetDisplayNode().GetActiveScalarName() == "expected_error_mm"
    (legend,) = _legends()
    assert "Expected" in legend.GetTitleText()
    _choose(panel, "PLAIN")
    assert plain.IsDisplayableInView(knee) and not _legends()
    assert not any(model.GetDisplayNode().GetVisibility() for model in models)


def test_the_coloured_bones_are_the_reconstructed_ones(panel: Any) -> None:
    """In RAS and in place: every vertex with a number lies on the segment's own surface."""
    from BiplanarBoneReconLib.scene_uncertainty import BONE_ATTRIBUTE, uncertaintyModels

    bones = panel.widget.parameterNode.reconstruction
    for model in uncertaintyModels(bones):
        surface = (
            bones.GetSegmentation().GetSegment(model.GetAttribute(BONE_ATTRIBUTE)).GetRepresentation("Closed surface")
        )
        assert model.GetPolyData().GetBounds() == pytest.approx(surface.GetBounds(), abs=1e-3)
        data = model.GetPolyData().GetPointData()
        interval, expected = (vtk_to_numpy(data.GetArray(name)) for name in ("interval95_mm", "expected_error_mm"))
        assert len(interval) == model.GetPolyData().GetNumberOfPoints()
        assert (interval > expected).all() and (expected > 0).all()


def test_a_coloured_scene_reopens_coloured(panel: Any, tmp_path: Path) -> None:
    from BiplanarBoneReconLib import layouts
    from BiplanarBoneReconLib.scene_uncertainty import uncertaintyModels
    from slicer_host.panel import Panel

    _choose(panel, "INTERVAL", 2.5)
    path = tmp_path / "coloured.mrb"
    host = panel.host
    assert host.scene.WriteToMRB(str(path))
    panel.close()
    host.clear()
    layouts.register()
    assert host.scene.ReadFromMRB(str(path))
    again = Panel(host)
    node = again.widget.parameterNode
    models = uncertaintyModels(node.reconstruction)
    assert len(models) == 4 and again.ui.boneColorsRangeSpinBox.value == 2.5
    for model in models:
        assert model.GetDisplayNode().GetVisibility() and model.GetDisplayNode().GetScalarRange() == (0.0, 2.5)
        assert model.GetPolyData().GetPointData().GetArray("interval95_mm") is not None
    assert len(_legends()) == 1
    assert not node.reconstruction.GetDisplayNode().IsDisplayableInView(_knee_view().GetID())
    again.close()


def test_bones_that_are_gone_leave_no_colours(panel: Any) -> None:
    from BiplanarBoneReconLib.scene_uncertainty import uncertaintyModels

    _choose(panel, "INTERVAL")
    node = panel.widget.parameterNode
    models = uncertaintyModels(node.reconstruction)
    panel.host.scene.RemoveNode(node.reconstruction)
    panel.process()
    assert not panel.ui.boneColorsComboBox.enabled
    assert not any(model.GetDisplayNode().GetVisibility() for model in models)
    assert not _legends()


@pytest.mark.parametrize(("side", "lateral"), [("right", 1.0), ("left", -1.0)])
def test_an_uncertain_side_has_the_legends_colour_on_that_side(
    scene: Any, tmp_path: Path, side: str, lateral: float
) -> None:
    """A ball that is known to 0.5 mm medially and to 2.5 mm laterally, as the engine writes it (LPS: lateral is -x on the right)."""
    from BiplanarBoneReconLib import layouts
    from BiplanarBoneReconLib.parameters import BoneColors
    from BiplanarBoneReconLib.scene_bones import segmentationOf
    from BiplanarBoneReconLib.scene_uncertainty import addUncertainty, colorBones
    from slicer_host.views import ThreeDView

    sphere = vtk.vtkSphereSource()
    sphere.SetRadius(20.0)
    sphere.SetThetaResolution(40)
    sphere.SetPhiResolution(40)
    sphere.Update()
    ball = sphere.GetOutput()
    x = vtk_to_numpy(ball.GetPoints().GetData())[:, 0]
    for name, scale in (("expected_error_mm", 0.5), ("interval95_mm", 1.0)):
        array = numpy_to_vtk((scale * np.where(x * lateral < 0, 2.5, 0.5)).astype(np.float32), deep=True)
        array.SetName(name)
        ball.GetPointData().AddArray(array)
    writer = vtk.vtkXMLPolyDataWriter()
    writer.SetFileName(str(tmp_path / "femur_uncertainty.vtp"))
    writer.SetInputData(ball)
    assert writer.Write() == 1
    plain = vtk.vtkSTLWriter()
    plain.SetFileName(str(tmp_path / "femur.stl"))
    plain.SetInputData(ball)
    assert plain.Write() == 1
    files = {bone: tmp_path / f"{bone}.stl" for bone in ("femur", "tibia", "fibula", "patella")}
    bones = segmentationOf(files, side, {})
    layouts.show(layouts.RADIOGRAPHS_LAYOUT)
    view = ThreeDView(layouts.viewNode(layouts.KNEE_VIEW), 200, 200)
    (model,) = addUncertainty(tmp_path, {"trust": {"uncertainty_files": {"femur": "femur_uncertainty.vtp"}}}, bones)
    assert colorBones(bones, BoneColors.INTERVAL, 3.0)
    view.look((0.0, -1.0, 0.0))
    points = vtk_to_numpy(model.GetPolyData().GetPoints().GetData())
    managers = [view.group.GetNthDisplayableManager(i) for i in range(view.group.GetDisplayableManagerCount())]
    manager = SimpleNamespace(**{item.GetClassName(): item for item in managers})
    actor = manager.vtkMRMLModelDisplayableManager.GetActorByID(model.GetDisplayNode().GetID())
    drawn = vtk_to_numpy(actor.GetMapper().MapScalars(1.0))[:, :3].astype(int)
    (shown,) = _legends()
    legend = manager.vtkMRMLColorLegendDisplayableManager.GetColorLegendActor(shown).GetLookupTable()
    assert legend.GetRange() == (0.0, 3.0)
    # RAS: lateral is +x on the right.
    for wanted, at in ((2.5, 20.0 * lateral), (0.5, -20.0 * lateral)):
        colour = [0.0] * 3
        legend.GetColor(wanted, colour)
        index = int(np.linalg.norm(points - [at, 0.0, 0.0], axis=1).argmin())
        assert drawn[index] == pytest.approx(np.array(colour) * 255, abs=1.0)
    # As seen from the front, where the patient's right is on the left: the uncertain half is dark.
    picture = view.picture()[60:140, :160].astype(float).sum(axis=2)
    left, right = picture[:, 70:90].mean(), picture[:, 112:132].mean()
    assert (right - left) * lateral > 60
    assert not colorBones(None, BoneColors.PLAIN, 3.0) and not model.GetDisplayNode().GetVisibility()
