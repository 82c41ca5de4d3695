"""The X-ray reconstruction network: shapes, order of point features, stacks, memory formats, gradients."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from SSRKDCore.networks.build import use_channels_last
from SSRKDCore.networks.config import XrayNetworkConfig, xray_config
from SSRKDCore.networks.coordinates import sample_feature_map
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork

SMALL = XrayNetworkConfig(
    input_size=64,
    input_channels=1,
    view_count=2,
    separate_encoders=True,
    stacks=2,
    features=16,
    hourglass_depth=2,
    stem_features=8,
    norm_groups=4,
    depth_per_view=True,
    classifier_hidden=(12, 6),
    kd_features=7,
    sampling="pixel_centres",
)


def _inputs(config: XrayNetworkConfig, points: int = 11) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    side = config.input_size
    images = torch.rand(2, config.view_count, config.input_channels, side, side, generator=generator)
    coordinates = torch.rand(2, config.view_count, points, 2, generator=generator) * 2 - 1
    return images, coordinates, torch.rand(2, config.view_count, points, generator=generator) - 0.5


def test_all_stacks_in_training_the_last_one_after() -> None:
    network = XrayReconstructionNetwork(SMALL).train()
    images, coordinates, depths = _inputs(SMALL)
    output = network(images, coordinates, depths)
    assert [tuple(logits.shape) for logits in output.logits] == [(2, 5, 11)] * 2
    assert [tuple(features.shape) for features in output.kd_features] == [(2, 7, 11)] * 2
    network.eval()
    after = network(images, coordinates, depths)
    assert len(after.logits) == 1
    # Group normalisation: eval mode computes the same numbers, only fewer of them are returned.
    torch.testing.assert_close(after.logits[0], output.logits[-1])


def test_point_features_are_views_then_depths() -> None:
    network = XrayReconstructionNetwork(SMALL).eval()
    images, coordinates, depths = _inputs(SMALL)
    maps = network.encode(images)[-1]
    assert [tuple(view.shape) for view in maps] == [(2, 16, 16, 16)] * 2
    features = network.point_features(maps, coordinates, depths)
    assert features.shape == (2, 34, 11)
    first = sample_feature_map(maps[0], coordinates[:, 0], align_corners=False)
    second = sample_feature_map(maps[1], coordinates[:, 1], align_corners=False)
    assert torch.equal(features[:, :16], first)
    assert torch.equal(features[:, 16:32], second)
    assert torch.equal(features[:, 32:], depths)
    torch.testing.assert_close(network.query(maps, coordinates, depths), network(images, coordinates, depths).logits[0])


def test_each_view_has_its_own_encoder_unless_shared() -> None:
    images, _, _ = _inputs(SMALL)
    images[:, 1] = images[:, 0]
    own = XrayReconstructionNetwork(SMALL).eval().encode(images)[0]
    assert not torch.allclose(own[0], own[1])
    shared_config = dataclasses.replace(SMALL, separate_encoders=False)
    shared = XrayReconstructionNetwork(shared_config).eval().encode(images)[0]
    torch.testing.assert_close(shared[0], shared[1])


def test_three_views_work() -> None:
    config = dataclasses.replace(SMALL, view_count=3)
    images, coordinates, depths = _inputs(config)
    output = XrayReconstructionNetwork(config).eval()(images, coordinates, depths)
    assert config.point_features == 51 and output.logits[0].shape == (2, 5, 11)


def test_depths_and_image_shapes_are_checked() -> None:
    network = XrayReconstructionNetwork(SMALL)
    images, coordinates, depths = _inputs(SMALL)
    with pytest.raises(ValueError, match="depths must be given"):
        network(images, coordinates)
    with pytest.raises(ValueError, match="2 views, 1 channels"):
        network(images[:, :1], coordinates, depths)
    without_depth = XrayReconstructionNetwork(dataclasses.replace(SMALL, depth_per_view=False))
    with pytest.raises(ValueError, match="not be given"):
        without_depth(images, coordinates, depths)


def test_channels_last_gives_the_same_features() -> None:
    torch.manual_seed(5)
    network = XrayReconstructionNetwork(SMALL).eval()
    images, coordinates, depths = _inputs(SMALL)
    with torch.inference_mode():
        expected = network(images, coordinates, depths).logits[0]
        use_channels_last(network)
        found = network(images, coordinates, depths).logits[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_every_parameter_of_the_compact_network_learns() -> None:
    config = xray_config("compact")
    network = XrayReconstructionNetwork(config).train()
    images, coordinates, depths = _inputs(config)
    output = network(images[:1], coordinates[:1], depths[:1])
    loss = sum(part.square().sum() for part in (*output.logits, *output.kd_features))
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    without = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []
