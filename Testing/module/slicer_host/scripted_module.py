"""Stand-ins for slicer.ScriptedLoadableModule: the base classes, as far as a module meets them."""

from __future__ import annotations

import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import slicer


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent


class ScriptedLoadableModuleWidget:
    """`resourceFolder` is set by the host, as Slicer derives it from the module's path."""

    resourceFolder = Path()

    def __init__(self, parent: Any = None) -> None:
        self.parent = parent
        self.layout = getattr(parent, "contents", None)

    def resourcePath(self, name: str) -> str:
        return str(self.resourceFolder / name)

    def setup(self) -> None:
        """Slicer adds developer tools here."""


class ScriptedLoadableModuleLogic:
    """Keeps the module's parameter node, a singleton of the scene, as Slicer does."""

    moduleName = "BiplanarBoneRecon"

    def __init__(self, parent: Any = None) -> None:
        self.parent = parent

    def getParameterNode(self) -> Any:
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetModuleName(self.moduleName)
            node.SetSingletonTag(self.moduleName)
            node = scene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def runTest(self) -> None:
        """Overridden by the module's test."""

    def delayDisplay(self, message: str, msec: int = 0) -> None:
        slicer.app.processEvents()


def newParent() -> Any:
    """What Slicer hands to a module's class: an object that takes title, categories, help text."""
    return SimpleNamespace()
