"""The X-ray reconstruction network: radiographs and points to the class of every point.

A pixel-aligned implicit function: every view is encoded to a feature map, a point takes the features at its projection
into every view (and, if so configured, its depth in every view), and a classifier says in which bone it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from SSRKDCore.networks.config import XrayNetworkConfig
from SSRKDCore.networks.coordinates import sample_feature_map
from SSRKDCore.networks.hourglass import ImageEncoder
from SSRKDCore.networks.point_classifier import PointClassifier

#: A function of a view's number, applied to several; as `map`.
EachView = Callable[[Callable[[int], list[Tensor]], Iterable[int]], Iterable[list[Tensor]]]


@dataclass
class XrayOutput:
    """What the network says of points, one entry a hourglass stack (only the last stack in eval mode).

    logits: [B, classes, N] each; kd_features: [B, kd_features, N] each.
    """

    logits: list[Tensor]
    kd_features: list[Tensor]


class XrayReconstructionNetwork(nn.Module):
    """Encoders (one a view), point classifier and the projection for knowledge distillation.

    `each_view` applies a function to every view, as `map` does; another may do so side by side.
    """

    each_view: EachView = staticmethod(map)

    def __init__(self, config: XrayNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoders = nn.ModuleList(
            ImageEncoder(config) for _ in range(config.view_count if config.separate_encoders else 1)
        )
        self.classifier = PointClassifier(config.point_features, config.classifier_hidden, config.class_count)
        self.kd_projection = nn.Conv1d(config.point_features, config.kd_features, 1, bias=False)

    def encode(self, images: Tensor) -> list[list[Tensor]]:
        """Feature maps of images [B, V, C, S, S].

        Returns:
            A list over hourglass stacks (all in training mode, only the last in eval mode) of lists over views of
            feature maps [B, F, S/4, S/4].

        Raises:
            ValueError: the images do not have the configured number of views and channels.
        """
        expected = (self.config.view_count, self.config.input_channels)
        if images.ndim != 5 or tuple(images.shape[1:3]) != expected:
            raise ValueError(
                f"images must be [batch, {expected[0]} views, {expected[1]} channels, rows, columns],"
                f" not {tuple(images.shape)}"
            )

        def encoded(view: int) -> list[Tensor]:
            maps: list[Tensor] = self.encoders[view if self.config.separate_encoders else 0](images[:, view])
            return maps

        by_view = list(self.each_view(encoded, range(self.config.view_count)))
        if not self.training:
            by_view = [maps[-1:] for maps in by_view]
        return [list(views) for views in zip(*by_view, strict=True)]

    def point_features(self, view_features: list[Tensor], coordinates: Tensor, depths: Tensor | None = None) -> Tensor:
        """The feature vectors [B, V*F (+V), N] of points.

        Args:
            view_features: feature map [B, F, h, w] of every view.
            coordinates: [B, V, N, 2] normalised (row, column) of every point in every view.
            depths: [B, V, N], the depth of the point minus that of the centre of the field of view, over half the size
                of the field of view; needed if and only if the configuration has a depth per view.

        Returns:
            Features of view 0, view 1, ..., then depth in view 0, depth in view 1, ...

        Raises:
            ValueError: depths are missing or given in vain.
        """
        if (depths is not None) != self.config.depth_per_view:
            raise ValueError(f"depths must {'' if self.config.depth_per_view else 'not '}be given to this network")
        parts = [
            sample_feature_map(features, coordinates[:, view], self.config.align_corners)
            for view, features in enumerate(view_features)
        ]
        if depths is not None:
            parts.append(depths.to(parts[0].dtype))
        return torch.cat(parts, dim=1)

    def query(self, view_features: list[Tensor], coordinates: Tensor, depths: Tensor | None = None) -> Tensor:
        """Logits [B, classes, N] of points; arguments as `point_features`."""
        return self.classifier(self.point_features(view_features, coordinates, depths))

    def kd_features(self, point_features: Tensor) -> Tensor:
        """Point features [B, V*F (+V), N] in the space of knowledge distillation [B, kd_features, N]."""
        return self.kd_projection(point_features)

    def forward(self, images: Tensor, coordinates: Tensor, depths: Tensor | None = None) -> XrayOutput:
        """Encodes the images [B, V, C, S, S] and classifies the points, for every stack that `encode` returns."""
        output = XrayOutput(logits=[], kd_features=[])
        for view_features in self.encode(images):
            features = self.point_features(view_features, coordinates, depths)
            output.logits.append(self.classifier(features))
            output.kd_features.append(self.kd_features(features))
        return output
