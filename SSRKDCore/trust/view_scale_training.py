"""How the network that compares two views' heights is trained; `fit_view_scales` is the program."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.networks.height_matching import SCALES, SHIFTS_MM, HeightMatcher
from SSRKDCore.trust.view_scale_batches import MatchBatch, training_batch
from SSRKDCore.trust.view_scale_pairs import ViewPairs

Progress = Callable[[float, str], None]

# Deviation of the likelihood that is asked for: about the distance between neighbours.
_SCALE_SD, _SHIFT_SD_MM = 0.004, 0.4
_CHECKPOINT_STEPS = 200


@dataclass(frozen=True)
class MatcherTraining:
    """How it is trained: steps of `batch` pairs, the largest learning rate of one cycle, and the seed of all randomness."""

    steps: int = 3600
    batch: int = 12
    rate: float = 3e-3
    seed: int = 0


def loss_of(network: HeightMatcher, batch: MatchBatch) -> Tensor:
    """Cross entropy to a normal distribution about the true scale and shift."""
    values = network(batch.first, batch.second)
    scale, shift = SCALES[None] - batch.scale[:, None], SHIFTS_MM[None] - batch.shift_mm[:, None]
    wanted = (-0.5 * (scale[:, :, None] / _SCALE_SD) ** 2 - 0.5 * (shift[:, None] / _SHIFT_SD_MM) ** 2).flatten(1)
    return -(wanted.softmax(dim=1) * values.flatten(1).log_softmax(dim=1)).sum(dim=1).mean()


def train(
    pairs: ViewPairs,
    training: MatcherTraining,
    checkpoint: Path,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> HeightMatcher:
    """A trained network. checkpoint: a file from which the same call goes on. Raises InputError for a checkpoint of another training."""
    torch.manual_seed(training.seed)
    network = HeightMatcher()
    optimiser = torch.optim.AdamW(network.parameters(), training.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, training.rate, total_steps=training.steps, pct_start=0.1)
    parts: Mapping[str, Any] = {"network": network, "optimiser": optimiser, "schedule": schedule}
    identity = {**vars(training), "pairs": len(pairs.looks), "first": str(pairs.cases[0])}
    step = _resumed(checkpoint, parts, identity)
    while step < training.steps:
        if cancelled is not None and cancelled():
            raise Cancelled("Training was cancelled.")
        # Numbers of a step depend on the step alone, so that a resumed training is the same training.
        generator = np.random.default_rng([training.seed, step])
        chosen = generator.choice(len(pairs.looks), training.batch, replace=len(pairs.looks) < training.batch)
        loss = loss_of(network, training_batch(pairs, chosen, generator))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        step += 1
        if progress is not None:
            progress(step / training.steps, f"step {step} of {training.steps}, loss {loss.item():.2f}")
        if step % _CHECKPOINT_STEPS == 0 or step == training.steps:
            _keep(checkpoint, parts, identity, step)
    return network.eval()


def _keep(file: Path, parts: Mapping[str, Any], identity: Mapping[str, Any], step: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(file.name + ".part")
    torch.save(
        {**{name: part.state_dict() for name, part in parts.items()}, "of": dict(identity), "step": step}, beside
    )
    os.replace(beside, file)


def _resumed(file: Path, parts: Mapping[str, Any], identity: Mapping[str, Any]) -> int:
    """The step at which a training goes on."""
    if not file.is_file():
        return 0
    try:
        kept = torch.load(file, weights_only=True)
        if kept["of"] != dict(identity):
            raise InputError(f"{file} is of a training with other settings or cases: give another --work.")
        for name, part in parts.items():
            part.load_state_dict(kept[name])
        return int(kept["step"])
    except InputError:
        raise
    except Exception as error:  # A damaged checkpoint fails in any way that reading can fail; each means the same here.
        raise InputError(f"{file} is damaged ({type(error).__name__}): delete it and call again.") from error
