"""The teacher: a CT to the bone of every point (V-Net and point classifier), taught by labels and by its peer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.console import progress_bar
from SSRKDCore.networks.ct_network import CtReconstructionNetwork
from SSRKDCore.networks.model_folder import ModelInput
from SSRKDCore.training.cross_pseudo import PeersStage, export_peers
from SSRKDCore.training.ct_batches import CtBatches, usable_points
from SSRKDCore.training.ct_volume import VOLUME_FOLDER, VolumeInput, VolumeStore
from SSRKDCore.training.runner import run_stage
from SSRKDCore.training.sample_store import SampleStore
from SSRKDCore.training.settings import CtTraining
from SSRKDCore.training.stage_job import StageJob
from SSRKDCore.training.teacher_outputs import point_answers
from SSRKDCore.training.xray_losses import class_weights

#: Held-out cases that a validation looks at: each is one pass through a whole volume.
_VALIDATION_CASES = 8


class CtStage(PeersStage):
    """The loss of a batch of `CtBatches`: weighted cross entropy of the points by all four heads of the V-Net.

    Args:
        settings: what is learnt. steps: of the run. counts: points of each class (C,), for the class weights.
    """

    stage = "ct"

    def __init__(self, settings: CtTraining, steps: int, counts: Any) -> None:
        config = settings.network_config()
        weights = class_weights(counts, settings.outside_weight, settings.class_weight_power)
        super().__init__(settings, steps, lambda: CtReconstructionNetwork(config), weights)

    def heads(self, peer: nn.Module, part: Mapping[str, Tensor]) -> list[Tensor]:
        logits: list[Tensor] = peer(part["volumes"], part["coordinates"]).logits
        return logits


class HeldOutVolumes:
    """How well peer A names the points of held-out cases, in whole volumes: a `Validation` of the teacher.

    Dice is that of the points anywhere in the field of view, which estimates the Dice of volumes there.

    Args:
        store: the samples. volumes: prepared. cases: indices of cases that training does not see; the labelled ones are used.
    """

    def __init__(self, store: SampleStore, volumes: VolumeStore, cases: Sequence[int]) -> None:
        self.store = store
        self.volumes = volumes
        self.cases = [case for case in cases if store.labelled[case]][:_VALIDATION_CASES]

    def __call__(self, module: CtStage) -> dict[str, float]:
        near, both, either = [], np.zeros(len(BONE_NAMES)), np.zeros(len(BONE_NAMES))
        for case in self.cases:
            sample, volume = self.store.read(case, 0, teacher=False), self.volumes.read(self.store.cases[case])
            usable = usable_points(sample, volume, known=True)[1]
            logits, _ = point_answers(module.peers[0], volume, sample.points)
            labels, said = sample.labels, logits.argmax(axis=1)
            close = np.arange(len(labels)) < sample.near
            near.append((said != labels)[usable & close])
            for index in range(len(BONE_NAMES)):
                true, found = ((values == index + 1)[usable & ~close] for values in (labels, said))
                both[index] += (true & found).sum()
                either[index] += true.sum() + found.sum()
        if not self.cases:
            return {}
        dice = {f"held_out_dice_{name}": 2 * b / e for name, b, e in zip(BONE_NAMES, both, either, strict=True) if e}
        wrong = np.concatenate(near)
        return {**({"held_out_wrong_near": float(wrong.mean())} if len(wrong) else {}), **dice}


def train_ct(job: StageJob) -> Path:
    """Train the teacher of a job, or go on with it; returns the model folder of peer A. Peer B lies beside it, in `peer_b`.

    Working volumes of the cases are made first, where they are missing, in the folder of the samples.

    Raises as `run_stage` does, and InputError when a CT cannot be read or cases of a kind are lacking.
    """
    settings = job.settings
    assert isinstance(settings, CtTraining)
    volume_input = VolumeInput(settings.voxel_mm, settings.window_low, settings.window_high)
    volumes = VolumeStore(job.store.folder / VOLUME_FOLDER, volume_input)
    with progress_bar("CT volumes") if job.run.progress else nullcontext(None) as progress:
        volumes.prepare([job.store.cases[case] for case in (*job.training, *job.held_out)], progress)
    unlabelled = len(job.unlabelled) if settings.unlabelled_batch else 0
    steps = settings.step_count(len(job.labelled), unlabelled, job.run.processes)
    batches = CtBatches(job.store, volumes, job.training, settings, steps)
    stage = CtStage(settings, steps, batches.class_counts())
    result = run_stage(stage, batches, job.run, job.out, HeldOutVolumes(job.store, volumes, job.held_out))
    return export_peers(
        job, result, settings.network_config(), ModelInput(standardisation=volume_input.to_standardisation())
    )
