"""The segmenter: where bone casts its shadow on a radiograph (U-Net), taught by silhouettes and by its peer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from SSRKDCore.networks.build import use_channels_last
from SSRKDCore.networks.model_folder import ModelInput
from SSRKDCore.networks.unet import UNet
from SSRKDCore.training.cross_pseudo import PeersStage, export_peers
from SSRKDCore.training.runner import run_stage
from SSRKDCore.training.sample_store import UNKNOWN_LABEL, SampleStore
from SSRKDCore.training.segmenter_batches import SegmenterBatches, labels_of, standardised
from SSRKDCore.training.settings import SegmenterTraining
from SSRKDCore.training.stage_job import StageJob

_BONE = 1


class SegmenterStage(PeersStage):
    """The loss of a batch of `SegmenterBatches`: cross entropy, plus `dice_weight` times the soft Dice loss.

    settings: what is learnt. steps: of the run.
    """

    stage = "segmenter"

    def __init__(self, settings: SegmenterTraining, steps: int) -> None:
        config = settings.network_config()
        super().__init__(settings, steps, lambda: UNet(config), torch.ones(config.class_count))
        self.segmenter = settings
        use_channels_last(self.peers)

    def heads(self, peer: nn.Module, part: Mapping[str, Tensor]) -> list[Tensor]:
        return [peer(part["images"])]

    def supervised_loss(self, heads: Sequence[Tensor], labels: Tensor) -> Tensor:
        loss = super().supervised_loss(heads, labels)
        if self.segmenter.dice_weight:
            loss = loss + self.segmenter.dice_weight * soft_dice_loss(heads[-1], labels)
        return loss


def soft_dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - soft Dice of bone, mean over images (Milletari et al., "V-Net", 2016, with plain sums in the denominator).

    Beside the cross entropy it keeps thin bone, a small part of an image, from being given up; the sum of both is what nnU-Net trains
    on (Isensee et al. 2021). An image without bone counts as right when none is found.

    logits: (B, 2, S, S). labels: (B, S, S), 255 where nothing is known.
    """
    known = labels != UNKNOWN_LABEL
    bone = logits.float().softmax(dim=1)[:, _BONE] * known
    truth = (labels == _BONE).float()
    both, sizes = (bone * truth).sum(dim=(1, 2)), (bone + truth).sum(dim=(1, 2))
    return (1.0 - (2.0 * both + 1.0) / (sizes + 1.0)).mean()


class HeldOutSilhouettes:
    """Dice of peer A on plain images of held-out cases, over all their pixels together: a `Validation` of the segmenter.

    Args:
        store: the samples. cases: indices of cases that training does not see; the labelled ones are used.
        settings: of the segmenter.
    """

    def __init__(self, store: SampleStore, cases: Sequence[int], settings: SegmenterTraining) -> None:
        self.store = store
        self.cases = [case for case in cases if store.labelled[case]]
        self.settings = settings

    def __call__(self, module: SegmenterStage) -> dict[str, float]:
        both = sizes = 0
        for case in self.cases:
            sample = self.store.read(case, 0, teacher=False)
            images = torch.from_numpy(sample.images).float()
            ready = standardised(images, torch.ones_like(images), self.settings)[:, None].to(module.device)
            said = module.heads(module.peers[0], {"images": ready})[-1].argmax(dim=1).cpu() == _BONE
            labels = torch.stack([labels_of(sample, view, torch.ones_like(images[0])) for view in range(len(images))])
            said, truth = said & (labels != UNKNOWN_LABEL), labels == _BONE
            both += int((said & truth).sum())
            sizes += int(said.sum() + truth.sum())
        return {"held_out_dice": 2 * both / sizes} if sizes else {}


def train_segmenter(job: StageJob) -> Path:
    """Train the segmenter of a job, or go on with it; returns the model folder of peer A. Peer B lies beside it, in `peer_b`.

    Raises as `run_stage` does, and InputError when cases of a kind are lacking.
    """
    settings = job.settings
    assert isinstance(settings, SegmenterTraining)
    # An item is an image, and a case has one in each view.
    views = len(job.store.read(job.training[0], 0, teacher=False).images)
    unlabelled = len(job.unlabelled) if settings.unlabelled_batch else 0
    steps = settings.step_count(len(job.labelled) * views, unlabelled * views, job.run.processes)
    batches = SegmenterBatches(job.store, job.training, settings, steps)
    stage = SegmenterStage(settings, steps)
    result = run_stage(stage, batches, job.run, job.out, HeldOutSilhouettes(job.store, job.held_out, settings))
    return export_peers(
        job, result, settings.network_config(), ModelInput(standardisation=settings.input_standardisation())
    )
