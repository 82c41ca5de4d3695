"""Cross pseudo supervision: two peers of one architecture, each of which learns from what the other says.

Chen et al., "Semi-supervised semantic segmentation with cross pseudo supervision", CVPR 2021: the peers differ in nothing but
their initial weights; what one says is the target of the other, as hard labels without a gradient, so that unlabelled cases teach
where the peers disagree. The released training of SSR-KD draws one peer's weights after He et al. 2015 and the other's after Glorot
and Bengio 2010, and so does `make_peers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from SSRKDCore.networks.config import NetworkConfig
from SSRKDCore.networks.model_folder import ModelInput
from SSRKDCore.training.runner import StageResult
from SSRKDCore.training.sample_store import UNKNOWN_LABEL
from SSRKDCore.training.settings import CtTraining, SegmenterTraining
from SSRKDCore.training.stage_export import MODEL_FOLDER, export_stage
from SSRKDCore.training.stage_job import StageJob
from SSRKDCore.training.stage_module import StageModule, initialised

UNLABELLED = "unlabelled_"
"""What the names of a batch's unlabelled part begin with."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class PeersStage(StageModule):
    """A stage whose one or two peers learn from labels, and two also from each other.

    The loss of a batch: that of the labels, summed over the peers, plus the ramped cross pseudo weight times `cross_pseudo_loss` on the
    unlabelled part. With `cross_pseudo_on_labelled` the weight is shared out, half of it on each part.

    A subclass says what the heads of a peer answer. Peer A is the first; it is the one that is used.
    """

    class_weights: Tensor

    def __init__(
        self,
        settings: SegmenterTraining | CtTraining,
        steps: int,
        make_network: Callable[[], nn.Module],
        class_weights: Tensor,
    ) -> None:
        super().__init__(settings, steps)
        self.with_peers = settings
        with initialised(settings.seed):
            self.peers = make_peers(make_network, settings.peers)
        self.register_buffer("class_weights", class_weights, persistent=False)

    def heads(self, peer: nn.Module, part: Mapping[str, Tensor]) -> list[Tensor]:
        """The logits [B, classes, ...] of every head of a peer for one part of a batch; the last head is the one that is used."""
        raise NotImplementedError

    def supervised_loss(self, heads: Sequence[Tensor], labels: Tensor) -> Tensor:
        """The loss of one peer on labels [B, ...]."""
        return cross_entropy(heads, labels, self.class_weights)

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> dict[str, Tensor]:
        settings, labels = self.with_peers, batch["labels"]
        unlabelled = {
            name.removeprefix(UNLABELLED): value for name, value in batch.items() if name.startswith(UNLABELLED)
        }
        answers = [self.heads(peer, batch) for peer in self.peers]
        losses = [self.supervised_loss(heads, labels) for heads in answers]
        wrong = (hard_labels(answers[0]) != labels)[labels != UNKNOWN_LABEL].float().mean().nan_to_num()
        terms = {"loss_labelled": torch.stack(losses).mean(), "wrong": wrong}
        loss = torch.stack(losses).sum()
        weight = settings.cross_pseudo_weight_at(self.global_step, self.steps)
        if settings.peers == 2 and unlabelled:
            others = [self.heads(peer, unlabelled) for peer in self.peers]
            terms["loss_cross"] = cross_pseudo_loss(others, self.class_weights)
            terms["disagreement"] = (hard_labels(others[0]) != hard_labels(others[1])).float().mean()
            share = 0.5 if settings.cross_pseudo_on_labelled else 1.0
            loss = loss + share * weight * terms["loss_cross"]
        if settings.peers == 2 and settings.cross_pseudo_on_labelled:
            loss = loss + 0.5 * weight * cross_pseudo_loss(answers, self.class_weights)
        return {"loss": loss, **terms}


def make_peers(make_network: Callable[[], nn.Module], count: int) -> nn.ModuleList:
    """One network or two of the same architecture with different initial weights, drawn from torch's generator."""
    draws: tuple[Callable[[Tensor], Tensor], ...] = (nn.init.kaiming_normal_, nn.init.xavier_normal_)
    peers = []
    for draw in draws[:count]:
        network = make_network()
        for layer in network.modules():
            if isinstance(layer, _CONVOLUTIONS):
                draw(layer.weight)
        peers.append(network)
    return nn.ModuleList(peers)


def cross_entropy(heads: Sequence[Tensor], labels: Tensor, class_weights: Tensor) -> Tensor:
    """Mean over heads and cases of the weighted mean cross entropy of a case's points or pixels.

    Every case counts the same, so that a step means the same on one process and on several.

    Parameters
    ----------
    heads: logits [B, classes, ...], one entry a head.
    labels: [B, ...] int64; UNKNOWN_LABEL (255) teaches nothing, and a case of which nothing is known has the loss 0.
    class_weights: (classes,).
    """
    known = labels != UNKNOWN_LABEL
    weights = (class_weights[labels.where(known, 0)] * known).flatten(1)
    total = weights.sum(dim=1).clamp(min=torch.finfo(weights.dtype).tiny)
    means = []
    for logits in heads:
        losses = functional.cross_entropy(logits.float(), labels, reduction="none", ignore_index=UNKNOWN_LABEL)
        means.append(((losses.flatten(1) * weights).sum(dim=1) / total).mean())
    return torch.stack(means).mean()


def hard_labels(heads: Sequence[Tensor]) -> Tensor:
    """What a network says: the likeliest class by its last head, [B, ...] int64, without a gradient."""
    return heads[-1].detach().argmax(dim=1)


def cross_pseudo_loss(peers: Sequence[Sequence[Tensor]], class_weights: Tensor) -> Tensor:
    """Each of two peers against the hard labels of the other; the sum of both.

    peers: for each peer the logits [B, classes, ...] of its heads. class_weights: (classes,).
    """
    first, second = peers
    return cross_entropy(first, hard_labels(second), class_weights) + cross_entropy(
        second, hard_labels(first), class_weights
    )


def export_peers(job: StageJob, result: StageResult, config: NetworkConfig, model_input: ModelInput) -> Path:
    """Write the peers of a finished stage as model folders, `model` (peer A, which is the one that is used) and `peer_b`.

    job, result: of the stage. config: of both networks. model_input: what they read. Returns the folder of peer A.
    """
    folders = {MODEL_FOLDER: job.name, "peer_b": f"{job.name}, peer B"}
    written = [
        export_stage(
            job.out,
            result,
            network,
            config,
            name=name,
            model_input=model_input,
            licence=job.licence,
            folder=folder,
        )
        for network, (folder, name) in zip(result.module.peers, folders.items(), strict=False)
    ]
    return written[0]
