"""The student: from radiographs to bones, taught by labels and by the CT network (SSR-KD, Lin et al. 2025)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from SSRKDCore.errors import InputError
from SSRKDCore.networks.build import use_channels_last
from SSRKDCore.networks.model_folder import Model, ModelInput
from SSRKDCore.networks.xray_network import XrayOutput, XrayReconstructionNetwork
from SSRKDCore.training.initial_weights import network_sha256
from SSRKDCore.training.sample_store import UNKNOWN_LABEL, SampleStore
from SSRKDCore.training.settings import XrayTraining
from SSRKDCore.training.stage_module import StageModule, initialised
from SSRKDCore.training.xray_batches import collate, point_item, standardised
from SSRKDCore.training.xray_losses import class_weights, distillation_loss, stacked_cross_entropy, wrong_share

_BONE_CLASS = 1
#: Rigs of a held-out case that validation looks at.
_VALIDATION_RIGS = 2


class XrayStage(StageModule):
    """The loss of a batch of `XrayBatches`.

    (1 - w) cross entropy of labelled cases + w cross entropy of unlabelled ones on the teacher's labels (w = 0 without
    pseudo labels) + distillation weight x L1 between projected features and the teacher's.

    Args:
        settings: what is learnt. steps: of the run.
        counts: points of each class (C,), for the class weights.
        segmenter: makes the bone-enhanced image; needed if and only if the settings say `enhancement`.

    Raises:
        InputError: the segmenter is missing, or reads images that are standardised in another way.
    """

    stage = "xray"
    class_weights: Tensor

    def __init__(self, settings: XrayTraining, steps: int, counts: Any, segmenter: Model | None = None) -> None:
        super().__init__(settings, steps)
        self.xray = settings
        with initialised(settings.seed):
            self.network = XrayReconstructionNetwork(settings.network_config())
        if settings.channels_last:
            use_channels_last(self.network)
        # Without distillation nothing trains the projection, and DDP must not wait for its gradient.
        self.network.kd_projection.requires_grad_(settings.distillation)
        self.register_buffer(
            "class_weights",
            class_weights(counts, settings.outside_weight, settings.class_weight_power),
            persistent=False,
        )
        # In a list the segmenter is no submodule: it is neither averaged nor stored.
        self._segmenter = [checked_segmenter(segmenter, settings)] if settings.enhancement else []

    @property
    def model_input(self) -> ModelInput:
        """What images must be for the trained network."""
        return ModelInput(self.xray.intensity_scale, self.xray.background_weight, self.xray.input_standardisation())

    def models_in_use(self) -> dict[str, str]:
        return {"segmenter": network_sha256(self._segmenter[0])} if self._segmenter else {}

    def model(self, name: str = "student") -> Model:
        """The network as it is now, as reconstruction wants it (shared, not copied)."""
        segmenter = self._segmenter[0] if self._segmenter else None
        return Model(self.network, self.network.config, "xray", name, Path(), {}, self.model_input, segmenter)

    def on_fit_start(self) -> None:
        for segmenter in self._segmenter:
            segmenter.network.to(self.device)

    def on_fit_end(self) -> None:
        for segmenter in self._segmenter:
            segmenter.network.cpu()

    def network_images(self, images: Tensor) -> Tensor:
        """What the network reads, (B, V, C, S, S), from standardised images (B, V, S, S): see `network_input`."""
        channels = [images]
        for segmenter in self._segmenter:
            bone = bone_mask(images.flatten(0, 1), segmenter).view_as(images)
            weight = self.xray.background_weight
            channels.insert(0, images * (bone + weight * (1.0 - bone)))
        return torch.stack(channels, dim=2) * self.xray.intensity_scale

    def answer(self, batch: dict[str, Tensor]) -> XrayOutput:
        """What the network says of the points of a batch, see `XrayBatches`."""
        depths = batch["depths"] if self.network.config.depth_per_view else None
        return self.network(self.network_images(batch["images"]), batch["coordinates"], depths)

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> dict[str, Tensor]:
        settings, labels = self.xray, batch["labels"]
        output = self.answer(batch)
        first = settings.labelled_batch

        def cross_entropy(part: slice) -> Tensor:
            logits = [stack[part] for stack in output.logits]
            return stacked_cross_entropy(logits, labels[part], self.class_weights, settings.stack_weight_ratio)

        supervised = cross_entropy(slice(None, first))
        terms = {"loss_labelled": supervised, "wrong": wrong_share(output.logits[-1][:first], labels[:first])}
        loss = supervised
        if settings.pseudo_labels:
            terms["loss_pseudo"] = cross_entropy(slice(first, None))
            loss = (1 - settings.pseudo_weight) * supervised + settings.pseudo_weight * terms["loss_pseudo"]
        if settings.distillation:
            teacher = batch["teacher_features"]
            cases, _, count = teacher.shape
            terms["loss_distillation"] = distillation_loss(
                [features[-cases:, :, :count] for features in output.kd_features], teacher
            )
            loss = loss + settings.distillation_weight * terms["loss_distillation"]
        return {"loss": loss, **terms}


@torch.no_grad()
def bone_mask(images: Tensor, segmenter: Model) -> Tensor:
    """1 where the segmenter sees bone, else 0, for standardised images (N, S, S); as `reconstruction.network_input`."""
    multiple = int(getattr(segmenter.config, "size_multiple", 1))
    rows, columns = images.shape[1:]
    padded = functional.pad(images, (0, -columns % multiple, 0, -rows % multiple)) * segmenter.intensity_scale
    logits = segmenter.network(padded[:, None])
    return (logits.argmax(dim=1) == _BONE_CLASS).to(images.dtype)[:, :rows, :columns]


def checked_segmenter(segmenter: Model | None, settings: XrayTraining) -> Model:
    """The segmenter, if it fits. Raises InputError when it is missing, another kind, or standardises differently."""
    if segmenter is None or segmenter.kind != "segmenter":
        raise InputError(
            "Bone enhancement needs the model of a segmenter: name it by --segmenter, or set enhancement to false."
        )
    if segmenter.standardisation != settings.input_standardisation():
        raise InputError(
            f"The segmenter {segmenter.name} was trained on images that are standardised as"
            f" {segmenter.standardisation or 'none'}, these settings say {settings.standardisation}: use the same for both."
        )
    return segmenter


class HeldOutPoints:
    """Share of wrong points of held-out cases, plain images and fixed points: a `Validation` of the student.

    Args:
        store: the samples. cases: indices of labelled cases that training does not see. settings: of the student.
    """

    def __init__(self, store: SampleStore, cases: list[int], settings: XrayTraining) -> None:
        self.store = store
        self.cases = [case for case in cases if store.labelled[case]]
        self.settings = settings

    def __call__(self, module: XrayStage) -> dict[str, float]:
        near, anywhere = [], []
        for case in self.cases:
            for rig in range(min(_VALIDATION_RIGS, self.store.rigs_per_case)):
                wrong = self._wrong(module, case, rig)
                split = round(self.settings.points * self.settings.near_share)
                near.append(wrong[:split].nanmean())
                anywhere.append(wrong[split:].nanmean())
        means = {"held_out_wrong_near": near, "held_out_wrong_anywhere": anywhere}
        # Where nothing at all is known there is no share.
        found = {name: float(torch.stack(shares).nanmean()) for name, shares in means.items() if shares}
        return {name: share for name, share in found.items() if math.isfinite(share)}

    def _wrong(self, module: XrayStage, case: int, rig: int) -> Tensor:
        """(N,) 1 where the point is put into the wrong class, NaN where no class is known; points near surfaces come first."""
        sample = self.store.read(case, rig, teacher=False)
        images = torch.from_numpy(sample.images).float()
        item = point_item(sample, self.settings, False, np.random.default_rng([self.settings.seed, case, rig]))
        item["images"] = standardised(images, torch.ones_like(images), self.settings)
        batch = {name: value.to(module.device) for name, value in collate([item]).items()}
        output = module.answer(batch)
        wrong = (output.logits[-1].argmax(dim=1) != batch["labels"])[0].float()
        return wrong.masked_fill(batch["labels"][0] == UNKNOWN_LABEL, math.nan).cpu()
