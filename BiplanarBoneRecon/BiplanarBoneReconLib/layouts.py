"""Two layouts of our own: the radiographs side by side over the 3D view, and two 3D views side by side for a comparison."""

from __future__ import annotations

from typing import Any

import slicer

from .frames import sliceToRAS, vtkMatrix

RADIOGRAPHS_LAYOUT, COMPARISON_LAYOUT = 54101, 54102
SLICE_VIEWS = {"ap": "BiplanarAP", "lateral": "BiplanarLateral"}
KNEE_VIEW, RECONSTRUCTION_VIEW, REFERENCE_VIEW = "BiplanarKnee", "BiplanarReconstruction", "BiplanarReference"
#: Slicer moves the cameras of a linked view's whole group: the two compared views are one, so that no other view moves with them.
_COMPARISON_GROUP = 54102


def _slice(name: str, label: str, color: str) -> str:
    return (
        f'<item><view class="vtkMRMLSliceNode" singletontag="{name}"><property name="orientation" action="default">Coronal</property>'
        f'<property name="viewlabel" action="default">{label}</property><property name="viewcolor" action="default">{color}</property>'
        "</view></item>"
    )


def _threeD(name: str, label: str) -> str:
    return (
        f'<item><view class="vtkMRMLViewNode" singletontag="{name}"><property name="viewlabel" action="default">{label}</property>'
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
        '<item><view class="vtkMRMLTableViewNode" singletontag="BiplanarTable">'
        '<property name="viewlabel" action="default">T</property></view></item>'
        '<item><view class="vtkMRMLPlotViewNode" singletontag="BiplanarHistogram">'
        '<property name="viewlabel" action="default">H</property></view></item>'
        "</layout></item></layout>"
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


def linkCameras() -> None:
    """Turn both 3D views of a comparison together."""
    for name in (RECONSTRUCTION_VIEW, REFERENCE_VIEW):
        view = viewNode(name)
        if view is not None:
            view.SetViewGroup(_COMPARISON_GROUP)
            view.SetLinkedControl(True)
            view.SetBoxVisible(False)
            view.SetAxisLabelsVisible(False)


def _compositeOf(slice_: Any) -> Any:
    scene = slicer.mrmlScene
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode")
        if node.GetLayoutName() == slice_.GetLayoutName():
            return node
    return None
