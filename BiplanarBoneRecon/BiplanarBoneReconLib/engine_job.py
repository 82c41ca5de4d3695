"""A job: commands of the engine one after another in a work folder, and then what becomes of their results in the scene."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from .callbacks import Callbacks
from .engine_files import newWorkFolder, removeWorkFolder
from .engine_process import EngineProcess, Outcome
from .problems import Cancelled, Problem
from .scene_transaction import SceneTransaction

_WAIT_MS = 50


@dataclass
class Step:
    """A command of the engine. `share` of the job's progress is its own; `arguments` may need the results of earlier steps."""

    arguments: Callable[[Path], list[str]]
    share: float = 1.0


class EngineJob:
    """Runs steps and places their results.

    place: called with (work folder, results of the steps) in the scene transaction; what it returns is the job's value. When it
        raises, everything that it added to the scene is removed again.
    nodes: what must still be in the scene at the end, with a name for the message.

    `progress` is called with (fraction, words); then once, either `succeeded` with the value or `failed` with a Problem.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        place: Callable[[Path, list[dict[str, Any]]], Any],
        nodes: Sequence[tuple[str, Any]] = (),
        processFactory: Callable[[], EngineProcess] = EngineProcess,
        prepare: Callable[[Path], None] | None = None,
    ) -> None:
        self.progress = Callbacks()
        self.succeeded = Callbacks()
        self.failed = Callbacks()
        self.value: Any = None
        self.problem: Problem | None = None
        self._steps = list(steps)
        self._place = place
        self._prepare = prepare
        self._nodeIDs = [(name, node.GetID()) for name, node in nodes]
        self._processFactory = processFactory
        self._process: EngineProcess | None = None
        self._results: list[dict[str, Any]] = []
        self._folder: Path | None = None
        self._ended = False
        self._sceneClosed = False
        self._cancelled = False
        self._closeTag: int | None = None

    @property
    def isRunning(self) -> bool:
        return self._folder is not None and not self._ended

    def start(self) -> None:
        """Begin. A failure to begin is told through `failed` too."""
        self._succeeds(self._begin)

    def cancel(self) -> None:
        """Stop; `failed` follows when the engine's process has ended."""
        if not self.isRunning:
            return
        # Kept here too: the process may have ended just now, with another step or the scene to come.
        self._cancelled = True
        if self._process is not None:
            self._process.cancel()

    def forgetListeners(self) -> None:
        """Tell nobody of progress and end any more."""
        for listeners in (self.progress, self.succeeded, self.failed):
            listeners.clear()

    def wait(self) -> Any:
        """Block, with Slicer's events going on, until the job has ended. Returns its value or raises its Problem."""
        while self.isRunning:
            if self._process is not None:
                self._process.wait(_WAIT_MS)
            slicer.app.processEvents()
        if self.problem is not None:
            # A new one: an exception that the job kept would keep the caller's frame and its MRML nodes alive, through its traceback.
            raise type(self.problem)(str(self.problem), self.problem.details)
        return self.value

    def _succeeds(self, work: Callable[[], None]) -> bool:
        """Whether work went well. However it fails, the job ends with it: nothing else would end it."""
        try:
            work()
            return True
        except Problem as problem:
            self._fail(problem)
        except OSError as error:
            self._fail(fileProblem(error))
        except Exception as error:
            logging.exception("BiplanarBoneRecon could not use the engine's results")
            self._fail(
                Problem(
                    _(
                        "The engine's results could not be used ({error}). The scene is as it was; please report the details."
                    ).format(error=error),
                    traceback.format_exc(),
                )
            )
        return False

    def _begin(self) -> None:
        self._folder = newWorkFolder()
        scene = slicer.mrmlScene
        self._closeTag = scene.AddObserver(scene.StartCloseEvent, self._onSceneClose)
        if self._prepare is not None:
            self._prepare(self._folder)
        self._next()

    def _next(self) -> None:
        assert self._folder is not None
        step = self._steps[len(self._results)]
        arguments = step.arguments(self._folder)
        process = self._process = self._processFactory()
        process.progress.connect(self._onProgress)
        process.finished.connect(self._onFinished)
        process.start(arguments)

    def _onProgress(self, fraction: float, words: str) -> None:
        total = sum(step.share for step in self._steps)
        done = sum(step.share for step in self._steps[: len(self._results)])
        self.progress((done + fraction * self._steps[len(self._results)].share) / total, words)

    def _onFinished(self, outcome: Outcome) -> None:
        if self._sceneClosed:
            self._fail(Problem(_("The scene was closed while the engine ran, so nothing was added to the new one.")))
        elif self._cancelled or outcome.cancelled:
            self._fail(Cancelled(_("Cancelled. The scene is as it was."), outcome.log))
        elif not outcome.succeeded:
            self._fail(Problem(outcome.message, outcome.log))
        else:
            self._results.append(outcome.result)
            if len(self._results) < len(self._steps):
                self._succeeds(self._next)
            elif self._succeeds(self._finish):
                self._end()
                self.succeeded(self.value)

    def _finish(self) -> None:
        for name, identifier in self._nodeIDs:
            if slicer.mrmlScene.GetNodeByID(identifier) is None:
                raise Problem(
                    _(
                        "{name} was removed while the engine ran, so nothing was added: load it again and start over."
                    ).format(name=name)
                )
        assert self._folder is not None
        with SceneTransaction(slicer.mrmlScene):
            self.value = self._place(self._folder, self._results)

    def _fail(self, problem: Problem) -> None:
        self.problem = problem
        self._end()
        self.failed(problem)

    def _end(self) -> None:
        self._ended = True
        if self._closeTag is not None:
            slicer.mrmlScene.RemoveObserver(self._closeTag)
            self._closeTag = None
        if self._folder is not None:
            removeWorkFolder(self._folder)

    def _onSceneClose(self, caller: Any, event: Any) -> None:
        self._sceneClosed = True
        self.cancel()


def fileProblem(error: OSError) -> Problem:
    """What to do about a file that cannot be written or read."""
    return Problem(
        _("{file} cannot be written or read ({reason}): free some space, or choose another folder.").format(
            file=error.filename or _("A file"), reason=error.strerror or error
        )
    )
