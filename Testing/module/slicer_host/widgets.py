"""Doubles of Slicer's own widgets in PySide6: a node selector on a real scene, a collapsible section, a container."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from .python_qt import PythonQtObject


class qMRMLWidget(QtWidgets.QWidget):
    """A container that hands the scene to the widgets that the .ui connects to it."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.receivers: list[Any] = []

    def setMRMLScene(self, scene: Any) -> None:
        for receiver in self.receivers:
            receiver.setMRMLScene(scene)


class ctkCollapsibleButton(QtWidgets.QWidget):
    """A titled section; `collapsed` hides its content."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._title, self._collapsed = "", False
        self.setContentsMargins(0, 26, 0, 0)

    def _setText(self, text: str) -> None:
        self._title = text
        self.update()

    def _setCollapsed(self, collapsed: bool) -> None:
        self._collapsed = collapsed
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            child.setVisible(not collapsed)
        self.setMaximumHeight(28 if collapsed else 16777215)
        self.update()

    text = QtCore.Property(str, lambda self: self._title, _setText)
    collapsed = QtCore.Property(bool, lambda self: self._collapsed, _setCollapsed)

    def paintEvent(self, event: Any) -> None:
        from PySide6 import QtGui

        painter = QtGui.QPainter(self)
        painter.fillRect(0, 0, self.width(), 24, QtGui.QColor(222, 226, 233))
        font = painter.font()
        font.setBold(True)
        painter.setFont(font)
        sign = "\u25b8" if self._collapsed else "\u25be"
        painter.drawText(8, 17, f"{sign}  {self._title}")
        painter.end()

    def mousePressEvent(self, event: Any) -> None:
        if event.position().y() < 24:
            self._setCollapsed(not self._collapsed)


class qMRMLNodeComboBox(QtWidgets.QComboBox):
    """Chooses a node of a real scene: follows what is added, removed and renamed."""

    SIGNALS = ("currentNodeChanged(vtkMRMLNode*)",)
    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._types: list[str] = []
        self._scene: Any = None
        self._filling = False
        self.currentIndexChanged.connect(self._tell)

    nodeTypes = QtCore.Property("QStringList", lambda self: self._types, lambda self, types: self._setTypes(types))
    noneEnabled = QtCore.Property(bool, lambda self: True, lambda self, value: None)
    addEnabled = QtCore.Property(bool, lambda self: False, lambda self, value: None)
    removeEnabled = QtCore.Property(bool, lambda self: False, lambda self, value: None)
    renameEnabled = QtCore.Property(bool, lambda self: True, lambda self, value: None)

    def _setTypes(self, types: list[str]) -> None:
        self._types = list(types)

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndImportEvent, scene.EndCloseEvent):
            scene.AddObserver(event, self._fill)
        self._fill()

    def currentNode(self) -> Any:
        identifier = self.currentData()
        return self._scene.GetNodeByID(identifier) if identifier and self._scene is not None else None

    def setCurrentNode(self, node: Any) -> None:
        index = 0 if node is None else self.findData(node.GetID())
        if index < 0:
            self._fill()
            index = self.findData(node.GetID())
        self.setCurrentIndex(max(index, 0))

    def _fill(self, caller: Any = None, event: Any = None) -> None:
        before = self.currentData()
        self._filling = True
        self.clear()
        self.addItem("None", "")
        for kind in self._types:
            for index in range(self._scene.GetNumberOfNodesByClass(kind)):
                node = self._scene.GetNthNodeByClass(index, kind)
                if not node.GetHideFromEditors():
                    self.addItem(node.GetName(), node.GetID())
        self.setCurrentIndex(max(self.findData(before or ""), 0))
        self._filling = False
        if (self.currentData() or "") != (before or ""):
            self._tell()

    def _tell(self, *_: Any) -> None:
        if not self._filling:
            self.currentNodeChanged.emit(self.currentNode())


class _Loader(QtUiTools.QUiLoader):
    _OURS = {kind.__name__: kind for kind in (qMRMLWidget, ctkCollapsibleButton, qMRMLNodeComboBox)}  # noqa: RUF012

    def createWidget(self, className: str, parent: Any = None, name: str = "") -> Any:
        kind = self._OURS.get(className)
        if kind is None:
            return super().createWidget(className, parent, name)
        widget = kind(parent)
        widget.setObjectName(name)
        return widget


def loadUI(path: str) -> PythonQtObject:
    """Load a .ui file as Slicer does, its connections of MRML scenes included. Raises RuntimeError as slicer.util.loadUI."""
    if not Path(path).is_file():
        raise RuntimeError(f"Could not load UI file: file not found {path}")
    # The connections are made here: a signal of an MRML type cannot be declared in PySide6.
    tree = ElementTree.parse(path)
    connections = list(tree.iter("connection"))
    for element in tree.getroot().findall("connections"):
        tree.getroot().remove(element)
    text = QtCore.QBuffer()
    text.setData(ElementTree.tostring(tree.getroot(), encoding="utf-8"))
    text.open(QtCore.QIODevice.ReadOnly)
    window = _Loader().load(text)
    if window is None:
        raise RuntimeError(f"Could not load UI file: {path}")
    for connection in connections:
        words = {child.tag: child.text for child in connection}
        if words["slot"] == "setMRMLScene(vtkMRMLScene*)" and words["sender"] == window.objectName():
            window.receivers.append(window.findChild(QtWidgets.QWidget, words["receiver"]))
    return PythonQtObject(window)
