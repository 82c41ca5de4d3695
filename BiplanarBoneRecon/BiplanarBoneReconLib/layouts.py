"""Layouts of our own: the radiographs over the 3D view, two 3D views side by side for a comparison, and a 3D view for planning."""

from __future__ import annotations

import math
from typing import Any

import slicer

from .frames import sliceToRAS, vtkMatrix

RADIOGRAPHS_LAYOUT, COMPARISON_LAYOUT, PLAN_LAYOUT = 54101, 54102, 54103
SLICE_VIEWS = {"ap": "BiplanarAP", "lateral": "BiplanarLateral"}
KNEE_VIEW, RECONSTRUCTION_VIEW, REFERENCE_VIEW = "BiplanarKnee", "BiplanarReconstruction", "BiplanarReference"
#: Slicer moves the cameras of a linked view's whole group: the two compared views are one, so that no other view moves with them.
_COMPARISON_GROUP = 54102
PLAN_VIEW = "BiplanarPlan"
_SLICES = ("Red", "Green", "Yellow")
_FAINT, _FAINT_OPACITY = "BiplanarBoneRecon.Faint", 0.25
MEASUREMENTS_VIEW, PLAN_TABLE_VIEW = "BiplanarMeasurements", "BiplanarPlanTable"


def _slice(name: str, label: str, color: str) -> str:
    return (
        f'<item><view class="vtkMRMLSliceNode" singletontag="{name}"><property name="orientation" action="default">Coronal</property>'
        f'<property name="viewlabel" action="default">{label}</property><property name="viewcolor" action="default">{color}</property>'
        "</view></item>"
    )


def _threeD(name: str, label: str, item: str = "<item>") -> str:
    return (
        f'{item}<view class="vtkMRMLViewNode" singletontag="{name}"><property name="viewlabel" action="default">{label}</property>'
        "</view></item>"
    )


def _table(name: str, label: str) -> str:
    return (
        f'<item><view class="vtkMRMLTableViewNode" singletontag="{name}"><property name="viewlabel" action="default">{label}</property>'
        "</view></item>"
    )


_DESCRIPTIONS = {
    RADIOGRAPHS_LAYOUT: (
        '<layout type="vertical" split="true"><item><layout type="horizontal">'
        + _slice(SLICE_VIEWS["ap"], "AP", "#F34A33")
        + _slice(SLICE_VIEWS["lateral"], "LAT", "#4A7DF3")
        + "</layout></item>"
        + _threeD(KNEE_VIEW, "3D")
        + "</layout>"
    ),
    COMPARISON_LAYOUT: (
        '<layout type="vertical" split="true"><item splitSize="650"><layout type="horizontal">'
        + _threeD(RECONSTRUCTION_VIEW, "Rec")
        + _threeD(REFERENCE_VIEW, "CT")
        + '</layout></item><item splitSize="350"><layout type="horizontal">'
        + _table("BiplanarTable", "T")
        + '<item><view class="vtkMRMLPlotViewNode" singletontag="BiplanarHistogram">'
        '<property name="viewlabel" action="default">H</property></view></item>'
        "</layout></item></layout>"
    ),
    PLAN_LAYOUT: (
        '<layout type="vertical" split="true">'
        + _threeD(PLAN_VIEW, "Plan", '<item splitSize="650">')
        + '<item splitSize="350"><layout type="horizontal">'
        + _table(MEASUREMENTS_VIEW, "M")
        + _table(PLAN_TABLE_VIEW, "O")
        + "</layout></item></layout>"
    ),
}


def register() -> None:
    """Make our layouts known to Slicer, so that a saved scene that shows one reopens with it."""
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if node is None:
        return
    for layout, description in _DESCRIPTIONS.items():
        if not node.IsLayoutDescription(layout):
            node.AddLayoutDescription(layout, description)


def show(layout: int) -> None:
    """Change to one of our layouts; nothing happens where there are no views (a script without a window)."""
    register()
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if node is not None:
        node.SetViewArrangement(layout)


def viewNode(name: str) -> Any:
    """The slice, 3D, table or plot view of that name, or None."""
    for kind in ("vtkMRMLSliceNode", "vtkMRMLViewNode", "vtkMRMLTableViewNode", "vtkMRMLPlotViewNode"):
        node = slicer.mrmlScene.GetSingletonNode(name, kind)
        if node is not None:
            return node
    return None


def restrictTo(display: Any, views: list[str]) -> None:
    """Show a display node in the named views only, those that exist."""
    display.RemoveAllViewNodeIDs()
    for name in views:
        node = viewNode(name)
        if node is not None:
            display.AddViewNodeID(node.GetID())


def showRadiographs(nodes: dict[str, Any], rig: dict[str, Any]) -> None:
    """Both radiographs in their slice views as they are stored, and standing in the 3D view."""
    show(RADIOGRAPHS_LAYOUT)
    for view in rig["views"]:
        node, slice_ = nodes.get(view["name"]), viewNode(SLICE_VIEWS.get(view["name"], ""))
        if node is None or slice_ is None:
            continue
        slice_.GetSliceToRAS().DeepCopy(vtkMatrix(sliceToRAS(view)))
        slice_.UpdateMatrices()
        slice_.SetSliceVisible(True)
        slice_.SetOrientationMarkerType(slice_.OrientationMarkerTypeAxes)
        knee = viewNode(KNEE_VIEW)
        if knee is not None:
            # The comparison's 3D views show bones only.
            slice_.RemoveAllThreeDViewIDs()
            slice_.AddThreeDViewID(knee.GetID())
        composite = _compositeOf(slice_)
        if composite is not None:
            composite.SetBackgroundVolumeID(node.GetID())
        logic = slicer.app.applicationLogic().GetSliceLogic(slice_)
        if logic is not None:
            logic.FitSliceToBackground()


