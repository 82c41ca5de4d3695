"""The application object and the start-up of a host: one real scene, its logics, and stand-ins in their places."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
import slicer.util
from PySide6 import QtWidgets

from . import parameter_node, python_qt, scripted_module, widgets

MODULE_FOLDER = Path(__file__).resolve().parents[3] / "BiplanarBoneRecon"


class Application:
    """slicer.app, as far as the module meets it."""

    def __init__(self, scene: Any) -> None:
        self.temporaryPath = tempfile.mkdtemp(prefix="slicer-host-\u00e4\u4e2d-")
        self.startup: list[Any] = []
        self._logic = slicer.vtkSlicerApplicationLogic()
        self._logic.SetMRMLScene(scene)
        # Reading a .mrb unpacks it into the remote cache.
        self._remote = slicer.vtkMRMLRemoteIOLogic()
        self._remote.GetCacheManager().SetRemoteCacheDirectory(self.temporaryPath)
        self._dataIO = slicer.vtkDataIOManagerLogic()
        self._dataIO.SetMRMLApplicationLogic(self._logic)
        self._dataIO.SetAndObserveDataIOManager(self._remote.GetDataIOManager())
        self._logic.SetMRMLSceneDataIO(scene, self._remote, self._dataIO)

    def applicationLogic(self) -> Any:
        return self._logic

    def processEvents(self) -> None:
        QtWidgets.QApplication.processEvents()

    def connect(self, signature: str, function: Any) -> None:
        self.startup.append((signature, function))

    def testingEnabled(self) -> bool:
        return True


class Host:
    """Everything that stands in for Slicer's window; one a process."""

    def __init__(self) -> None:
        self.qtApplication = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["slicer-host"])
        self.errors: list[tuple[str, str]] = []
        self.confirmations: list[str] = []
        self.confirm = True
        self.scene = slicer.vtkMRMLScene()
        slicer.mrmlScene = self.scene
        slicer.app = Application(self.scene)
        self.sampleSources: list[dict[str, Any]] = []
        self._addLogics()
        self._addModules()
        self._addUtilities()
        self.addDefaultNodes()
        sys.path.insert(0, str(MODULE_FOLDER))

    def addDefaultNodes(self) -> None:
        """Colours and the layout node, as Slicer adds them to a new scene."""
        self.colorLogic.AddDefaultColorNodes()
        if self.scene.GetFirstNodeByClass("vtkMRMLLayoutNode") is None:
            self.scene.AddNode(slicer.vtkMRMLLayoutNode())
        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)

    def clear(self) -> None:
        """Close the scene."""
        # A hierarchy node that an old traceback still holds would be taken for that of the new scene.
        gc.collect()
        self.scene.Clear(False)
        self.addDefaultNodes()
        self.errors.clear()
        self.confirmations.clear()
        python_qt.QFileDialog.answers.clear()

    def _addLogics(self) -> None:
        self.colorLogic = slicer.vtkSlicerColorLogic()
        self.colorLogic.SetMRMLScene(self.scene)
        self.colorLogic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self.segmentationsLogic = slicer.vtkSlicerSegmentationsModuleLogic()
        self.segmentationsLogic.SetMRMLScene(self.scene)
        # Registers the markups with the scene, so that a saved one can be read, and with the views that draw them.
        self.markupsLogic = slicer.vtkSlicerMarkupsLogic()
        self.markupsLogic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self.markupsLogic.SetMRMLScene(self.scene)
        slicer.app.applicationLogic().SetModuleLogic("Markups", self.markupsLogic)
        self.layoutLogic = slicer.vtkMRMLLayoutLogic()
        self.layoutLogic.SetMRMLScene(self.scene)
        slicer.modules = SimpleNamespace(colors=SimpleNamespace(logic=lambda: self.colorLogic))

    def _addModules(self) -> None:
        wrapper = ModuleType("slicer.parameterNodeWrapper")
        wrapper.parameterNodeWrapper = parameter_node.parameterNodeWrapper
        wrapper.WithinRange = parameter_node.WithinRange
        i18n = ModuleType("slicer.i18n")
        i18n.tr = lambda text: text
        i18n.translate = lambda context, text: text
        sample = ModuleType("SampleData")
        sample.SampleDataLogic = SimpleNamespace(
            registerCustomSampleDataSource=lambda **words: self.sampleSources.append(words)
        )
        scripted_module.ScriptedLoadableModuleWidget.resourceFolder = MODULE_FOLDER / "Resources"
        sys.modules |= {
            "slicer.parameterNodeWrapper": wrapper,
            "slicer.i18n": i18n,
            "slicer.ScriptedLoadableModule": scripted_module,
            "SampleData": sample,
            "qt": python_qt.makeQt(),
        }

    def _addUtilities(self) -> None:
        slicer.util.loadUI = widgets.loadUI
        slicer.util.childWidgetVariables = python_qt.childWidgets

        def errorDisplay(text: str, windowTitle: str = "", detailedText: str = "", **_: Any) -> None:
            self.errors.append((text, detailedText))

        def confirmOkCancelDisplay(text: str, windowTitle: str = "", **_: Any) -> bool:
            self.confirmations.append(text)
            return self.confirm

        slicer.util.errorDisplay = errorDisplay
        slicer.util.confirmOkCancelDisplay = confirmOkCancelDisplay


_host: Host | None = None


def host() -> Host:
    """The host of this process, started when it is asked for the first time."""
    global _host
    if _host is None:
        _host = Host()
    return _host
