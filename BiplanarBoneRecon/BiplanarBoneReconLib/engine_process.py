"""The engine in another process: Slicer stays responsive, and what happens there cannot take Slicer down.

The engine answers with one JSON object on stdout and tells its progress as JSON lines on stderr (`ssrkd ... --json
--progress-lines`). Everything else on stderr is its log.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import qt
from slicer.i18n import tr as _

from .callbacks import Callbacks
from .engine_files import engineEnvironment, pythonExecutable

_GRACE_MS = 3000
_LOG_LINES = 400


@dataclass
class Outcome:
    """How a run of the engine ended.

    exitCode: of the process; None when it did not start.
    crashed: it ended by a signal or an exception of the system, not by itself.
    cancelled: we asked it to stop.
    result: the JSON object of stdout, {} when there is none.
    log: what it said on stderr, the last lines.
    """

    exitCode: int | None
    crashed: bool
    cancelled: bool
    result: dict[str, Any] = field(default_factory=dict)
    log: str = ""

    @property
    def succeeded(self) -> bool:
        return self.exitCode == 0 and not self.crashed and not self.cancelled

    @property
    def message(self) -> str:
        """One sentence for the user."""
        if self.cancelled:
            return _("Cancelled. The scene is as it was.")
        if self.exitCode is None:
            return _("The engine could not be started with {python}: install the extension again.").format(
                python=pythonExecutable()
            )
        log = self.log.lower()
        if "memoryerror" in log or "out of memory" in log or "not enough memory" in log or "can't allocate" in log:
            return _(
                "The engine ran out of memory: choose a lower resolution or the device CPU, or close other programs."
            )
        if self.crashed:
            return _(
                "The engine ended unexpectedly, most often because memory ran out: choose a lower resolution, or "
                "close other programs. The details hold its log."
            )
        if self.result.get("error"):
            return str(self.result["error"])
        return _("The engine failed (exit code {code}). The details hold its log.").format(code=self.exitCode)


class EngineProcess:
    """One run of `ssrkd`. `progress` is called with (fraction, words), `finished` once with the Outcome."""

    def __init__(self) -> None:
        self.progress = Callbacks()
        self.finished = Callbacks()
        self._cancelled = False
        self._ended = False
        self._output = b""
        self._errors = b""
        self._log: list[str] = []
        self._process = qt.QProcess()
        self._process.readyReadStandardOutput.connect(self._readOutput)
        self._process.readyReadStandardError.connect(self._readErrors)
        self._process.finished.connect(self._onFinished)
        self._process.errorOccurred.connect(self._onError)

    def start(self, arguments: list[str]) -> None:
        """Run `ssrkd` with these arguments, the command first."""
        environment = qt.QProcessEnvironment.systemEnvironment()
        for name, value in engineEnvironment().items():
            environment.insert(name, value)
        self._process.setProcessEnvironment(environment)
        # -P: a folder named SSRKDCore where Slicer was started must not be taken for the engine.
        # Right after the command: some commands have jobs with options of their own.
        words = ["-P", "-m", "SSRKDCore", arguments[0], "--json", "--progress-lines", *arguments[1:]]
        self._process.start(pythonExecutable(), words)

    def cancel(self) -> None:
        """Ask it to stop; end it if it does not."""
        if self._ended or self._cancelled:
            return
        self._cancelled = True
        self._process.terminate()
        # A console program on Windows does not hear terminate().
        qt.QTimer.singleShot(_GRACE_MS, self._kill)

    def wait(self, milliseconds: int) -> bool:
        """Let at most so much time pass; whether it has ended."""
        if not self._ended:
            self._process.waitForFinished(milliseconds)
        return self._ended

    def _kill(self) -> None:
        if not self._ended:
            self._process.kill()

    def _readOutput(self) -> None:
        self._output += bytes(self._process.readAllStandardOutput().data())

    def _readErrors(self) -> None:
        self._errors += bytes(self._process.readAllStandardError().data())
        *lines, self._errors = self._errors.split(b"\n")
        for line in lines:
            self._take(line.decode("utf-8", "replace").rstrip())

    def _take(self, line: str) -> None:
        if line.startswith('{"progress"'):
            try:
                told = json.loads(line)
                self.progress(float(told["progress"]), str(told["words"]))
                return
            except (ValueError, KeyError, TypeError):
                pass
        if line:
            self._log = [*self._log[-_LOG_LINES:], line]

    def _onFinished(self, *_arguments: Any) -> None:
        # PythonQt may pass either overload of this signal, so the process itself is asked.
        self._end(int(self._process.exitCode()), self._process.exitStatus() == qt.QProcess.CrashExit)

    def _onError(self, *_arguments: Any) -> None:
        # Every other error is followed by finished().
        if self._process.error() == qt.QProcess.FailedToStart:
            self._end(None, False)

    def _end(self, exitCode: int | None, crashed: bool) -> None:
        if self._ended:
            return
        self._ended = True
        if exitCode is not None:
            self._readOutput()
            self._readErrors()
        self._take(self._errors.decode("utf-8", "replace").rstrip())
        try:
            result = json.loads(self._output.decode("utf-8")) if self._output.strip() else {}
        except ValueError:
            result = {}
            self._log.append("The engine's answer is not JSON.")
        if not isinstance(result, dict):
            result = {}
        self.finished(Outcome(exitCode, crashed, self._cancelled, result, "\n".join(self._log)))
