"""The CT reconstruction network: a CT volume and points to the class of every point (the teacher of the paper)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from SSRKDCore.networks.config import CtNetworkConfig
from SSRKDCore.networks.coordinates import sample_feature_volume
from SSRKDCore.networks.point_classifier import PointClassifier
from SSRKDCore.networks.vnet import VNet


@dataclass
class CtOutput:
    """What the network says of points, one entry a resolution, coarsest first (only the finest in eval mode).

    logits: [B, classes, N] each; features: [B, head_features, N] each, what the X-ray network's `kd_features` imitate.
    """

    logits: list[Tensor]
    features: list[Tensor]


class CtReconstructionNetwork(nn.Module):
    """V-Net and point classifier; the four resolutions share the classifier."""

    def __init__(self, config: CtNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = VNet(config)
        self.classifier = PointClassifier(config.head_features, config.classifier_hidden, config.class_count)

    def encode(self, volumes: Tensor) -> list[Tensor]:
        """Feature volumes of volumes [B, C, D, H, W]: all four in training mode, only the finest in eval mode."""
        features = self.encoder(volumes)
        return features if self.training else features[-1:]

    def point_features(self, feature_volume: Tensor, coordinates: Tensor) -> Tensor:
        """Features [B, head_features, N] at coordinates [B, 3, N].

        Component i runs along array axis 2 + i from -1 (centre of the first voxel) to 1 (centre of the last).
        """
        return sample_feature_volume(feature_volume, coordinates)

    def query(self, feature_volume: Tensor, coordinates: Tensor) -> Tensor:
        """Logits [B, classes, N] of points; arguments as `point_features`."""
        return self.classifier(self.point_features(feature_volume, coordinates))

    def forward(self, volumes: Tensor, coordinates: Tensor) -> CtOutput:
        """Encodes the volumes and classifies the points, for every resolution that `encode` returns."""
        output = CtOutput(logits=[], features=[])
        for feature_volume in self.encode(volumes):
            features = self.point_features(feature_volume, coordinates)
            output.logits.append(self.classifier(features))
            output.features.append(features)
        return output
