"""A real browser for the tests of pages: Chromium in Qt WebEngine, without a window, from PySide6."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
_HOST = Path(__file__).with_name("browser_host.py")
_SETTINGS = {
    "QT_QPA_PLATFORM": "offscreen",
    # Chromium's sandbox refuses the root user of a container; the only page it opens is the one under test.
    "QTWEBENGINE_DISABLE_SANDBOX": "1",
    "QTWEBENGINE_CHROMIUM_FLAGS": "--disable-gpu --no-sandbox --disable-dev-shm-usage",
}


@cache
def browser_python() -> tuple[Path | None, str]:
    """The Python whose PySide6 brings Qt WebEngine, and, where there is none, why."""
    named = os.environ.get("SSRKD_BROWSER_PYTHON")
    candidates = [Path(named)] if named else [Path(sys.executable), REPOSITORY / ".venv-slicer" / "bin" / "python"]
    reasons = []
    for python in candidates:
        if not python.is_file():
            reasons.append(f"{python} is absent")
            continue
        check = subprocess.run(
            [python, "-c", "import PySide6.QtWebEngineWidgets"], capture_output=True, text=True, check=False
        )
        if check.returncode == 0:
            return python, ""
        reasons.append(f"{python}: {(check.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return None, "no Qt WebEngine (make test sets it up in .venv-slicer): " + "; ".join(reasons)


class BrowserEnded(RuntimeError):
    """The browser's process is gone. code: its exit code, negative for a signal."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the browser ended with code {code}")
        self.code = code


class Browser:
    """An open browser. What it keeps lies in `folder`, so that the next one with the same folder finds it again."""

    def __init__(self, folder: Path, with_storage: bool = True) -> None:
        python, reason = browser_python()
        if python is None:
            raise RuntimeError(reason)
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True, exist_ok=True)
        choice = "with-storage" if with_storage else "without-storage"
        self._command = [python, _HOST, folder / "profile", self.downloads, choice]
        self._has_loaded = False
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **_SETTINGS},
        )
        assert self._answer() == "ready"

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("ANSWER "):
                answer = json.loads(line.removeprefix("ANSWER "))
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer["value"]
        raise BrowserEnded(self._process.wait())

    def do(self, command: str, *arguments: Any) -> Any:
        """Run a command of browser_host.Host."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": command, "with": arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise BrowserEnded(self._process.wait()) from None
        return self._answer()

    def open(self, page: Path) -> None:
        try:
            loaded = self.do("load", str(page.resolve()))
        except BrowserEnded as ended:
            # Qt WebEngine itself falls now and then over the first page of a process; a page that makes it fall does so again.
            if self._has_loaded or ended.code >= 0:
                raise
            self._start()
            loaded = self.do("load", str(page.resolve()))
        assert loaded, f"{page} did not load"
        self._has_loaded = True

    def script(self, text: str) -> Any:
        """What a function body in JavaScript returns."""
        return self.do("evaluate", text)

    def click(self, selector: str) -> None:
        assert self.script(
            f"const found = document.querySelector({json.dumps(selector)});"
            "if (!found || found.disabled) return false; found.click(); return true;"
        ), f"nothing to click at {selector}"
