"""A small model that sees a knee of capsules whatever the radiographs show: for tests of what comes after the encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from SSRKDCore.geometry.network_view import network_view
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.networks.config import XrayNetworkConfig
from SSRKDCore.networks.model_folder import Model, ModelInput
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.reconstruction.benchmark_phantom import shape_field, silhouette_depths, with_silhouettes


class KneeNetwork(XrayReconstructionNetwork):
    """Random weights, but for the knee of the benchmark in the first channels of the feature maps."""

    def __init__(self, config: XrayNetworkConfig, rig: Rig) -> None:
        super().__init__(config)
        views = [network_view(view, rig.field_of_view, config.input_size) for view in rig.views]
        self.silhouettes = [silhouette_depths(view, config.feature_map_size, rig.field_of_view) for view in views]

    def encode(self, images: Tensor) -> list[list[Tensor]]:
        return [with_silhouettes(maps, self.silhouettes) for maps in super().encode(images)]


def knee_model(rig: Rig, channels: int = 1, segmenter: Model | None = None) -> Model:
    """The model for a rig with an AP and a lateral view."""
    torch.manual_seed(0)
    config = XrayNetworkConfig(
        input_size=128,
        input_channels=channels,
        view_count=len(rig.views),
        separate_encoders=True,
        stacks=1,
        features=8,
        hourglass_depth=1,
        stem_features=4,
        norm_groups=2,
        depth_per_view=True,
        classifier_hidden=(16, 12, 8),
        kd_features=4,
        sampling="pixel_centres",
    )
    network = KneeNetwork(config, rig).eval()
    with torch.inference_mode():
        features = network.encode(torch.zeros(1, len(rig.views), channels, 128, 128))[-1]
    shape_field(network, features)
    card = {"weights": {"sha256": "0" * 64}}
    return Model(network, config, "xray", "capsule knee", Path("capsule-knee"), card, ModelInput(), segmenter)


def shadow_radiographs(rig: Rig, side: str | None = "right") -> list[Radiograph]:
    """Some picture of the right size for every view of a rig."""
    generator = np.random.default_rng(0)
    return [
        Radiograph(
            pixels=generator.random((view.rows, view.columns)).astype(np.float32),
            pixel_spacing=view.pixel_spacing,
            view=view.name,
            side=side,
            source_path=f"{view.name}.nrrd",
        )
        for view in rig.views
    ]
