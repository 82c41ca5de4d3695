"""Stand-in for slicer.parameterNodeWrapper: typed parameters on a real vtkMRMLScriptedModuleNode, connected to real widgets.

It enforces what the real wrapper enforces: a `float` or `int` on a spin box or slider takes its limits from WithinRange, an enum
fills its combo box with labels, unknown parameter names in the .ui are errors.
"""

from __future__ import annotations

import enum
import typing
from dataclasses import dataclass
from typing import Any

import slicer
import vtk


@dataclass(frozen=True)
class WithinRange:
    minimum: float
    maximum: float


def parameterNodeWrapper(cls: type) -> type:
    """Turns an annotated class into a wrapper of a parameter node."""
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {name: _Field(name, hint, cls.__dict__.get(name)) for name, hint in hints.items()}
    members: dict[str, Any] = {name: property(field.read, field.write) for name, field in fields.items()}
    members["_fields"] = fields
    return type(cls.__name__, (_Wrapper,), {**members, "__doc__": cls.__doc__, "__module__": cls.__module__})


class _Field:
    def __init__(self, name: str, hint: Any, default: Any) -> None:
        self.name = name
        self.annotations = getattr(hint, "__metadata__", ())
        self.type = typing.get_args(hint)[0] if self.annotations else hint
        self.isNode = isinstance(self.type, type) and issubclass(self.type, slicer.vtkMRMLNode)
        self.default = default if default is not None or self.isNode else self.type()

    @property
    def range(self) -> WithinRange | None:
        return next((item for item in self.annotations if isinstance(item, WithinRange)), None)

    def read(self, wrapper: _Wrapper) -> Any:
        node = wrapper.parameterNode
        if self.isNode:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if text == "" and node.GetParameterNames() is not None and self.name not in node.GetParameterNames():
            return self.default
        if issubclass(self.type, enum.Enum):
            return self.type[text]
        return text == "True" if self.type is bool else self.type(text)

    def write(self, wrapper: _Wrapper, value: Any) -> None:
        node = wrapper.parameterNode
        if self.isNode:
            if value is not None and not isinstance(value, self.type):
                raise TypeError(f"{self.name} takes a {self.type.__name__}, not {value!r}")
            node.SetNodeReferenceID(self.name, None if value is None else value.GetID())
            return
        if not isinstance(value, self.type) and not (self.type is float and isinstance(value, int)):
            raise TypeError(f"{self.name} takes {self.type.__name__}, not {value!r}")
        if self.range is not None and not self.range.minimum <= value <= self.range.maximum:
            raise ValueError(f"{self.name} is {value}, outside its range")
        node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))


class _Wrapper:
    _fields: typing.ClassVar[dict[str, _Field]] = {}

    def __init__(self, node: Any) -> None:
        object.__setattr__(self, "parameterNode", node)
        object.__setattr__(self, "_connections", {})

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._fields:
            raise AttributeError(f"there is no parameter {name}")
        super().__setattr__(name, value)

    def AddObserver(self, event: Any, function: Any, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, function, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def connectGui(self, ui: Any) -> int:
        """Connect every widget whose dynamic property SlicerParameterName names a parameter; returns a tag."""
        connectors = []
        for widget in vars(ui).values():
            name = widget.property("SlicerParameterName")
            if name:
                connectors.append(_Connector(self, self._fields[name], widget))
        tag = len(self._connections) + 1

        def refresh(caller: Any = None, event: Any = None) -> None:
            for connector in connectors:
                connector.toWidget()

        observer = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, refresh)
        refresh()
        for connector in connectors:
            connector.connect()
        self._connections[tag] = (observer, connectors)
        return tag

    def disconnectGui(self, tag: int) -> None:
        observer, connectors = self._connections.pop(tag)
        self.parameterNode.RemoveObserver(observer)
        for connector in connectors:
            connector.connected = False


class _Connector:
    """One widget and one parameter."""

    _SIGNALS: typing.ClassVar[dict[str, str]] = {
        "QCheckBox": "toggled(bool)",
        "QLineEdit": "textChanged(QString)",
        "QSpinBox": "valueChanged(int)",
        "QDoubleSpinBox": "valueChanged(double)",
        "QComboBox": "currentIndexChanged(int)",
        "qMRMLNodeComboBox": "currentNodeChanged(vtkMRMLNode*)",
    }

    def __init__(self, wrapper: _Wrapper, field: _Field, widget: Any) -> None:
        self.wrapper, self.field, self.widget = wrapper, field, widget
        self.kind = widget.className()
        self.connected = False
        if self.kind in ("QSpinBox", "QDoubleSpinBox"):
            if field.range is None:
                raise TypeError(f"{field.name} is on a spin box and needs WithinRange")
            convert = int if self.kind == "QSpinBox" else float
            widget.minimum, widget.maximum = convert(field.range.minimum), convert(field.range.maximum)
        if self.kind == "QComboBox":
            widget.clear()
            for choice in field.type:
                widget.addItem(choice.label())

    def connect(self) -> None:
        self.connected = True
        self.widget.connect(self._SIGNALS[self.kind], self.fromWidget)

    def fromWidget(self, *_: Any) -> None:
        if not self.connected:
            return
        setattr(self.wrapper, self.field.name, self._shown())

    def toWidget(self) -> None:
        value = self.field.read(self.wrapper)
        if self._shown() == value:
            return
        if self.kind == "QCheckBox":
            self.widget.checked = value
        elif self.kind == "QLineEdit":
            self.widget.text = value
        elif self.kind in ("QSpinBox", "QDoubleSpinBox"):
            self.widget.value = value
        elif self.kind == "QComboBox":
            self.widget.currentIndex = list(self.field.type).index(value)
        else:
            self.widget.setCurrentNode(value)

    def _shown(self) -> Any:
        if self.kind == "QCheckBox":
            return self.widget.checked
        if self.kind == "QLineEdit":
            return self.widget.text
        if self.kind in ("QSpinBox", "QDoubleSpinBox"):
            return self.widget.value
        if self.kind == "QComboBox":
            return list(self.field.type)[self.widget.currentIndex]
        return self.widget.currentNode()
