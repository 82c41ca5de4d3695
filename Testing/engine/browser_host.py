"""A Chromium without a window (Qt WebEngine), driven by JSON lines: one command a line on stdin, one answer a line on stdout.

It runs in a process of its own, since Qt may live in another Python environment than the engine's tests; see browser.py.
Arguments: a folder for the profile (what the browser keeps when it is closed), a folder for downloads, and
"with-storage" or "without-storage".
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEventLoop, QObject, QSocketNotifier, Qt, QTimer, QUrl
from PySide6.QtTest import QTest
from PySide6.QtWebEngineCore import (
    QWebEngineDownloadRequest,
    QWebEnginePage,
    QWebEngineProfile,
    QWebEngineSettings,
    QWebEngineUrlRequestInfo,
    QWebEngineUrlRequestInterceptor,
)
from PySide6.QtWebEngineWidgets import QWebEngineView
from PySide6.QtWidgets import QApplication

KEYS = {"Tab": Qt.Key.Key_Tab, "Right": Qt.Key.Key_Right, "Left": Qt.Key.Key_Left, "Space": Qt.Key.Key_Space}
KEYS |= {"Return": Qt.Key.Key_Return, "Escape": Qt.Key.Key_Escape, "Down": Qt.Key.Key_Down, "Up": Qt.Key.Key_Up}


class Requests(QWebEngineUrlRequestInterceptor):
    """Remembers the address of whatever a page asks for."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.addresses: list[str] = []

    def interceptRequest(self, info: QWebEngineUrlRequestInfo) -> None:
        self.addresses.append(info.requestUrl().toString())


class Page(QWebEnginePage):
    """Remembers what a page writes to the console."""

    def __init__(self, profile: QWebEngineProfile, parent: QObject) -> None:
        super().__init__(profile, parent)
        self.messages: list[str] = []

    def javaScriptConsoleMessage(self, level: Any, message: str, line: int, source: str) -> None:
        self.messages.append(f"{level.name}: {message} (line {line})")


class Host(QObject):
    def __init__(self, storage: Path, downloads: Path, with_storage: bool) -> None:
        super().__init__()
        self.profile = QWebEngineProfile("reader", self)
        self.profile.setPersistentStoragePath(str(storage))
        self.profile.setCachePath(str(storage / "cache"))
        self.requests = Requests(self.profile)
        self.profile.setUrlRequestInterceptor(self.requests)
        self.profile.downloadRequested.connect(self._download)
        self.downloads, self.downloaded = downloads, ""
        self.view = QWebEngineView()
        self.page = Page(self.profile, self.view)
        self.view.setPage(self.page)
        self.page.settings().setAttribute(QWebEngineSettings.WebAttribute.LocalStorageEnabled, with_storage)
        self.view.resize(1280, 900)
        self.view.show()
        self.chosen: list[str] = []
        self.page.chooseFiles = self._choose  # type: ignore[method-assign]

    def _choose(self, mode: Any, old: list[str], types: list[str]) -> list[str]:
        return self.chosen

    def _download(self, request: QWebEngineDownloadRequest) -> None:
        request.setDownloadDirectory(str(self.downloads))
        path = self.downloads / request.downloadFileName()
        request.isFinishedChanged.connect(lambda: setattr(self, "downloaded", str(path)))
        request.accept()

    def load(self, path: str) -> bool:
        return self._when_loaded(lambda: self.page.load(QUrl.fromLocalFile(path)))

    def reload(self) -> bool:
        return self._when_loaded(lambda: self.page.triggerAction(QWebEnginePage.WebAction.Reload))

    def _when_loaded(self, start: Any) -> bool:
        loop, good = QEventLoop(), []

        def finished(value: bool) -> None:
            good.append(value)
            loop.quit()

        self.page.loadFinished.connect(finished)
        start()
        QTimer.singleShot(30_000, loop.quit)
        loop.exec()
        self.page.loadFinished.disconnect(finished)
        return bool(good and good[0])

    def evaluate(self, script: str) -> Any:
        loop, found = QEventLoop(), []

        def finished(value: Any) -> None:
            found.append(value)
            loop.quit()

        self.page.runJavaScript(f"JSON.stringify((() => {{ {script} }})() ?? null)", finished)
        QTimer.singleShot(20_000, loop.quit)
        loop.exec()
        if not found or not found[0]:
            raise RuntimeError(f"no answer to {script!r}: {self.page.messages[-3:]}")
        return json.loads(found[0])

    def press(self, key: str) -> None:
        target = self.view.focusProxy() or self.view
        target.setFocus()
        if key in KEYS:
            QTest.keyClick(target, KEYS[key])
        else:
            QTest.keyClicks(target, key)
        QTest.qWait(60)

    def choose(self, path: str) -> None:
        self.chosen = [path]

    def download(self) -> str:
        """The file that was downloaded last, once it is complete."""
        for _ in range(100):
            if self.downloaded:
                break
            QTest.qWait(50)
        path, self.downloaded = self.downloaded, ""
        return path

    def wait(self, milliseconds: int) -> None:
        QTest.qWait(milliseconds)

    def size(self, width: int, height: int) -> None:
        self.view.resize(width, height)
        QTest.qWait(300)

    def screenshot(self, path: str) -> bool:
        QTest.qWait(500)
        return self.view.grab().save(path)

    def addresses(self) -> list[str]:
        return self.requests.addresses

    def messages(self) -> list[str]:
        return self.page.messages


def main() -> None:
    storage, downloads, choice = sys.argv[1:]
    application = QApplication(["browser"])
    host = Host(Path(storage), Path(downloads), choice == "with-storage")

    def answer() -> None:
        # A command runs its own event loop, in which stdin must not call this again.
        notifier.setEnabled(False)
        line = sys.stdin.readline()
        if not line:
            # Destroyed before its profile, the page lets Chromium write its storage.
            host.view.setPage(None)
            host.page.deleteLater()
            QTest.qWait(100)
            application.quit()
            return
        command = json.loads(line)
        try:
            result = {"value": getattr(host, command["do"])(*command["with"])}
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print("ANSWER " + json.dumps(result), flush=True)
        notifier.setEnabled(True)

    notifier = QSocketNotifier(sys.stdin.fileno(), QSocketNotifier.Type.Read)
    notifier.activated.connect(answer)
    print("ANSWER " + json.dumps({"value": "ready"}), flush=True)
    application.exec()


if __name__ == "__main__":
    main()
