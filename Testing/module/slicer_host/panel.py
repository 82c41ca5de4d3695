"""The module's panel, opened in the host and driven as a user would."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .application import Host
from .python_qt import QFileDialog


class _Layout:
    """The layout of Slicer's module panel takes the widget that loadUI gave."""

    def __init__(self) -> None:
        self.frame = QtWidgets.QScrollArea()
        self.frame.setWidgetResizable(True)

    def addWidget(self, widget: Any) -> None:
        self.frame.setWidget(widget._widget)


class Panel:
    """One open module panel."""

    def __init__(self, host: Host) -> None:
        from BiplanarBoneRecon import BiplanarBoneReconWidget

        self.host = host
        self._layout = _Layout()
        self.widget = BiplanarBoneReconWidget(SimpleNamespace(isEntered=True, contents=self._layout))
        self.widget.setup()
        self.widget.enter()
        self._layout.frame.resize(470, 900)
        self._layout.frame.show()

    @property
    def ui(self) -> Any:
        return self.widget.ui

    def close(self) -> None:
        self.widget.cleanup()
        self._layout.frame.close()
        self.process()

    def click(self, name: str) -> None:
        """Press a button with the mouse's means; a disabled one is an error of the test."""
        button = getattr(self.ui, name)
        assert button.enabled, f"{name} is disabled"
        button.click()

    def answer(self, *paths: str) -> None:
        """What the next file dialogues give."""
        QFileDialog.answers.extend(paths)

    def process(self) -> None:
        QtWidgets.QApplication.processEvents()

    def waitUntilIdle(self, seconds: float = 300.0) -> None:
        """Let events go on until the running job has ended."""
        end = time.monotonic() + seconds
        while self.ui.cancelButton.enabled:
            assert time.monotonic() < end, "the job does not end"
            QtWidgets.QApplication.processEvents(QtCore.QEventLoop.AllEvents, 50)
            time.sleep(0.005)

    def status(self) -> str:
        return str(self.ui.statusLabel.text)

    def picture(self, height: int = 900) -> QtGui.QImage:
        """The panel as it looks now."""
        self._layout.frame.resize(470, height)
        self.process()
        self.process()
        return self._layout.frame.grab().toImage()
