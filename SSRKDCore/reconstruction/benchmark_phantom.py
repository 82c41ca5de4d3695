"""A network of full size whose field looks like a knee, for benchmarks: no trained weights of that size are needed.

Random weights give a field with surfaces everywhere, which says nothing about a search that follows surfaces. Here the
encoder is random and does all of its work; then the first four channels of its feature maps are replaced by the
silhouettes of a knee of capsules, and the first four units of every hidden layer of the classifier are set so that the
logit of a bone is the smaller of its two silhouettes at a point (the visual hull). All other weights stay random and
add texture to the surfaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from SSRKDCore.anatomy import BONES
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.network_view import network_view
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.view import View
from SSRKDCore.networks.config import XrayNetworkConfig
from SSRKDCore.networks.point_classifier import NEGATIVE_SLOPE
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork

#: Capsules of a right knee about the origin, LPS mm: both ends of the axis and the radius.
_CAPSULES: dict[str, list[tuple[tuple[float, float, float], tuple[float, float, float], float]]] = {
    "patella": [((-6.0, -48.0, 14.0), (6.0, -48.0, 24.0), 15.0)],
    "femur": [
        ((0.0, -8.0, 30.0), (0.0, -14.0, 120.0), 15.0),
        ((-22.0, -12.0, 22.0), (-22.0, 14.0, 24.0), 20.0),
        ((22.0, -12.0, 22.0), (22.0, 14.0, 24.0), 20.0),
    ],
    "fibula": [((-38.0, 22.0, -24.0), (-34.0, 18.0, -120.0), 7.0)],
    "tibia": [
        ((-20.0, 0.0, -20.0), (20.0, 0.0, -20.0), 18.0),
        ((0.0, 0.0, -24.0), (4.0, 8.0, -120.0), 15.0),
    ],
}
#: Logit per mm of depth into a silhouette, and the standard deviation of the random texture in mm.
LOGIT_PER_MM = 0.2
TEXTURE_MM = 0.2
# Leaky units reach at most NEGATIVE_SLOPE times the image below zero; this lifts them above it, so that later layers
# pass them on.
_LIFT = 4.0
_AXIS_SAMPLES = 25


def phantom_views(config: XrayNetworkConfig) -> tuple[tuple[View, ...], FieldOfView]:
    """The network views of the preset "room", and its field of view."""
    rig = preset("room")
    return tuple(network_view(view, rig.field_of_view, config.input_size) for view in rig.views), rig.field_of_view


def silhouette_depths(view: View, size: int, field_of_view: FieldOfView) -> NDArray[np.float32]:
    """(4, size, size): how far, in mm at the knee, each pixel of a feature map lies inside the silhouette of each
    bone.
    """
    scale = view.rows / size
    index = (np.arange(size) + 0.5) * scale - 0.5
    source = np.array(view.source)
    rays = view.pixel_position(index[:, None], index[None, :]) - source
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    depths = []
    for bone in BONES:
        inside = np.full((size, size), -np.inf)
        for start, end, radius in _CAPSULES[bone.name]:
            for share in np.linspace(0.0, 1.0, _AXIS_SAMPLES):
                point = (1 - share) * np.array(start) + share * np.array(end) + np.array(field_of_view.center)
                offset = point - source
                distance = np.linalg.norm(offset - (rays @ offset)[..., None] * rays, axis=-1)
                inside = np.maximum(inside, radius - distance)
        depths.append(inside)
    return np.stack(depths).astype(np.float32)


def phantom_images(config: XrayNetworkConfig, silhouettes: Sequence[NDArray[np.float32]], seed: int = 0) -> Tensor:
    """[1, V, C, S, S]: smooth pictures of the silhouettes with some noise, for the encoder to work on."""
    generator = torch.Generator().manual_seed(seed)
    size = config.input_size
    images = []
    for silhouette in silhouettes:
        thickness = torch.from_numpy(np.maximum(silhouette, 0.0).sum(axis=0) / 20.0)[None, None]
        image = torch.nn.functional.interpolate(thickness, (size, size), mode="bilinear")
        noise = 0.02 * torch.randn(1, config.input_channels, size, size, generator=generator)
        images.append(image + noise)
    return torch.stack(images, dim=1)


def phantom_network(config: XrayNetworkConfig, seed: int = 0) -> XrayReconstructionNetwork:
    """A network with random weights, in eval mode; give it a knee with `with_silhouettes` and `shape_field`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = XrayReconstructionNetwork(config)
    return network.eval()


