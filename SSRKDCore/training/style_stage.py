"""The style network: taught by simulated images to make real ones look like them, and nothing else of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from SSRKDCore.networks.model_folder import Model, ModelInput
from SSRKDCore.networks.style_network import StyleNetwork
from SSRKDCore.reconstruction.style_transfer import translation
from SSRKDCore.training.optimisers import learning_rate_factor
from SSRKDCore.training.stage_module import StageModule, initialised
from SSRKDCore.training.style_images import StyleImages
from SSRKDCore.training.style_losses import PatchCritic, PatchHeads, drawn_places, patch_contrast, tone_distance
from SSRKDCore.training.style_settings import StyleTraining

_HISTOGRAM_LEVELS = 256
#: Held-out images that are looked at.
_MOST_IMAGES = 24


class StyleStage(StageModule):
    """The loss of a batch of `StyleBatches`: translator and critic learn in one step, each from its own terms.

    The critic's gradients do not reach the translator and the other way round (`PatchCritic.frozen`), so that one
    optimiser serves both, and a run can be ended at any step.

    settings: what is learnt.
    """

    stage = "style"

    def __init__(self, settings: StyleTraining) -> None:
        super().__init__(settings, settings.steps)
        self.style = settings
        with initialised(settings.seed):
            self.network = StyleNetwork(settings.network_config())
            self.critic = PatchCritic()
            self.heads = PatchHeads(self.network.level_widths())

    def configure_optimizers(self) -> Any:
        """Adam with the short memory that adversarial training wants (Radford et al. 2016)."""
        settings = self.style
        optimiser = torch.optim.AdamW(
            self.parameters(),
            lr=settings.learning_rate,
            betas=(settings.momentum, 0.999),
            weight_decay=settings.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: learning_rate_factor(step, self.steps, settings)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> dict[str, Tensor]:
        settings, simulated, real = self.style, batch["simulated"], batch["real"]
        fake = self.network(real)
        critic = 0.5 * (
            (self.critic(simulated) - 1).float().square().mean() + self.critic(fake.detach()).float().square().mean()
        )
        adversarial = (self.critic.frozen(fake) - 1).float().square().mean()
        tones = tone_distance(fake, simulated)
        contrast = self._contrast(real, fake)
        loss = critic + settings.adversarial_weight * adversarial + settings.tone_weight * tones
        loss = loss + settings.contrast_weight * contrast
        terms = {
            "loss_critic": critic,
            "loss_adversarial": adversarial,
            "loss_tones": tones,
            "loss_contrast": contrast,
        }
        if settings.identity_weight:
            terms["loss_identity"] = self._contrast(simulated, self.network(simulated))
            loss = loss + settings.identity_weight * terms["loss_identity"]
        return {"loss": loss, **terms}

    def _contrast(self, before: Tensor, after: Tensor) -> Tensor:
        keys = self.network.levels(before)
        places = drawn_places(keys, self.style.patches)
        queries = self.network.levels(after)
        return patch_contrast(self.heads(queries, places), self.heads(keys, places), self.style.temperature)

    def model(self, name: str = "style") -> Model:
        """The network as it is now, as reconstruction wants it (shared, not copied)."""
        config = self.network.config
        return Model(self.network, config, "style", name, Path(), {}, self.model_input)

    @property
    def model_input(self) -> ModelInput:
        """What images must be for the trained network."""
        return ModelInput(standardisation=self.style.input_standardisation())


class HeldOutLook:
    """How far held-out real images are from looking simulated, and whether their edges stayed: a `Validation`.

    Measures: `look_distance`, the distance between the grey values of translated and of simulated images (Wasserstein,
    in units of the standardised image), beside `look_distance_before`, that of the images as they were;
    `edge_shift_pixels` and `edge_lost_share`, the worst over the images, see `edge_displacement`.

    simulated: all of them. held_out: real images that training does not see.
    """

    def __init__(self, simulated: StyleImages, held_out: StyleImages) -> None:
        self._wanted = grey_levels(simulated.images.astype(np.float32), simulated.seen)
        self._images = held_out.images[:_MOST_IMAGES].astype(np.float32)
        self._seen = held_out.seen[:_MOST_IMAGES]

    def __call__(self, module: StyleStage) -> dict[str, float]:
        model = module.model()
        answers = [
            translation(image, seen.astype(np.float32), model)
            for image, seen in zip(self._images, self._seen, strict=True)
        ]
        after = grey_levels(np.stack([image for image, _ in answers]), self._seen)
        before = grey_levels(self._images, self._seen)
        return {
            "look_distance_before": float(np.abs(before - self._wanted).mean()),
            "look_distance": float(np.abs(after - self._wanted).mean()),
            "edge_shift_pixels": max(moved.largest for _, moved in answers),
            "edge_lost_share": max(moved.lost_share for _, moved in answers),
        }


def grey_levels(images: NDArray[Any], seen: NDArray[Any]) -> NDArray[Any]:
    """256 quantiles of the seen pixels of images (N, S, S): the mean absolute difference of two is a Wasserstein distance."""
    shares = (np.arange(_HISTOGRAM_LEVELS) + 0.5) / _HISTOGRAM_LEVELS
    return np.quantile(images[seen], shares)
