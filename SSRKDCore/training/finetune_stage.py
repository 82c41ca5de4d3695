"""The student that goes on from a model: frozen parts, and rates that fall towards the image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch.nn import Parameter

from SSRKDCore.networks.config import XrayNetworkConfig
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.training.finetune_settings import FinetuneTraining
from SSRKDCore.training.initial_weights import start_from
from SSRKDCore.training.optimisers import learning_rate_factor
from SSRKDCore.training.xray_stage import XrayStage


class FinetuneStage(XrayStage):
    """`XrayStage` with a model's weights.

    Args:
        settings: of fine-tuning. counts: points of each class (C,). initial: the model; its segmenter is kept as it is.

    Raises:
        InputError: as `start_from` and `XrayStage` do.
    """

    def __init__(self, settings: FinetuneTraining, counts: Any, initial: Model) -> None:
        labelled = settings.labelled_batch + settings.rehearsed_batch
        super().__init__(replace(settings, labelled_batch=labelled), settings.steps, counts, initial.segmenter)
        self.finetuning = settings
        start_from(self.network, initial)
        for name, parameter in self.network.named_parameters():
            if is_frozen(name, settings.frozen):
                parameter.requires_grad_(False)

    def configure_optimizers(self) -> Any:
        settings = self.finetuning
        groups = layerwise_groups(dict(self.network.named_parameters()), settings)
        if settings.optimiser == "sgd":
            optimiser: torch.optim.Optimizer = torch.optim.SGD(
                groups, lr=settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
            )
        else:
            optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: learning_rate_factor(step, self.steps, settings)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def level_of(name: str, config: XrayNetworkConfig) -> int:
    """How far a parameter of the network lies from its output: 0 the classifier, 1 the last hourglass, ..., the stem."""
    parts = name.split(".")
    if parts[0] != "encoders":
        return 0
    if parts[2] == "stages":
        return config.stacks - int(parts[3])
    return config.stacks + 1


def is_frozen(name: str, frozen: str) -> bool:
    """Whether a parameter of the network keeps its value, by the setting `frozen`."""
    in_encoder = name.startswith("encoders.")
    return in_encoder and (frozen == "encoders" or (frozen == "stem" and ".stages." not in name))


def layerwise_groups(parameters: dict[str, Parameter], settings: FinetuneTraining) -> list[dict[str, Any]]:
    """Groups of the parameters that are trained, one a level, for an optimiser; the rate falls by `layer_decay` a level."""
    levels: dict[int, list[Parameter]] = {}
    for name, parameter in parameters.items():
        if parameter.requires_grad:
            levels.setdefault(level_of(name, settings.network), []).append(parameter)
    return [
        {"params": levels[level], "lr": settings.learning_rate * settings.layer_decay**level}
        for level in sorted(levels)
    ]
