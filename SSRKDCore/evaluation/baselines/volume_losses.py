"""Losses of the volume CNN: cross entropy and soft Dice of voxels, and the unsupervised reprojection loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from SSRKDCore.training.sample_store import UNKNOWN_LABEL

_SMALL = 1e-6


def voxel_cross_entropy(logits: Tensor, labels: Tensor, outside_weight: float) -> Tensor:
    """Weighted mean cross entropy of logits (B, C, G, G, G) and labels (B, G, G, G); UNKNOWN_LABEL teaches nothing."""
    weights = torch.ones(logits.shape[1], device=logits.device)
    weights[0] = outside_weight
    return functional.cross_entropy(logits.float(), labels, weights, ignore_index=UNKNOWN_LABEL)


def soft_dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - soft Dice, mean over cases and over the bones that a case has (Milletari et al. 2016); shapes as above."""
    known = (labels != UNKNOWN_LABEL)[:, None]
    truth = functional.one_hot(labels.where(known[:, 0], 0), logits.shape[1]).movedim(-1, 1)[:, 1:] * known
    said = logits.float().softmax(dim=1)[:, 1:] * known
    both = (said * truth).flatten(2).sum(dim=2)
    sizes = (said**2).flatten(2).sum(dim=2) + truth.flatten(2).sum(dim=2)
    present = truth.flatten(2).any(dim=2)
    losses = (1 - 2 * both / (sizes + _SMALL)) * present
    return losses.sum() / present.sum().clamp(min=1)


def gradient_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Normalised cross correlation of the gradients of images (N, R, C), mean of both directions and all images; from -1 to 1."""
    found = []
    for axis in (1, 2):
        a, b = (torch.diff(images.float(), dim=axis).flatten(1) for images in (first, second))
        a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
        found.append((a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1) + _SMALL))
    return torch.stack(found).mean()
