"""PySide6 that behaves as PythonQt, the Qt binding inside Slicer, where it matters.

A Q_PROPERTY wins over the method of the same name: `button.enabled = False` and `label.text` work, `label.text()` does not, and an
attribute that is neither property nor method is an error. Signals are connected by their C++ signature.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from PySide6 import QtCore, QtWidgets


class PythonQtObject:
    """A widget as PythonQt shows it."""

    def __init__(self, widget: QtCore.QObject) -> None:
        object.__setattr__(self, "_widget", widget)

    def __getattr__(self, name: str) -> Any:
        widget = object.__getattribute__(self, "_widget")
        if widget.metaObject().indexOfProperty(name) >= 0:
            return widget.property(name)
        return getattr(widget, name)

    def __setattr__(self, name: str, value: Any) -> None:
        widget = self._widget
        if widget.metaObject().indexOfProperty(name) < 0:
            raise AttributeError(f"{self.className()} has no property {name}")
        if not widget.setProperty(name, value):
            raise TypeError(f"{self.className()}.{name} does not take {value!r}")

    @property
    def name(self) -> str:
        return self._widget.objectName()

    def className(self) -> str:
        return type(self._widget).__name__

    def connect(self, signature: str, function: Any) -> None:
        """Connect by signature, as `clicked(bool)`; a signal that the widget does not have is an error."""
        name, arguments = signature.rstrip(")").split("(")
        signal = getattr(self._widget, name)
        normalised = f"{name}({arguments})"
        exact = bytes(QtCore.QMetaObject.normalizedSignature(normalised).data()).decode()
        known = self._widget.metaObject().indexOfSignal(exact)
        if known < 0 and normalised not in getattr(self._widget, "SIGNALS", ()):
            raise AttributeError(f"{self.className()} has no signal {signature}")
        signal.connect(lambda *values: function(*values))


class QFileDialog:
    """Answers instead of dialogues: the host's tests put paths into `answers`."""

    answers: list[str] = []  # noqa: RUF012

    @classmethod
    def _answer(cls, *_: Any) -> str:
        return cls.answers.pop(0) if cls.answers else ""

    getOpenFileName = getSaveFileName = getExistingDirectory = _answer


class QDesktopServices:
    """Notes what would be opened outside Slicer."""

    opened: list[str] = []  # noqa: RUF012

    @classmethod
    def openUrl(cls, url: Any) -> bool:
        cls.opened.append(url.toLocalFile())
        return True


def makeQt() -> ModuleType:
    """The module `qt` with what the module uses of it: real processes and timers, doubled dialogues."""
    module = ModuleType("qt")
    module.QProcess = QtCore.QProcess  # type: ignore[attr-defined]
    module.QProcessEnvironment = QtCore.QProcessEnvironment  # type: ignore[attr-defined]
    module.QTimer = QtCore.QTimer  # type: ignore[attr-defined]
    module.QUrl = QtCore.QUrl  # type: ignore[attr-defined]
    module.QDesktopServices = QDesktopServices  # type: ignore[attr-defined]
    module.QFileDialog = QFileDialog  # type: ignore[attr-defined]
    return module


def childWidgets(window: PythonQtObject) -> Any:
    """Named children as attributes, as slicer.util.childWidgetVariables gives them."""
    from types import SimpleNamespace

    children = window._widget.findChildren(QtWidgets.QWidget)
    named = {child.objectName(): PythonQtObject(child) for child in children if child.objectName()}
    return SimpleNamespace(**{name: widget for name, widget in named.items() if not name.startswith("qt_")})
