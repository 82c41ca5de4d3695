"""Checkpoints from which a stage goes on: written beside and renamed, and at a wish to stop (Ctrl-C, SIGTERM).

A wish to stop is only noted when it comes; the step is finished, the checkpoint written, and then training ends. With
several processes, all stop after the same step.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json

CHECKPOINT_NAME = "last.ckpt"
RUN_NAME = "run.json"
RUN_SCHEMA = "ssrkd-training-run/1"


@contextlib.contextmanager
def signals_as_before() -> Iterator[None]:
    """Afterwards Ctrl-C and SIGTERM do what they did before. Lightning and `Checkpoints` both change them, and neither can tell
    which of them is torn down last.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        # None is a handler that Python did not install and cannot.
        with contextlib.suppress(ValueError, TypeError):
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)


class Checkpoints(Callback):
    """Writes `last.ckpt` every so many steps or minutes, at a wish to stop, and at the end.

    It must be the last callback, so that the others have seen the step that it stores, and run within `signals_as_before`.

    Args:
        folder: where. steps, minutes: how often; 0 switches either off.

    Attributes:
        asked_to_stop: whether training ended because of a signal.
    """

    def __init__(self, folder: Path, steps: int, minutes: float) -> None:
        self.folder = folder
        self.steps = steps
        self.seconds = minutes * 60
        self.asked_to_stop = False
        self._signals = 0
        self._written = time.monotonic()

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._written = time.monotonic()
        # Python refuses handlers outside the main thread; whoever runs us there stops us in another way.
        with contextlib.suppress(ValueError):
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._wish)

    def _wish(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 2:
            raise KeyboardInterrupt

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        step = trainer.global_step
        stop, due = self._agreed(trainer, self._signals > 0, self._due(step))
        if not (stop or due or step >= trainer.max_steps):
            return
        if not torch.isfinite(outputs["loss"]):
            raise not_finite(step)
        self._write(trainer)
        if stop:
            self.asked_to_stop = True
            trainer.should_stop = True

    def _due(self, step: int) -> bool:
        by_time = self.seconds > 0 and time.monotonic() - self._written >= self.seconds
        return by_time or (self.steps > 0 and step % self.steps == 0)

    @staticmethod
    def _agreed(trainer: Trainer, stop: bool, due: bool) -> tuple[bool, bool]:
        """What any process wants: clocks and signals do not reach all of them at the same step."""
        if trainer.world_size == 1:
            return stop, due
        wishes = torch.tensor([stop, due], dtype=torch.int32, device=trainer.strategy.root_device)
        torch.distributed.all_reduce(wishes, torch.distributed.ReduceOp.MAX)
        return bool(wishes[0]), bool(wishes[1])

    def _write(self, trainer: Trainer) -> None:
        path = self.folder / CHECKPOINT_NAME
        beside = path.with_suffix(".ckpt.part")
        try:
            trainer.save_checkpoint(beside)
            if trainer.is_global_zero:
                os.replace(beside, path)
        except OSError as error:
            # Lightning's own error names a file in the system's folder for temporary ones; half a checkpoint would fill the disk.
            beside.unlink(missing_ok=True)
            raise InputError(
                f"{path} cannot be written ({error.strerror}): free some space, and the same command goes on from the checkpoint before."
            ) from error
        self._written = time.monotonic()


def not_finite(step: int) -> InputError:
    """The error for a loss that is NaN or infinite."""
    return InputError(
        f"The loss of step {step} is not a finite number: lower learning_rate, set gradient_clip, or use precision 32,"
        " in a new folder or from the last checkpoint."
    )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint, tensors and plain values only, on the CPU. Raises InputError when it is damaged."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"{path} is damaged and training cannot go on from it: remove it and start again, or restore a copy."
        ) from error


def averaged_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint by parameter name (the plain ones where no average was kept)."""
    average = checkpoint.get("callbacks", {}).get("WeightAverage", {}).get("average")
    return average if average is not None else checkpoint["state_dict"]


def claim_run_folder(folder: Path, identity: dict[str, Any], first: bool) -> None:
    """Make the folder this run's, or see that it is.

    Args:
        folder: the output folder of a stage. identity: what makes the run what it is, JSON-able.
        first: whether this process writes (one of several does).

    Raises:
        InputError: the folder belongs to another run; the message says what differs.
    """
    path = folder / RUN_NAME
    if path.is_file():
        found = read_json(path, "the description of a training run")
        differences = _differences(found, identity)
        if differences:
            raise InputError(
                f"{folder} holds another training run, which differs in {'; '.join(differences[:4])}: choose another"
                " output folder, or the settings of that run."
            )
        return
    if (folder / CHECKPOINT_NAME).exists():
        raise InputError(f"{folder} holds a checkpoint without its {RUN_NAME}: choose another output folder.")
    if first:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, identity)


def _differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = [*wanted, *(key for key in found if key not in wanted)]
        return [
            words
            for key in keys
            for words in _differences(found.get(key), wanted.get(key), f"{name}.{key}" if name else str(key))
        ]
    return [] if found == wanted else [f"{name} ({str(found)[:60]} there, {str(wanted)[:60]} now)"]