def with_silhouettes(features: list[Tensor], silhouettes: Sequence[NDArray[np.float32]]) -> list[Tensor]:
    """The feature maps [1, F, h, w] with their first four channels replaced by silhouettes."""
    result = []
    for feature_map, silhouette in zip(features, silhouettes, strict=True):
        changed = feature_map.clone()
        changed[0, : len(BONES)] = torch.from_numpy(silhouette)
        result.append(changed)
    return result


@torch.no_grad()
def shape_field(network: XrayReconstructionNetwork, features: list[Tensor]) -> None:
    """Set the classifier's weights, in place, so that feature maps from `with_silhouettes` give a knee.

    With a and b the silhouettes of a bone in the first two views, min(a, b) = b - relu(b - a), and
    relu(u) = (leaky(u) - slope * u) / (1 - slope). The first layer makes u = b - a, later layers pass leaky(u) on,
    lifted above zero; the last puts the parts together.
    """
    config, layers = network.config, _layers(network)
    count = len(BONES)
    units = torch.arange(count)
    view_a, view_b = units, units + config.features  # the silhouettes among the point features
    _normalise_texture(network, features)
    for number, layer in enumerate(layers):
        weight, bias = layer.weight[:, :, 0], _bias(layer)
        hidden = weight.shape[1] - config.point_features
        if number < len(layers) - 1:
            weight[:count] = 0.0
            bias[:count] = 0.0
        weight[:, hidden + view_a] = 0.0
        weight[:, hidden + view_b] = 0.0
        if number == 0:
            weight[units, view_a] = -1.0
            weight[units, view_b] = 1.0
        else:
            weight[:, :count] = 0.0
            if number < len(layers) - 1:
                weight[units, units] = 1.0
                bias[units] = _LIFT if number == 1 else 0.0
    last = layers[-1]
    weight, bias = last.weight[:, :, 0], _bias(last)
    hidden = weight.shape[1] - config.point_features
    lift = _LIFT if len(layers) > 2 else 0.0
    steep = 1.0 / (1.0 - NEGATIVE_SLOPE)
    logits = units + 1
    bias.zero_()
    bias[logits] += LOGIT_PER_MM * steep * lift
    weight[logits, units] = -LOGIT_PER_MM * steep
    weight[logits, hidden + view_b] = LOGIT_PER_MM * (1.0 + steep * NEGATIVE_SLOPE)
    weight[logits, hidden + view_a] = -LOGIT_PER_MM * steep * NEGATIVE_SLOPE


def _normalise_texture(network: XrayReconstructionNetwork, features: list[Tensor]) -> None:
    """Scale the random last layer so that it adds a texture of the chosen size to every logit."""
    generator = torch.Generator().manual_seed(1)
    config = network.config
    coordinates = torch.rand(1, config.view_count, 2000, 2, generator=generator) * 1.6 - 0.8
    depths = coordinates[..., 0] if config.depth_per_view else None
    plain = [feature_map.clone() for feature_map in features]
    for feature_map in plain:
        feature_map[:, : len(BONES)] = 0.0
    logits = network.query(plain, coordinates, depths)[0]
    last = _layers(network)[-1]
    last.weight *= (LOGIT_PER_MM * TEXTURE_MM / logits.std(dim=1).clamp_min(1e-9))[:, None, None]


def _layers(network: XrayReconstructionNetwork) -> list[nn.Conv1d]:
    return [cast(nn.Conv1d, layer) for layer in network.classifier.layers]


def _bias(layer: nn.Conv1d) -> Tensor:
    return cast(Tensor, layer.bias)
