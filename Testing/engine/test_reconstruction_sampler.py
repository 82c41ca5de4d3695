"""The table sampler against the network's own query."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View
from SSRKDCore.networks.config import XrayNetworkConfig
from SSRKDCore.networks.coordinates import normalised_coordinates
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.reconstruction.sampler import PointSampler

FIELD_OF_VIEW = FieldOfView((12.0, -7.0, 30.0), 100.0)
SIZE = 32


def _view(name: str, angle_degrees: float, tilt_degrees: float, pixel_spacing: tuple[float, float]) -> View:
    """A view at any angle, with its detector off centre, so that no symmetry can hide an exchanged axis."""
    angle, tilt = np.radians(angle_degrees), np.radians(tilt_degrees)
    beam = np.array([np.sin(angle) * np.cos(tilt), np.cos(angle) * np.cos(tilt), np.sin(tilt)])
    column = np.cross(beam, [0.0, 0.0, -1.0])
    column = -column / np.linalg.norm(column)
    row = np.cross(beam, column)
    source = np.array(FIELD_OF_VIEW.center) - 700.0 * beam
    origin = source + 1000.0 * beam - 14.0 * pixel_spacing[0] * row - 17.0 * pixel_spacing[1] * column
    return View(name, tuple(source), tuple(origin), tuple(column), tuple(row), pixel_spacing, SIZE, SIZE)


def _network(
    sampling: str, depth: bool, views: int, hidden: tuple[int, ...], separate: bool = True
) -> XrayReconstructionNetwork:
    torch.manual_seed(3)
    config = XrayNetworkConfig(
        input_size=SIZE,
        input_channels=1,
        view_count=views,
        separate_encoders=separate,
        stacks=1,
        features=8,
        hourglass_depth=1,
        stem_features=4,
        norm_groups=2,
        depth_per_view=depth,
        classifier_hidden=hidden,
        kd_features=4,
        sampling=sampling,
    )
    return XrayReconstructionNetwork(config).eval()


def _query(
    network: XrayReconstructionNetwork, features: list[torch.Tensor], views: list[View], points: np.ndarray
) -> np.ndarray:
    """The network's own path, written out from the file formats' definitions."""
    coordinates, depths = [], []
    for view in views:
        pixels, depth = view.project(points)
        coordinates.append(normalised_coordinates(pixels, view.rows, view.columns))
        center_depth = view.project(np.array(FIELD_OF_VIEW.center))[1]
        depths.append((depth - center_depth) / (FIELD_OF_VIEW.size / 2))
    given = torch.tensor(np.stack(depths)[None], dtype=torch.float32) if network.config.depth_per_view else None
    with torch.inference_mode():
        logits = network.query(features, torch.tensor(np.stack(coordinates)[None], dtype=torch.float32), given)
    return logits[0].t().numpy()


VIEWS = [
    _view("ap", 0.0, 0.0, (6.0, 6.0)),
    _view("lateral", 78.0, 9.0, (5.0, 7.0)),
    _view("oblique", -40.0, -15.0, (4.0, 4.0)),
]
VARIANTS = [
    ("published", True, 2, (16, 8)),
    ("published", False, 2, (16, 8)),
    ("pixel_centres", True, 2, (16, 12, 8)),
    ("pixel_centres", False, 1, (6,)),
    ("pixel_centres", True, 3, (16, 12, 8, 6)),
]


def _features(network: XrayReconstructionNetwork, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    side = network.config.feature_map_size
    shape = (1, network.config.features, side, side)
    return [torch.randn(shape, generator=generator) * 5 for _ in range(network.config.view_count)]


def _points(count: int = 3000) -> np.ndarray:
    """Points in the field of view and around it, so that some project beside the maps."""
    spread = np.random.default_rng(0).uniform(-1.6, 1.6, (count, 3))
    return np.array(FIELD_OF_VIEW.center) + spread * FIELD_OF_VIEW.size / 2


@pytest.mark.parametrize(("sampling", "depth", "views", "hidden"), VARIANTS)
def test_equals_the_networks_own_query(sampling: str, depth: bool, views: int, hidden: tuple[int, ...]) -> None:
    network = _network(sampling, depth, views, hidden)
    features = _features(network)
    points = _points()
    expected = _query(network, features, VIEWS[:views], points)
    assert expected.std() > 0.1  # or the comparison says nothing
    sampler = PointSampler(network, features, VIEWS[:views], FIELD_OF_VIEW, block_points=700)
    found = sampler.logits(points)
    assert found.shape == (len(points), 5)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4


def test_maps_from_the_encoder_in_channels_last_order() -> None:
    network = _network("pixel_centres", True, 2, (16, 8), separate=False).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        features = network.encode(torch.randn(1, 2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1)))[-1]
    expected = _query(network, features, VIEWS[:2], _points())
    found = PointSampler(network, features, VIEWS[:2], FIELD_OF_VIEW).logits(_points())
    assert np.abs(found - expected).max() < 1e-4


def test_the_two_sampling_conventions_are_told_apart() -> None:
    published, centred = (_network(name, True, 2, (16, 8)) for name in ("published", "pixel_centres"))
    features = _features(published)
    logits = [
        PointSampler(network, features, VIEWS[:2], FIELD_OF_VIEW).logits(_points()) for network in (published, centred)
    ]
    assert np.abs(logits[0] - logits[1]).max() > 0.1


def test_far_points_see_only_depths_and_biases() -> None:
    network = _network("published", False, 2, (16, 8))
    far = np.array([[4000.0, 4000.0, 4000.0], [-5000.0, 900.0, -8000.0]])
    with torch.inference_mode():
        zeros = torch.zeros(1, network.config.point_features, 1)
        expected = network.classifier(zeros)[0].t().numpy()
    found = PointSampler(network, _features(network), VIEWS[:2], FIELD_OF_VIEW).logits(far)
    assert np.abs(found - expected).max() < 1e-5


def test_no_points_and_wrong_numbers_of_views() -> None:
    network = _network("published", True, 2, (16, 8))
    assert PointSampler(network, _features(network), VIEWS[:2], FIELD_OF_VIEW).logits(np.zeros((0, 3))).shape == (0, 5)
    with pytest.raises(ValueError, match="2 views, not 3"):
        PointSampler(network, _features(network), VIEWS, FIELD_OF_VIEW)
