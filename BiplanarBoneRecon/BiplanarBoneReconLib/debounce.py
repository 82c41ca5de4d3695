"""A function that is called once, when what calls for it has been quiet for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt


class Debounce:
    """Calls `function` when it was not asked for during `milliseconds`."""

    def __init__(self, function: Callable[[], Any], milliseconds: int) -> None:
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(milliseconds)
        self._timer.timeout.connect(function)

    def __call__(self, *_arguments: Any) -> None:
        self._timer.start()

    def stop(self) -> None:
        """Forget what was asked for."""
        self._timer.stop()
