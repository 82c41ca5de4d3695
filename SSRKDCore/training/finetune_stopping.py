"""Early stopping: the run ends when the cases that watch it do no longer get better, and the best weights count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

#: Smaller differences are no improvement.
_LEAST_GAIN = 1e-6


class EarlyStopping(Callback):
    """Keeps the best weights seen and ends the run after `patience` looks without better ones.

    It is the run's `Validation` and one of its callbacks at once: called with the module it measures, and after the
    step it decides. The weights before the first step take part, so that a run that only does harm gives them back.
    Its state is in every checkpoint, so that a resumed run stops where it would have.

    Args:
        measure: of the module, measures by name; all are shares of wrong points. patience: looks.

    Attributes:
        best: the lowest mean of the measures. best_step: when it was seen. looks: measured since then.
    """

    def __init__(self, measure: Callable[[Any], Mapping[str, float]], patience: int) -> None:
        self.measure = measure
        self.patience = patience
        self.best = float("inf")
        self.best_step = 0
        self.first: float | None = None
        self.looks = 0
        self.best_weights: dict[str, Tensor] = {}
        self._step = 0

    @property
    def exhausted(self) -> bool:
        """Whether there were enough looks without improvement."""
        return self.looks >= self.patience

    def __call__(self, module: LightningModule) -> Mapping[str, float]:
        found = self.measure(module)
        value = sum(found.values()) / len(found)
        if self.first is None:
            self.first = value
        if value < self.best - _LEAST_GAIN:
            self.best, self.best_step, self.looks = value, self._step, 0
            self.best_weights = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
        else:
            self.looks += 1
        return found

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._step = trainer.global_step
        if self.first is None:
            with torch.inference_mode():
                module.eval()
                self(module)
                module.train()
        if self.exhausted:
            trainer.should_stop = True

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, *unused: Any) -> None:
        # The measurement follows the step's end, and this callback's own turn comes after it.
        self._step = trainer.global_step + 1

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *unused: Any) -> None:
        if self.exhausted:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_step": self.best_step,
            "first": self.first,
            "looks": self.looks,
            "best_weights": self.best_weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_step = state["best"], state["best_step"]
        self.first, self.looks, self.best_weights = state["first"], state["looks"], state["best_weights"]

    def record(self) -> dict[str, Any]:
        """What the model's training record says."""
        return {"wrong_before": self.first, "wrong_at_best": self.best, "best_step": self.best_step}
