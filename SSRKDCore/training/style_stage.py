"""The style network: taught by simulated images to make real ones look like them, and nothing else of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from SSRKDCore.networks.model_folder import Model, ModelInput
from SSRKDCore.networks.style_network import StyleNetwork
from SSRKDCore.reconstruction.style_transfer import translation
from SSRKDCore.training.optimisers import learning_rate_factor
from SSRKDCore.training.stage_module import StageModule, initialised
from SSRKDCore.training.style_images import StyleImages
from SSRKDCore.training.style_look import Look
from SSRKDCore.training.style_losses import (
    PatchCritic,
    PatchHeads,
    drawn_places,
    fineness_distance,
    patch_contrast,
    restandardised,
    tone_distance,
    unevenness,
)
from SSRKDCore.training.style_settings import StyleTraining

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
        settings, simulated, real, seen = self.style, batch["simulated"], batch["real"], batch["seen"]
        fake = self._as_read(self.network(real), seen)
        # Each real image and what stands beside it, in pairs.
        pairs = [index % len(fake) for index in range(len(simulated))]
        if not bool(seen.all()):
            # As if the same collimator had been before both: its border must not tell them apart.
            simulated = self._as_read(simulated, seen[pairs])
        critic = 0.5 * (
            (self.critic(simulated) - 1).float().square().mean() + self.critic(fake.detach()).float().square().mean()
        )
        adversarial = (self.critic.frozen(fake) - 1).float().square().mean()
        tones, fineness = tone_distance(fake[pairs], simulated), fineness_distance(fake[pairs], simulated)
        contrast = self._contrast(real, fake)
        loss = critic + settings.adversarial_weight * adversarial + settings.tone_weight * tones
        uneven = unevenness(self.network.chosen(real))
        loss = loss + settings.fineness_weight * fineness + settings.evenness_weight * uneven
        loss = loss + settings.contrast_weight * contrast
        terms = {
            "loss_critic": critic,
            "loss_adversarial": adversarial,
            "loss_tones": tones,
            "loss_fineness": fineness,
            "loss_evenness": uneven,
            "loss_contrast": contrast,
        }
        if settings.identity_weight:
            terms["loss_identity"] = self._contrast(simulated, self.network(simulated))
            loss = loss + settings.identity_weight * terms["loss_identity"]
        return {"loss": loss, **terms}

    def _as_read(self, images: Tensor, seen: Tensor) -> Tensor:
        """As `translation` gives them to a network: without it nothing would keep their mean where every image's is."""
        if self.style.crop_size:
            return images * seen
        return restandardised(images, seen, self.style.input_standardisation())

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

    Measures: `look_distance`, of the translated images, beside `look_distance_before`, of the images as they were, see `style_look`;
    `edge_shift_pixels` and `edge_lost_share`, the worst over the images, see `edge_displacement`.

    simulated: all of them. held_out: real images that training does not see.
    """

    def __init__(self, simulated: StyleImages, held_out: StyleImages) -> None:
        self._look = Look(simulated)
        self._images = held_out.images[:_MOST_IMAGES].astype(np.float32)
        self._seen = held_out.seen[:_MOST_IMAGES]
        self._beside = self._look.beside(self._images)

    def __call__(self, module: StyleStage) -> dict[str, float]:
        model = module.model()
        answers = [
            translation(image, seen.astype(np.float32), model)
            for image, seen in zip(self._images, self._seen, strict=True)
        ]
        after = np.stack([image for image, _ in answers])
        return {
            "look_distance_before": self._look.distance(self._images, self._seen, self._beside),
            "look_distance": self._look.distance(after, self._seen, self._beside),
            "edge_shift_pixels": max(moved.largest for _, moved in answers),
            "edge_lost_share": max(moved.lost_share for _, moved in answers),
        }
