"""Slicer's own views draw what the module puts into them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def views(finished: Any) -> Any:
    from BiplanarBoneReconLib import layouts
    from BiplanarBoneReconLib.texts import RIG, attachedJson
    from slicer_host.views import sliceLogics

    layouts.show(layouts.RADIOGRAPHS_LAYOUT)
    sliceLogics()
    pair = {"ap": finished.apVolume, "lateral": finished.lateralVolume}
    layouts.showRadiographs(pair, attachedJson(finished.reconstruction, RIG))
    return layouts


def _coloured(picture: np.ndarray) -> float:
    """Share of pixels that are not grey."""
    low, high = picture.min(axis=2).astype(int), picture.max(axis=2).astype(int)
    return float((high - low > 40).mean())


def test_each_radiograph_with_its_own_edges(views: Any) -> None:
    from slicer_host.views import SliceView

    pictures = [SliceView(views.viewNode(name), 200, 200).picture() for name in views.SLICE_VIEWS.values()]
    for picture in pictures:
        assert picture.std() > 20
        assert 0.01 < _coloured(picture) < 0.3
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 5
    # A left knee from the front, columns to the patient's left: the fibula's green lies right of the middle.
    green = (pictures[0][:, :, 1].astype(int) - np.maximum(pictures[0][:, :, 0], pictures[0][:, :, 2])) > 25
    assert green.sum() > 20 and np.nonzero(green)[1].mean() > 100


def test_colours_of_distance_in_their_views_only(views: Any) -> None:
    import slicer
    from BiplanarBoneReconLib.scene_comparison import coloredModels, showComparison, summaries
    from slicer_host.views import ThreeDView

    nodes = [
        slicer.mrmlScene.GetNthNodeByClass(index, "vtkMRMLSegmentationNode")
        for index in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"))
    ]
    showComparison(summaries()[0], nodes)
    for name in (views.RECONSTRUCTION_VIEW, views.REFERENCE_VIEW):
        node = views.viewNode(name)
        assert node.GetLinkedControl()
        shown = [
            display.GetDisplayableNode().GetName()
            for model in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelDisplayNode"))
            if (display := slicer.mrmlScene.GetNthNodeByClass(model, "vtkMRMLModelDisplayNode")).GetDisplayableNode()
            and display.GetDisplayableNode().GetAttribute("BiplanarBoneRecon.ComparedSurface")
            and display.IsDisplayableInView(node.GetID())
        ]
        assert len(shown) == 4
        for segmentation in nodes:
            assert not segmentation.GetDisplayNode().IsDisplayableInView(node.GetID())
    # A range of 1 mm: at the panel's 3 mm a good reconstruction is nearly white.
    for model in coloredModels():
        model.GetDisplayNode().SetScalarRange(-1.0, 1.0)
    view = ThreeDView(views.viewNode(views.RECONSTRUCTION_VIEW), 200, 200)
    view.look((0.5, -1.0, 0.0))
    picture = view.picture().astype(int)
    red, blue = picture[:, :, 0] - picture[:, :, 2] > 60, picture[:, :, 2] - picture[:, :, 0] > 120
    # How much there is of either colour is the model's error; that both are seen is the view's doing.
    assert red.any() and blue.any() and (red | blue).mean() > 0.005


def _ball(path: Path, x: float) -> None:
    import trimesh

    mesh = trimesh.creation.icosphere(4, 20.0)
    mesh.apply_translation((x, 0.0, 0.0))
    mesh.export(path)


def _manager(view: Any, kind: str) -> Any:
    """The manager of a view that draws one kind of thing."""
    managers = [view.group.GetNthDisplayableManager(index) for index in range(view.group.GetDisplayableManagerCount())]
    return next(manager for manager in managers if manager.IsA(kind))


@pytest.mark.parametrize(("side", "lateral"), [("right", 1.0), ("left", -1.0)])
def test_a_distance_has_the_legends_colour_on_the_same_side_of_either_knee(
    scene: Any, tmp_path: Path, side: str, lateral: float
) -> None:
    """A ball whose reference lies 2 mm further medially: outside laterally (+2, red), inside medially (-2, blue); in RAS, and as seen."""
    from BiplanarBoneReconLib import layouts
    from BiplanarBoneReconLib.scene_bones import SIDE_ATTRIBUTE, segmentationOf
    from BiplanarBoneReconLib.scene_comparison import coloredModels, showComparison
    from slicer_host.views import ThreeDView
    from vtk.util.numpy_support import vtk_to_numpy

    from BiplanarBoneRecon import BiplanarBoneReconLogic

    nodes = []
    # LPS: lateral is -x on the right.
    for name, x in (("ours", 0.0), ("reference", 2.0 * lateral)):
        _ball(tmp_path / f"{name}.ply", x)
        files = {
            bone: tmp_path / f"{name if bone == 'femur' else 'none'}.ply"
            for bone in ("femur", "tibia", "fibula", "patella")
        }
        nodes.append(segmentationOf(files, name, {}))
        nodes[-1].SetAttribute(SIDE_ATTRIBUTE, side)
    layouts.show(layouts.COMPARISON_LAYOUT)
    view = ThreeDView(layouts.viewNode(layouts.RECONSTRUCTION_VIEW), 200, 200)
    summary = BiplanarBoneReconLogic().compare(*nodes, range_mm=3.0)
    showComparison(summary, nodes)
    (model,) = (
        item for item in coloredModels() if item.GetAttribute("BiplanarBoneRecon.ComparedSurface") == "reconstruction"
    )
    picture = view.picture().astype(int)
    points = vtk_to_numpy(model.GetPolyData().GetPoints().GetData())
    distances = vtk_to_numpy(model.GetPolyData().GetPointData().GetArray("signed_distance_mm"))
    # What VTK's mapper, as Slicer set it up, makes of each point; what the table of the legend has for its distance.
    actor = _manager(view, "vtkMRMLModelDisplayableManager").GetActorByID(model.GetDisplayNode().GetID())
    drawn = vtk_to_numpy(actor.GetMapper().MapScalars(1.0))[:, :3].astype(int)
    displays = [model.GetNthDisplayNode(index) for index in range(model.GetNumberOfDisplayNodes())]
    (shown,) = (display for display in displays if display.IsA("vtkMRMLColorLegendDisplayNode"))
    legend = _manager(view, "vtkMRMLColorLegendDisplayableManager").GetColorLegendActor(shown).GetLookupTable()
    assert legend.GetRange() == (-3.0, 3.0)
    for wanted, x in ((2.0, 20.0 * lateral), (-2.0, -20.0 * lateral)):
        index = int(np.linalg.norm(points - [x, 0.0, 0.0], axis=1).argmin())
        assert distances[index] == pytest.approx(wanted, abs=0.05)
        colour = [0.0] * 3
        legend.GetColor(float(distances[index]), colour)
        assert drawn[index] == pytest.approx(np.array(colour) * 255, abs=1.0)
        reddish = drawn[index][0] - drawn[index][2]
        assert reddish * wanted > 60, "red outside, blue inside"
    level = np.abs(distances) < 0.03
    assert level.sum() > 10 and (np.ptp(drawn[level], axis=1) < 12).all(), "on the reference it is white"
    # Seen from the front the patient's right is on the left.
    red, blue = picture[:, :, 0] - picture[:, :, 2] > 60, picture[:, :, 2] - picture[:, :, 0] > 60
    # The legend's bar stands at the right edge.
    red[:, 160:] = blue[:, 160:] = False
    columns = [np.nonzero(colour)[1].mean() for colour in (red, blue)]
    assert (columns[1] - columns[0]) * lateral > 10


def test_the_compared_views_turn_together_and_no_other(scene: Any) -> None:
    from BiplanarBoneReconLib import layouts
    from slicer_host.views import ThreeDView

    layouts.show(layouts.RADIOGRAPHS_LAYOUT)
    layouts.show(layouts.COMPARISON_LAYOUT)
    names = (layouts.RECONSTRUCTION_VIEW, layouts.REFERENCE_VIEW, layouts.KNEE_VIEW)
    views = {name: ThreeDView(layouts.viewNode(name), 50, 50) for name in names}
    cameras = {
        camera.GetLayoutName(): camera
        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLCameraNode"))
        if (camera := scene.GetNthNodeByClass(index, "vtkMRMLCameraNode"))
    }
    assert set(cameras) == set(views)

    def turned(name: str, position: tuple[float, float, float]) -> list[tuple[float, ...]]:
        """Move a camera with the flags that Slicer's view logic sets while the mouse drags; the positions afterwards."""
        camera = cameras[name]
        camera.SetInteractionFlags(camera.CameraInteractionFlag)
        camera.InteractingOn()
        camera.SetPosition(position)
        camera.InteractingOff()
        return [cameras[other].GetPosition() for other in names]

    first, _, elsewhere = turned(names[0], (10.0, 20.0, 30.0))
    assert elsewhere != first, "before they are linked nothing follows"
    assert cameras[names[1]].GetPosition() != first
    layouts.linkCameras()
    assert turned(names[0], (1.0, 2.0, 3.0)) == [(1.0, 2.0, 3.0), (1.0, 2.0, 3.0), elsewhere]
    assert turned(names[1], (-4.0, 5.0, 6.0)) == [(-4.0, 5.0, 6.0), (-4.0, 5.0, 6.0), elsewhere]
    drawn = views[names[0]].renderer.GetActiveCamera().GetPosition()
    assert drawn == (-4.0, 5.0, 6.0)
