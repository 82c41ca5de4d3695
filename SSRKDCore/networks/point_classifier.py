"""The point classifier: the feature vector of a point to one logit a class."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Slope of the leaky ReLU below zero (torch's default, which the released networks use).
NEGATIVE_SLOPE = 0.01


class LayerParts(NamedTuple):
    """One layer taken apart: output = hidden_weight @ hidden + feature_weight @ features + bias.

    hidden_weight is [out, hidden], or None in the first layer; feature_weight is [out, features]; bias is [out].
    """

    hidden_weight: Tensor | None
    feature_weight: Tensor
    bias: Tensor


class PointClassifier(nn.Module):
    """A perceptron over points whose every layer after the first also sees the point features (skip inputs).

    features [B, in_features, N] -> logits [B, class_count, N]. A layer's input is (hidden, features), in this order;
    leaky ReLU between layers.
    """

    def __init__(self, in_features: int, hidden: Sequence[int], class_count: int) -> None:
        super().__init__()
        self.in_features = in_features
        widths = [0, *hidden, class_count]
        self.layers = nn.ModuleList(nn.Conv1d(before + in_features, after, 1) for before, after in pairwise(widths))

    def layer_parts(self) -> list[LayerParts]:
        """The layers, each split into what acts on the hidden features and what acts on the point features."""
        parts = []
        for layer in self.layers:
            assert isinstance(layer, nn.Conv1d) and layer.bias is not None
            weight = layer.weight[:, :, 0]
            width = weight.shape[1] - self.in_features
            hidden_weight = weight[:, :width] if width else None
            parts.append(LayerParts(hidden_weight, weight[:, width:], layer.bias))
        return parts

    def forward(self, features: Tensor) -> Tensor:
        parts = self.layer_parts()
        # All that is linear in the point features is one product; the concatenated input is never formed.
        from_features = functional.conv1d(
            features,
            torch.cat([part.feature_weight for part in parts]).unsqueeze(2),
            torch.cat([part.bias for part in parts]),
        ).split([part.feature_weight.shape[0] for part in parts], dim=1)
        hidden = from_features[0]
        for part, skip in zip(parts[1:], from_features[1:], strict=True):
            assert part.hidden_weight is not None
            hidden = functional.leaky_relu(hidden, NEGATIVE_SLOPE)
            hidden = functional.conv1d(hidden, part.hidden_weight.unsqueeze(2)) + skip
        return hidden
