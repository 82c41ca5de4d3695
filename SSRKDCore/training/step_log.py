"""What a run writes while it goes: log.csv, TensorBoard, the progress bar."""

from __future__ import annotations

import csv
import io
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from SSRKDCore.training.checkpoints import not_finite
from SSRKDCore.training.optimisers import learning_rate_factor
from SSRKDCore.training.stage_module import StageModule

Progress = Callable[[float, str], None]


class CsvLog:
    """A table that rows are appended to; a new column rewrites the file with a longer heading.

    Args:
        path: the file. step: rows after this step are dropped (a resumed run repeats them), as is a torn last line.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        self.path = path
        self._rows: list[dict[str, str]] = []
        self._columns: list[str] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                table = csv.DictReader(file)
                kept = [row for row in table if self._whole(row) and int(row["step"]) <= step]
                self._columns = list(table.fieldnames or [])
            self._rows = kept
            self._rewrite()

    @staticmethod
    def _whole(row: Mapping[str | None, Any]) -> bool:
        return None not in row and None not in row.values() and str(row.get("step", "")).isdigit()

    def write(self, values: Mapping[str, float]) -> None:
        """Append a row; "step" must be among the values."""
        row = {name: _text(value) for name, value in values.items()}
        self._rows.append(row)
        fresh = [name for name in row if name not in self._columns]
        self._columns += fresh
        if fresh:
            self._rewrite()
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            file.write(self._lines([row]))

    def _lines(self, rows: list[dict[str, str]], heading: bool = False) -> str:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\n")
        if heading:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def _rewrite(self) -> None:
        beside = self.path.with_name(self.path.name + ".part")
        beside.write_text(self._lines(self._rows, heading=True), encoding="utf-8")
        os.replace(beside, self.path)


def _text(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.6g}"


class StepLog(Callback):
    """Means over `every` steps of what `training_step` returns, to log.csv, TensorBoard and the progress bar.

    With several processes the first one's values are written. Sums, and the seconds spent, are part of the checkpoint.

    Args:
        path: log.csv. every: steps a row. progress: receives a fraction 0..1 and words.

    Attributes:
        seconds: spent in training, over all the times that the run was resumed.
    """

    def __init__(self, path: Path, every: int, progress: Progress | None = None) -> None:
        self.path = path
        self.every = every
        self.progress = progress
        self.seconds = 0.0
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._log: CsvLog | None = None
        self._last = time.monotonic()
        self._started = (0, 0.0)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._last = time.monotonic()
        self._started = (trainer.global_step, self.seconds)
        self._sums = {name: value.to(module.device) for name, value in self._sums.items()}
        if trainer.is_global_zero:
            self._log = CsvLog(self.path, trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        assert isinstance(module, StageModule)
        now = time.monotonic()
        self.seconds, self._last = self.seconds + now - self._last, now
        for name, value in outputs.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1
        step = trainer.global_step
        if step % self.every and step < trainer.max_steps:
            return
        means = torch.stack(list(self._sums.values())).cpu() / self._count
        values = dict(zip(self._sums, means.tolist(), strict=True))
        self._sums, self._count = {}, 0
        if not math.isfinite(values["loss"]):
            raise not_finite(step)
        rate = module.settings.learning_rate * learning_rate_factor(step - 1, module.steps, module.settings)
        self.write(trainer, {"seconds": round(self.seconds, 1), "learning_rate": rate, **values})
        if self.progress is not None and trainer.is_global_zero:
            self.progress(step / trainer.max_steps, self._words(step, trainer.max_steps, values["loss"]))

    def write(self, trainer: Trainer, values: Mapping[str, float]) -> None:
        """A row for the present step."""
        if self._log is not None:
            self._log.write({"step": trainer.global_step, **values})
        if trainer.logger is not None:
            trainer.logger.log_metrics(dict(values), trainer.global_step)

    def _words(self, step: int, steps: int, loss: float) -> str:
        first, before = self._started
        pace = (self.seconds - before) / max(1, step - first)
        minutes = pace * (steps - step) / 60
        return f"step {step} of {steps}, loss {loss:.4f}, {pace:.2f} s a step, {minutes:.0f} min left"

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "sums": self._sums, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seconds, self._sums, self._count = state["seconds"], dict(state["sums"]), state["count"]
