"""Losses of point classifiers: weighted cross entropy over several outputs, and L1 feature distillation.

Every case counts the same, whatever its points weigh, so that a step means the same on one process and on several.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from SSRKDCore.training.sample_store import UNKNOWN_LABEL


def class_weights(counts: NDArray[np.integer], outside_weight: float, power: float) -> Tensor:
    """Weights of the classes (C,) from how many points each has (C,), class 0 being outside.

    A bone weighs (largest count of a bone / its count)^power, as in the released training; a bone without any point
    counts as having one.
    """
    bones = np.maximum(np.asarray(counts, dtype=np.float64)[1:], 1.0)
    return torch.tensor([outside_weight, *(bones.max() / bones) ** power], dtype=torch.float32)


def stack_weights(count: int, ratio: float) -> list[float]:
    """Weights of `count` stacks, growing by `ratio`, that sum to 1."""
    weights = [ratio**index for index in range(count)]
    return [weight / sum(weights) for weight in weights]


def point_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean over cases of the weighted mean cross entropy of their points.

    Args:
        logits: (B, C, N). labels: (B, N) int64; UNKNOWN_LABEL teaches nothing. weights: (C,).
    """
    known = labels != UNKNOWN_LABEL
    losses = functional.cross_entropy(logits.float(), labels, reduction="none", ignore_index=UNKNOWN_LABEL)
    of_points = weights[labels.where(known, 0)] * known
    total = of_points.sum(dim=1).clamp(min=torch.finfo(of_points.dtype).tiny)
    return ((losses * of_points).sum(dim=1) / total).mean()


def stacked_cross_entropy(outputs: Sequence[Tensor], labels: Tensor, weights: Tensor, ratio: float) -> Tensor:
    """`point_cross_entropy` of every stack's logits (B, C, N), the later ones weighing `ratio` times the one before."""
    shares = stack_weights(len(outputs), ratio)
    terms = [
        share * point_cross_entropy(logits, labels, weights) for share, logits in zip(shares, outputs, strict=True)
    ]
    return torch.stack(terms).sum()


def distillation_loss(outputs: Sequence[Tensor], teacher: Tensor) -> Tensor:
    """Mean absolute difference between every stack's projected features (B, F, N) and the teacher's (B, F, N).

    All stacks weigh alike, as in the released training.
    """
    terms = [functional.l1_loss(features.float(), teacher.float()) for features in outputs]
    return torch.stack(terms).mean()


def wrong_share(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the points with a known label whose most likely class is not that label; (B, C, N), (B, N)."""
    wrong = logits.detach().argmax(dim=1) != labels
    return wrong[labels != UNKNOWN_LABEL].float().mean().nan_to_num()
