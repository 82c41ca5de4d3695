"""A tiny stage with everything that a real one has (several layers, batch statistics, drawn noise), for tests of the runner.

Run as a program it trains: `python training_toy.py FOLDER SETTINGS_JSON`; kill it whenever you like.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from SSRKDCore.errors import Cancelled
from SSRKDCore.training.presets import segmenter_preset
from SSRKDCore.training.runner import StageResult, run_stage
from SSRKDCore.training.settings import RunSettings, SegmenterTraining
from SSRKDCore.training.stage_module import StageModule, initialised
from SSRKDCore.training.step_dataset import StepDataset


def toy_settings(**changes: Any) -> SegmenterTraining:
    fast = {"learning_rate": 0.01, "warm_up_steps": 3, "labelled_batch": 2, "weight_average": 0.9, "gradient_clip": 1.0}
    return segmenter_preset("compact").changed({**fast, **changes})


class ToyBatches(StepDataset):
    """Points of the plane, inside a circle or not: items dealt from a deck of 37, with noise drawn by position.

    `seconds` slows a batch down, so that a signal meets the run at work.
    """

    def __init__(self, seed: int, steps: int, share: int, seconds: float = 0.0) -> None:
        super().__init__(seed, steps)
        self.share = share
        self.seconds = seconds

    def batch(self, step: int) -> dict[str, Tensor]:
        time.sleep(self.seconds)
        points, labels = [], []
        for position in self.positions(step, self.share):
            item = self.deal(position, 37, stream=0)
            noise = torch.randn(16, 2, generator=self.torch_generator(1, position))
            point = noise + 0.02 * item
            points.append(point)
            labels.append((point.norm(dim=1) < 1.2).long())
        return {"points": torch.stack(points), "labels": torch.stack(labels)}

    def fingerprint(self) -> dict[str, Any]:
        return {"items": 37}


class ToyStage(StageModule):
    """Classifies points; `normalised` adds batch statistics and dropout, which cannot be the same in one process and two."""

    stage = "segmenter"

    def __init__(self, settings: SegmenterTraining, steps: int, normalised: bool = True) -> None:
        super().__init__(settings, steps)
        with initialised(settings.seed):
            middle: list[nn.Module] = [nn.BatchNorm1d(16), nn.Dropout(0.2)] if normalised else []
            self.layers = nn.Sequential(nn.Linear(2, 16), *middle, nn.ReLU(), nn.Linear(16, 2))

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> dict[str, Tensor]:
        logits = self.layers(batch["points"].flatten(0, 1))
        labels = batch["labels"].flatten()
        loss = nn.functional.cross_entropy(logits, labels)
        return {"loss": loss, "wrong": (logits.argmax(dim=1) != labels).float().mean()}


def train(folder: Path, steps: int, seconds: float = 0.0, share: int = 2, normalised: bool = True, run: dict | None = None,
          **changes: Any) -> StageResult:  # fmt: skip
    settings = toy_settings(epochs=0, steps=steps, **changes)
    how = RunSettings(accelerator="cpu", threads=1, log_steps=3, validation_steps=5, progress=False)
    how = replace(how, **(run or {}))

    def measure(module: ToyStage) -> dict[str, float]:
        grid = torch.linspace(-2, 2, 9)
        points = torch.cartesian_prod(grid, grid)
        return {
            "validation_wrong": float((module.layers(points).argmax(1) != (points.norm(dim=1) < 1.2)).float().mean())
        }

    batches = ToyBatches(settings.seed, steps, share, seconds)
    return run_stage(ToyStage(settings, steps, normalised), batches, how, folder, validation=measure)


#: How a child process ends that was asked to stop.
STOPPED = 7


def train_and_exit(folder: Path, steps: int, options: dict[str, Any]) -> None:
    """`train`, and the end of the process: 0 when done, STOPPED when a signal stopped it, else 1."""
    try:
        train(folder, steps, **options)
    except Cancelled:
        os._exit(STOPPED)
    except BaseException:
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    result = train(out, **json.loads(sys.argv[2]))
    rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
    torch.save(result.module.state_dict(), out.parent / f"result{rank}.pt")
