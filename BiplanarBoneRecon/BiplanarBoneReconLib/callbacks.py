"""Functions to call when something happens.

Not a Qt signal: signals that are declared in Python crash PythonQt, the Qt binding of Slicer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Callbacks:
    """Calls every connected function, in the order in which they were connected."""

    def __init__(self) -> None:
        self._functions: list[Callable[..., Any]] = []

    def connect(self, function: Callable[..., Any]) -> None:
        self._functions.append(function)

    def disconnect(self, function: Callable[..., Any]) -> None:
        self._functions.remove(function)

    def clear(self) -> None:
        """Call nobody any more."""
        self._functions.clear()

    def __call__(self, *arguments: Any) -> None:
        for function in list(self._functions):
            function(*arguments)
