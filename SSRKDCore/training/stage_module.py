"""What the three stages have in common as Lightning modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from SSRKDCore.training.optimisers import configured
from SSRKDCore.training.settings import StageTraining


class StageModule(LightningModule):
    """A stage: its networks, and the loss of a batch.

    A subclass makes its networks within `initialised(settings.seed)` and gives `training_step(batch, index)`, which
    returns a dictionary: "loss", and any other scalar tensors that log.csv shall have a column for. What is frozen
    (a segmenter, a teacher) must not be a submodule, or it would be averaged and stored in every checkpoint.

    Attributes:
        stage: "segmenter", "ct" or "xray".
        settings: what is learnt. steps: optimiser steps of the whole run.
    """

    stage: ClassVar[str] = ""

    def __init__(self, settings: StageTraining, steps: int) -> None:
        super().__init__()
        self.settings = settings
        self.steps = steps

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> dict[str, Tensor]:
        raise NotImplementedError

    def models_in_use(self) -> dict[str, str]:
        """Frozen models that the loss depends on, by what they are for; a run is only resumed with the same."""
        return {}

    def configure_optimizers(self) -> Any:
        # With float16 the fused optimiser would take scaled gradients, which cannot be clipped.
        fused = self.trainer.precision != "16-mixed" and self.device.type in ("cpu", "cuda")
        return configured(self.parameters(), self.settings, self.steps, fused)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips the norm over all parameters. Lightning's own refuses fused optimisers with any mixed precision."""
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)


@contextmanager
def initialised(seed: int) -> Iterator[None]:
    """Inside, torch's own randomness on the CPU follows from the seed: for initial weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
