"""Parts of the networks against independent computations: bicubic doubling, classifier, sampling, U-Net, V-Net."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from SSRKDCore.networks.build import use_channels_last
from SSRKDCore.networks.config import CtNetworkConfig, SegmenterConfig, ct_config
from SSRKDCore.networks.coordinates import normalised_coordinates, sample_feature_map, sample_feature_volume
from SSRKDCore.networks.ct_network import CtReconstructionNetwork
from SSRKDCore.networks.peers import Peers
from SSRKDCore.networks.point_classifier import PointClassifier
from SSRKDCore.networks.unet import UNet
from SSRKDCore.networks.upsampling import bicubic_doubling_matrix, upsample_bicubic_by_two


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 2, 5), (1, 4, 16, 7), (1, 2, 64, 64)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_bicubic_doubling_equals_torch(shape: tuple[int, ...], memory_format: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(shape, generator=generator, dtype=torch.float64)
    expected = functional.interpolate(images, scale_factor=2, mode="bicubic", align_corners=True)
    doubled = upsample_bicubic_by_two(images.to(memory_format=memory_format))
    # Both in double precision: only the order of additions differs.
    torch.testing.assert_close(doubled, expected, atol=1e-12, rtol=0)
    single = upsample_bicubic_by_two(images.float().to(memory_format=memory_format))
    torch.testing.assert_close(single, expected.float(), atol=1e-5, rtol=0)
    if memory_format == torch.channels_last and shape[1] > 1:
        assert single.is_contiguous(memory_format=torch.channels_last)


def test_bicubic_doubling_keeps_ends_and_constants() -> None:
    matrix = bicubic_doubling_matrix(9)
    assert matrix.shape == (18, 9)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(matrix[0], np.eye(9)[0], atol=1e-12)
    np.testing.assert_allclose(matrix[-1], np.eye(9)[-1], atol=1e-12)


def test_training_works_after_inference() -> None:
    with torch.inference_mode():
        upsample_bicubic_by_two(torch.ones(1, 1, 11, 13))
    images = torch.ones(1, 1, 11, 13, requires_grad=True)
    upsample_bicubic_by_two(images).sum().backward()
    assert images.grad is not None and bool(torch.isfinite(images.grad).all())


def _naive_classifier(classifier: PointClassifier, features: torch.Tensor) -> torch.Tensor:
    """The published way: concatenate (hidden, features) before every layer after the first."""
    hidden = features
    for index, layer in enumerate(classifier.layers):
        hidden = layer(hidden if index == 0 else torch.cat((hidden, features), dim=1))
        if index < len(classifier.layers) - 1:
            hidden = torch.where(hidden > 0, hidden, 0.01 * hidden)
    return hidden


def test_point_classifier_equals_naive_concatenation() -> None:
    torch.manual_seed(2)
    classifier = PointClassifier(12, (16, 8, 6), 5).double()
    assert [tuple(weight.shape) for weight in classifier.parameters() if weight.ndim > 1] == [
        (16, 12, 1),
        (8, 28, 1),
        (6, 20, 1),
        (5, 18, 1),
    ]
    features = torch.randn(2, 12, 50, dtype=torch.float64)
    logits = classifier(features)
    assert logits.shape == (2, 5, 50)
    torch.testing.assert_close(logits, _naive_classifier(classifier, features), atol=1e-12, rtol=0)


def test_classifier_parts_rebuild_the_layers() -> None:
    classifier = PointClassifier(3, (4,), 5)
    first, second = classifier.layer_parts()
    assert first.hidden_weight is None and first.feature_weight.shape == (4, 3)
    assert second.hidden_weight is not None
    rebuilt = torch.cat((second.hidden_weight, second.feature_weight), dim=1)
    assert torch.equal(rebuilt, classifier.state_dict()["layers.1.weight"][:, :, 0])


def test_coordinates_put_detector_edges_at_one() -> None:
    pixels = np.array([[-0.5, -0.5], [3.5, 7.5], [0.0, 0.0], [1.5, 3.5]])
    expected = np.array([[-1, -1], [1, 1], [-0.75, -0.875], [0, 0]])
    np.testing.assert_allclose(normalised_coordinates(pixels, 4, 8), expected)
    np.testing.assert_allclose(normalised_coordinates(torch.from_numpy(pixels), 4, 8).numpy(), expected)


def test_sampling_takes_rows_first_and_meets_pixel_centres() -> None:
    rows, columns = 4, 6
    feature_map = (10.0 * torch.arange(rows)[:, None] + torch.arange(columns)[None, :]).reshape(1, 1, rows, columns)
    pixels = torch.tensor([[[1.0, 4.0], [2.5, 0.0]]])  # row 1, column 4; between rows 2 and 3
    samples = sample_feature_map(feature_map, normalised_coordinates(pixels, rows, columns), align_corners=False)
    torch.testing.assert_close(samples, torch.tensor([[[14.0, 25.0]]]))
    corners = torch.tensor([[[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.2, 0.0]]])
    # The published convention: -1 and 1 are the centres of the corner pixels; beyond, it fades to zero.
    published = sample_feature_map(feature_map, corners, align_corners=True)
    torch.testing.assert_close(published[0, 0, :3], torch.tensor([0.0, 5.0, 30.0]))
    outside = sample_feature_map(feature_map, torch.tensor([[[3.0, 0.0]]]), align_corners=True)
    assert float(outside) == 0


def test_volume_sampling_takes_array_axes_in_order() -> None:
    volume = torch.zeros(1, 1, 3, 3, 3)
    volume[0, 0, 2, 0, 1] = 7  # last along axis 2, first along axis 3, middle of axis 4
    samples = sample_feature_volume(volume, torch.tensor([[[1.0, 0.0], [-1.0, -1.0], [0.0, 1.0]]]))
    assert samples.shape == (1, 1, 2)
    assert float(samples[0, 0, 0]) == 7 and float(samples[0, 0, 1]) == 0


def test_ct_network_gives_four_resolutions_in_training_and_one_after() -> None:
    config = CtNetworkConfig(1, 2, 8, (6,))
    network = CtReconstructionNetwork(config)
    volume, points = torch.rand(1, 1, 16, 32, 16), torch.rand(1, 3, 9) * 2 - 1
    network.train()
    assert [tuple(features.shape[2:]) for features in network.encode(volume)] == [
        (2, 4, 2),
        (4, 8, 4),
        (8, 16, 8),
        (16, 32, 16),
    ]
    assert [tuple(logits.shape) for logits in network(volume, points).logits] == [(1, 5, 9)] * 4
    network.eval()
    output = network(volume, points)
    assert len(output.logits) == 1 and output.features[0].shape == (1, 8, 9)
    torch.testing.assert_close(output.logits[0], network.query(network.encode(volume)[0], points))


def test_unet_keeps_the_size_and_works_channels_last() -> None:
    torch.manual_seed(3)
    network = UNet(SegmenterConfig(1, (4, 8, 16), 2)).eval()
    images = torch.rand(2, 1, 16, 24)
    with torch.no_grad():
        logits = network(images)
        again = use_channels_last(network)(images.to(memory_format=torch.channels_last))
    assert logits.shape == (2, 2, 16, 24)
    torch.testing.assert_close(again, logits, atol=1e-5, rtol=1e-5)


def test_sides_that_cannot_be_halved_are_named() -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        UNet(SegmenterConfig(1, (4, 8, 16), 2))(torch.rand(1, 1, 16, 18))
    with pytest.raises(ValueError, match="multiples of 16"):
        CtReconstructionNetwork(CtNetworkConfig(1, 2, 8, (6,))).encode(torch.rand(1, 1, 16, 16, 8))


def test_peers_start_differently_and_keep_both_states() -> None:
    peers = Peers(lambda: CtReconstructionNetwork(ct_config("compact")))
    a, b = peers.network("A"), peers.network("B")
    first, second = (peer.classifier.state_dict()["layers.0.weight"] for peer in (a, b))
    assert not torch.equal(first, second)
    assert {name.split(".")[0] for name in peers.state_dict()} == {"a", "b"}
