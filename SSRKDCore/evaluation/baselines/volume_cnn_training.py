"""Training of the baseline "volume CNN": `python -m SSRKDCore.evaluation.baselines.train_volume_cnn`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from SSRKDCore.console import progress_bar
from SSRKDCore.evaluation.baselines.back_projection import back_projected, projected
from SSRKDCore.evaluation.baselines.volume_batches import VolumeBatches, standardised
from SSRKDCore.evaluation.baselines.volume_losses import gradient_correlation, soft_dice_loss, voxel_cross_entropy
from SSRKDCore.evaluation.baselines.volume_model import save_volume_model
from SSRKDCore.evaluation.baselines.volume_network import VolumeNetwork
from SSRKDCore.evaluation.baselines.volume_settings import VolumeTraining
from SSRKDCore.evaluation.baselines.voxel_labels import VoxelLabels
from SSRKDCore.training.runner import run_stage
from SSRKDCore.training.stage_export import MODEL_FOLDER, training_record
from SSRKDCore.training.stage_job import StageJob
from SSRKDCore.training.stage_module import StageModule, initialised


class VolumeStage(StageModule):
    """The loss of a batch of `VolumeBatches`: cross entropy + dice weight x soft Dice of labelled cases + reprojection weight x
    (1 - correlation of gradients) between every case's radiographs and the projections of its predicted bone.

    Args:
        settings: what is learnt. steps: of the run. views: of a case.
    """

    stage = "volume-cnn"

    def __init__(self, settings: VolumeTraining, steps: int, views: int) -> None:
        super().__init__(settings, steps)
        self.volume = settings
        with initialised(settings.seed):
            self.network = VolumeNetwork(views, settings.filters, settings.levels)

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> dict[str, Tensor]:
        settings, labels = self.volume, batch["labels"]
        logits = self.network(batch["volumes"])
        known = logits[: len(labels)]
        terms = {
            "loss_cross_entropy": voxel_cross_entropy(known, labels, settings.outside_weight),
            "loss_dice": soft_dice_loss(known, labels),
        }
        loss = terms["loss_cross_entropy"] + settings.dice_weight * terms["loss_dice"]
        if settings.reprojection_weight > 0:
            terms["loss_reprojection"] = reprojection_loss(logits, batch)
            loss = loss + settings.reprojection_weight * terms["loss_reprojection"]
        return {"loss": loss, **terms}


def reprojection_loss(logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """1 - correlation of gradients between images and projected bone, at the resolution of the volume."""
    bone = 1.0 - logits.float().softmax(dim=1)[:, 0]
    images = batch["images"]
    pixels = min(images.shape[-1], bone.shape[-1])
    shadows = projected(bone, batch["projections"], batch["cubes"], images.shape[-1], pixels)
    seen = torch.nn.functional.adaptive_avg_pool2d(images, pixels)
    return 1.0 - gradient_correlation(shadows.flatten(0, 1), seen.flatten(0, 1))


class HeldOutVoxels:
    """Mean soft Dice loss and share of wrong voxels of held-out cases, plain images: a `Validation`."""

    def __init__(self, labels: VoxelLabels, cases: list[int], settings: VolumeTraining) -> None:
        self.labels = labels
        self.cases = cases
        self.settings = settings

    def __call__(self, module: VolumeStage) -> dict[str, float]:
        losses, wrong = [], []
        for case in self.cases:
            sample = self.labels.store.read(case, 0, teacher=False)
            images = torch.from_numpy(sample.images).float()
            images = standardised(images, torch.ones_like(images), self.settings.input_standardisation())
            cube, projections = torch.from_numpy(sample.cube)[None], torch.from_numpy(sample.projections)[None]
            volume = back_projected(images[None], projections, cube, self.settings.voxels)
            logits = module.network(volume.to(module.device)).float().cpu()
            truth = torch.from_numpy(self.labels.read(case, 0).astype("int64"))[None]
            losses.append(float(soft_dice_loss(logits, truth)))
            wrong.append(float((logits.argmax(dim=1) != truth).float().mean()))
        if not self.cases:
            return {}
        return {"held_out_dice_loss": sum(losses) / len(losses), "held_out_wrong": sum(wrong) / len(wrong)}


def train_volume_cnn(job: StageJob) -> Path:
    """Train the volume CNN of a job, or go on with it; returns the model folder, for `volume_cnn_method`.

    Voxel labels are made first, where they are missing, in the folder of the samples. Raises as `run_stage` does.
    """
    settings = job.settings
    assert isinstance(settings, VolumeTraining)
    labels = VoxelLabels(job.store, settings.voxels)
    held_out = [case for case in job.held_out if job.store.labelled[case]]
    with progress_bar("voxel labels") if job.run.progress else nullcontext(None) as progress:
        labels.prepare([*job.labelled, *held_out], progress)
    unlabelled = len(job.unlabelled) if settings.unlabelled_batch else 0
    steps = settings.step_count(len(job.labelled), unlabelled, job.run.processes)
    batches = VolumeBatches(job.store, labels, job.training, settings, steps)
    stage = VolumeStage(settings, steps, batches.views)
    result = run_stage(stage, batches, job.run, job.out, HeldOutVoxels(labels, held_out, settings))
    folder = job.out / MODEL_FOLDER
    if not result.first:
        return folder
    record: dict[str, Any] = training_record(job.out, result)
    return save_volume_model(folder, stage.network, settings, batches.views, job.name, job.licence, record)
