"""Slicer's own slice and 3D views, drawn by its displayable managers into pictures, without a window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

_SLICE_MANAGERS = ("vtkMRMLModelSliceDisplayableManager", "vtkMRMLColorLegendDisplayableManager")
_THREED_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLColorLegendDisplayableManager",
    "vtkMRMLMarkupsDisplayableManager",
)


class _View:
    def __init__(self, node: Any, width: int, height: int, factory: Any, managers: tuple[str, ...]) -> None:
        self.node = node
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(True)
        self.window.SetSize(width, height)
        self.renderer = vtk.vtkRenderer()
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.Initialize()
        self.factory = factory
        factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        for name in managers:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.group = factory.InstantiateDisplayableManagers(self.renderer)
        self.group.SetMRMLDisplayableNode(node)

    def picture(self) -> NDArray[np.uint8]:
        """[row, column, 3] of what the view shows now."""
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        width, height, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].copy()


class SliceView(_View):
    """A slice view: the slice logic's blended image, and what the displayable managers draw over it."""

    def __init__(self, node: Any, width: int = 400, height: int = 400) -> None:
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        super().__init__(node, width, height, factory, _SLICE_MANAGERS)
        self.logic = slicer.app.applicationLogic().GetSliceLogic(node)
        self.logic.ResizeSliceNode(width, height)
        self.logic.FitSliceToBackground()
        camera = self.renderer.GetActiveCamera()
        camera.ParallelProjectionOn()
        camera.SetParallelScale(height / 2)
        camera.SetFocalPoint((width - 1) / 2, (height - 1) / 2, 0)
        camera.SetPosition((width - 1) / 2, (height - 1) / 2, 100)
        camera.SetClippingRange(1, 500)
        actor = vtk.vtkImageActor()
        actor.GetMapper().SetInputConnection(self.logic.GetImageDataConnection())
        actor.SetPosition(0, 0, -50)
        self.renderer.AddActor(actor)


class ThreeDView(_View):
    """A 3D view with its camera node."""

    def __init__(self, node: Any, width: int = 400, height: int = 400) -> None:
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        super().__init__(node, width, height, factory, _THREED_MANAGERS)

    def look(self, direction: tuple[float, float, float], bounds: Any = None, zoom: float = 1.0) -> None:
        """Look along a direction (RAS) with superior up, at the given bounds or at everything."""
        camera = self.renderer.GetActiveCamera()
        self.window.Render()
        visible = self.renderer.ComputeVisiblePropBounds() if bounds is None else bounds
        center = np.array([(visible[0] + visible[1]) / 2, (visible[2] + visible[3]) / 2, (visible[4] + visible[5]) / 2])
        camera.SetFocalPoint(*center)
        camera.SetPosition(*(center - 500 * np.array(direction) / np.linalg.norm(direction)))
        camera.SetViewUp(0, 0, 1)
        self.renderer.ResetCamera(visible)
        camera.Zoom(zoom)
        self.renderer.ResetCameraClippingRange()


def sliceLogics() -> None:
    """Give every slice view node of the scene a slice logic, as Slicer's layout manager does."""
    scene, application = slicer.mrmlScene, slicer.app.applicationLogic()
    logics = application.GetSliceLogics()
    if logics is None:
        logics = vtk.vtkCollection()
        application.SetSliceLogics(logics)
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLSliceNode")
        if application.GetSliceLogic(node) is None:
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(application)
            logics.AddItem(logic)
            logic.SetMRMLScene(scene)
            logic.SetSliceNode(node)


@contextmanager
def standing(visible: bool) -> Iterator[None]:
    """Radiographs standing in the 3D views, or not, for a while."""
    scene = slicer.mrmlScene
    nodes = [
        scene.GetNthNodeByClass(index, "vtkMRMLSliceNode")
        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode"))
    ]
    edges = [
        node.GetDisplayNode()
        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLModelNode"))
        if (node := scene.GetNthNodeByClass(index, "vtkMRMLModelNode")).GetAttribute("BiplanarBoneRecon.OutlineOf")
    ]
    before = [node.GetSliceVisible() for node in nodes]
    for node in nodes:
        node.SetSliceVisible(visible)
    for display in edges:
        display.SetVisibility(visible)
    yield
    for node, was in zip(nodes, before, strict=True):
        node.SetSliceVisible(was)
    for display in edges:
        display.SetVisibility(True)
