"""The moving average of the weights, which is what a stage exports.

The exponential average of Polyak's and Ruppert's idea, with the decay growing as (1 + t) / (10 + t) at first so that the
initial weights are soon forgotten. Lightning's own callback copies the module and with it whatever the module refers
to; this one keeps tensors alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor


class WeightAverage(Callback):
    """Averages parameters and buffers after every step; whole numbers are copied.

    Args:
        decay: of the average, 0 to below 1; 0 follows the weights (no average).
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._average: dict[str, Tensor] | None = None

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        values = self._average or module.state_dict()
        self._average = {
            name: values[name].detach().to(device=now.device, dtype=now.dtype, copy=True)
            for name, now in module.state_dict().items()
        }

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *unused: Any) -> None:
        step = trainer.global_step
        self._move(module, 1.0 - min(self.decay, (1 + step) / (10 + step)))

    @torch.no_grad()
    def _move(self, module: LightningModule, share: float) -> None:
        assert self._average is not None
        now = module.state_dict()
        names = [name for name, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_([self._average[name] for name in names], [now[name] for name in names], share)
        for name in now.keys() - set(names):
            self._average[name].copy_(now[name])

    @contextmanager
    def applied(self, module: LightningModule) -> Iterator[None]:
        """Inside, the module has the averaged weights."""
        if self._average is None:
            yield
            return
        own = {name: value.clone() for name, value in module.state_dict().items()}
        module.load_state_dict(self._average)
        try:
            yield
        finally:
            module.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        return {"average": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._average = state["average"]