def showEdges(outlines: list[Any], attribute: str) -> None:
    """Each edge model in the slice view of its radiograph and in the 3D view."""
    for node in outlines:
        restrictTo(node.GetDisplayNode(), [SLICE_VIEWS.get(node.GetAttribute(attribute), ""), KNEE_VIEW])


def showPlan(segmentation: Any, measurements: Any, table: Any, replaced: list[str]) -> None:
    """The 3D view for planning over both tables.

    replaced: IDs of segments that the fragments of a plan stand for there; the other bones are faint then.
    """
    show(PLAN_LAYOUT)
    view = viewNode(PLAN_VIEW)
    if view is None:
        return
    view.SetBoxVisible(False)
    view.SetAxisLabelsVisible(False)
    view.SetOrientationMarkerType(view.OrientationMarkerTypeAxes)
    for name, node in ((MEASUREMENTS_VIEW, measurements), (PLAN_TABLE_VIEW, table)):
        if node is not None:
            viewNode(name).SetTableNodeID(node.GetID())
    if segmentation is not None and not replaced:
        segmentation.GetDisplayNode().SetVisibility(True)
        letIn(segmentation.GetDisplayNode(), [PLAN_VIEW])
    if segmentation is not None and replaced:
        keepOut(segmentation.GetDisplayNode(), [PLAN_VIEW])
        _faintIn(PLAN_VIEW, segmentation, replaced)


def letIn(display: Any, views: list[str]) -> None:
    """Show a display node in these views too: it is limited to some where a comparison keeps it out of others. No list means every view."""
    if display is not None and display.GetNumberOfViewNodeIDs():
        for name in views:
            node = viewNode(name)
            if node is not None:
                display.AddViewNodeID(node.GetID())
        # Shown in all that there are: also in those that are yet to come.
        if all(display.IsDisplayableInView(node.GetID()) for node in _views()):
            display.RemoveAllViewNodeIDs()


def showSlicesAt(segmentation: Any, point: list[float]) -> None:
    """Slicer's four views with every slice through a point (RAS), and a segmentation seen in all of them."""
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if layout is None:
        return
    layout.SetViewArrangement(layout.SlicerLayoutFourUpView)
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *point)
    letIn(segmentation.GetDisplayNode(), list(_SLICES))


def _faintIn(name: str, segmentation: Any, hidden: list[str]) -> None:
    """Show a segmentation faintly in one 3D view, without some of its segments: through a display node of its own."""
    displays = [segmentation.GetNthDisplayNode(index) for index in range(segmentation.GetNumberOfDisplayNodes())]
    display = next((node for node in displays if node is not None and node.GetAttribute(_FAINT)), None)
    if display is None:
        display = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationDisplayNode")
        display.SetAttribute(_FAINT, "1")
        segmentation.AddAndObserveDisplayNodeID(display.GetID())
        display.SetOpacity3D(_FAINT_OPACITY)
        display.SetVisibility2D(False)
    for identifier in hidden:
        display.SetSegmentVisibility(identifier, False)
    restrictTo(display, [name])


def keepOut(display: Any, views: list[str]) -> None:
    """Show a display node in all the 3D and slice views that it is shown in, but these."""
    if display is None:
        return
    kept = [
        node.GetID()
        for node in _views()
        if node.GetLayoutName() not in views and display.IsDisplayableInView(node.GetID())
    ]
    # No view at all would mean every view.
    if kept:
        display.SetViewNodeIDs(kept)


def _views() -> list[Any]:
    """The 3D and slice views of the scene."""
    scene = slicer.mrmlScene
    return [
        scene.GetNthNodeByClass(index, kind)
        for kind in ("vtkMRMLViewNode", "vtkMRMLSliceNode")
        for index in range(scene.GetNumberOfNodesByClass(kind))
    ]


def linkCameras() -> None:
    """Turn both 3D views of a comparison together."""
    for name in (RECONSTRUCTION_VIEW, REFERENCE_VIEW):
        view = viewNode(name)
        if view is not None:
            view.SetViewGroup(_COMPARISON_GROUP)
            view.SetLinkedControl(True)
            view.SetBoxVisible(False)
            view.SetAxisLabelsVisible(False)
            # Without box and letters, the small axes say which way the knee is turned.
            view.SetOrientationMarkerType(view.OrientationMarkerTypeAxes)


def lookFromTheFront(names: list[str], bounds: tuple[float, float, float, float, float, float]) -> None:
    """Turn 3D views to the patient's front, head up, at a box (R, A, S limits); views without a camera yet are left out."""
    middle = [(bounds[2 * axis] + bounds[2 * axis + 1]) / 2 for axis in range(3)]
    radius = sum((bounds[2 * axis + 1] - bounds[2 * axis]) ** 2 for axis in range(3)) ** 0.5 / 2
    scene = slicer.mrmlScene
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLCameraNode")):
        camera = scene.GetNthNodeByClass(index, "vtkMRMLCameraNode")
        if camera.GetLayoutName() not in names:
            continue
        distance = radius / math.sin(math.radians(camera.GetViewAngle() / 2))
        camera.SetFocalPoint(*middle)
        camera.SetPosition(middle[0], middle[1] + distance, middle[2])
        camera.SetViewUp(0.0, 0.0, 1.0)
        camera.ResetClippingRange()


def _compositeOf(slice_: Any) -> Any:
    scene = slicer.mrmlScene
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode")
        if node.GetLayoutName() == slice_.GetLayoutName():
            return node
    return None
