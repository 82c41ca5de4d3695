"""Optimisers and learning rates of the training stages."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import Parameter

from SSRKDCore.training.settings import StageTraining

#: The cosine ends at this share of the largest rate, so that the last steps still move.
_LAST_SHARE = 0.01
_QUARTER_FACTOR = 0.1


def learning_rate_factor(step: int, steps: int, settings: StageTraining) -> float:
    """The learning rate of a step (from 0) as a share of the largest one.

    "quarters": times 0.1 after each quarter. "cosine": half a cosine over the steps after the warm-up (Loshchilov and
    Hutter 2017, without restarts). Both rise linearly over `warm_up_steps`.
    """
    if step < settings.warm_up_steps:
        return (step + 1) / settings.warm_up_steps
    if settings.schedule == "quarters":
        return float(_QUARTER_FACTOR ** (4 * min(step, steps - 1) // steps))
    done = min(1.0, (step - settings.warm_up_steps) / max(1, steps - settings.warm_up_steps))
    return _LAST_SHARE + (1 - _LAST_SHARE) * 0.5 * (1 + math.cos(math.pi * done))


def make_optimiser(
    parameters: Iterable[Parameter], settings: StageTraining, fused: bool = False
) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW, over the parameters that are trained.

    fused: one kernel for all parameters of AdamW: a third of the time on a CPU.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(
            trained, lr=settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
    return torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=fused)


def configured(
    parameters: Iterable[Parameter], settings: StageTraining, steps: int, fused: bool = False
) -> dict[str, Any]:
    """What `LightningModule.configure_optimizers` returns: optimiser and learning rate by step."""
    optimiser = make_optimiser(parameters, settings, fused)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: learning_rate_factor(step, steps, settings))
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
