"""What Lightning costs: `python -m SSRKDCore.training.loop_benchmark --out FILE.json`.

The student's step of the compact preset on made-up batches, by `run_stage` (log, weights' average and checkpoint included) and by a loop
of a dozen lines that does the same without them. Both by turns, since other work on the computer comes and goes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from SSRKDCore.anatomy import CLASS_COUNT
from SSRKDCore.json_files import write_json
from SSRKDCore.training.code_version import command_of, made_by
from SSRKDCore.training.optimisers import configured
from SSRKDCore.training.presets import run_preset, xray_preset
from SSRKDCore.training.runner import run_stage
from SSRKDCore.training.settings import XrayTraining
from SSRKDCore.training.step_dataset import StepDataset
from SSRKDCore.training.xray_stage import XrayStage

SCHEMA = "ssrkd-training-loop/1"


class _NoiseBatches(StepDataset):
    """Batches of the right shapes, drawn once and seen by every step."""

    def __init__(self, settings: XrayTraining, steps: int) -> None:
        super().__init__(settings.seed, steps)
        config = settings.network_config()
        cases, views, points = settings.labelled_batch + settings.unlabelled_batch, config.view_count, settings.points
        draw = self.torch_generator(0)
        size = config.input_size
        self._batch = {
            "images": torch.randn(cases, views, size, size, generator=draw),
            "coordinates": torch.rand(cases, views, points, 2, generator=draw) * 2 - 1,
            "depths": torch.rand(cases, views, points, generator=draw) * 2 - 1,
            "labels": torch.randint(CLASS_COUNT, (cases, points), generator=draw),
            "teacher_features": torch.randn(cases, config.kd_features, settings.distillation_points, generator=draw),
        }

    def batch(self, step: int) -> dict[str, Tensor]:
        return self._batch

    def fingerprint(self) -> dict[str, Any]:
        return {"noise": True}


def _stage(settings: XrayTraining, steps: int) -> XrayStage:
    return XrayStage(settings, steps, np.ones(CLASS_COUNT, np.int64))


def plain_seconds(settings: XrayTraining, steps: int) -> float:
    """CPU seconds a step of a loop without Lightning."""
    stage, batches = _stage(settings, steps).train(), _NoiseBatches(settings, steps)
    parts = configured(stage.parameters(), settings, steps, fused=True)
    optimiser, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    started = time.process_time()
    for step in range(steps):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = stage.training_step(batches[step], step)["loss"]
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(stage.parameters(), settings.gradient_clip)
        optimiser.step()
        schedule.step()
    return (time.process_time() - started) / steps


def stage_seconds(settings: XrayTraining, steps: int) -> float:
    """CPU seconds a step of `run_stage`, setting up and the checkpoint at the end included."""
    run = run_preset("compact").changed({"progress": False, "validation_steps": 0})
    with tempfile.TemporaryDirectory() as folder:
        stage, batches = _stage(settings, steps), _NoiseBatches(settings, steps)
        started = time.process_time()
        run_stage(stage, batches, run, Path(folder) / "run")
        return (time.process_time() - started) / steps


def measure(steps: int, turns: int) -> dict[str, Any]:
    """Medians over `turns` of both, and the median of their ratios."""
    torch.set_num_threads(1)
    settings = xray_preset("compact").changed({"steps": steps, "warm_up_steps": 1, "enhancement": False})
    plain_seconds(settings, 2)
    pairs = [(plain_seconds(settings, steps), stage_seconds(settings, steps)) for _ in range(turns)]
    plain, lightning = (statistics.median(values) for values in zip(*pairs, strict=True))
    return {
        "schema": SCHEMA,
        "unit": "CPU seconds a step, one thread, bfloat16",
        "steps": steps,
        "turns": turns,
        "plain_loop": round(plain, 4),
        "run_stage": round(lightning, 4),
        "overhead_percent": round(100 * (statistics.median(b / a for a, b in pairs) - 1), 2),
        "overhead_percent_of_each_turn": [round(100 * (b / a - 1), 2) for a, b in pairs],
        "torch": torch.__version__,
    }


def main() -> None:
    """Measure and write the file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    made = made_by(command_of("SSRKDCore.training.loop_benchmark"))
    write_json(arguments.out, measure(arguments.steps, arguments.turns) | made)


if __name__ == "__main__":
    main()
