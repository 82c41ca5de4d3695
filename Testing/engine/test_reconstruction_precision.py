"""Rounded factors: where they are allowed, how far they may move a logit, and what stays as exact as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from knee_model import knee_model, shadow_radiographs
from test_reconstruction_sampler import FIELD_OF_VIEW, SIZE, VIEWS, _features, _network, _points

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.presets import preset
from SSRKDCore.reconstruction import precision
from SSRKDCore.reconstruction.encoding import encode_images, ready_to_encode
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.reconstruction.precision import (
    choose_precision,
    precision_after_move,
    supported_precisions,
    with_encoders_in,
)
from SSRKDCore.reconstruction.sampler import PointSampler

CPU = torch.device("cpu")
#: bfloat16 has 8 bits of mantissa: rounding to nearest is off by at most this share.
ROUNDING = 2.0**-8


def test_float32_is_everywhere_and_bfloat16_where_it_is_native() -> None:
    assert choose_precision("float32", CPU) is torch.float32
    for name in ("cpu", "cuda", "mps"):
        device = torch.device(name)
        assert supported_precisions(device)[0] == "float32"
        if "bfloat16" not in supported_precisions(device):
            with pytest.raises(InputError, match=f"{name} device .* not compute in bfloat16 natively"):
                choose_precision("bfloat16", device)
    assert supported_precisions(torch.device("mps")) == ("float32",)
    with pytest.raises(InputError, match="no precision 'float16'"):
        choose_precision("float16", CPU)


def test_a_reconstruction_refuses_what_its_device_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_has_bfloat16", lambda device: False)
    rig = preset("room")
    with pytest.raises(InputError, match="natively: use --precision float32"):
        reconstruct(shadow_radiographs(rig), rig, knee_model(rig), 32, "cpu", precision="bfloat16")


def test_after_a_move_to_a_device_without_it_float32_goes_on_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(precision, "_has_bfloat16", lambda device: device.type == "cuda")
    assert precision_after_move("bfloat16", torch.device("cuda"), said.append) is torch.bfloat16
    assert not said
    assert precision_after_move("bfloat16", CPU, said.append) is torch.float32
    assert len(said) == 1 and "going on in float32" in said[0]


def test_the_network_itself_is_never_rounded() -> None:
    network = _network("published", True, 2, (16, 8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert with_encoders_in(network, torch.float32) is network
    rounded = with_encoders_in(network, torch.bfloat16)
    assert {value.dtype for value in rounded.encoders.parameters()} == {torch.bfloat16}
    assert rounded.classifier.layers[0].weight is network.classifier.layers[0].weight
    for name, value in network.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, before[name])


def test_encoders_are_rounded_once_for_all_that_ask_them(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _network("pixel_centres", True, 2, (16, 8))
    images = torch.randn(1, 2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    ready = ready_to_encode(network, torch.bfloat16)
    assert with_encoders_in(ready, torch.bfloat16) is ready
    expected = encode_images(network, images, CPU, torch.bfloat16)
    monkeypatch.setattr(torch, "_foreach_copy_", lambda *given: pytest.fail("rounded again"))
    for _ in range(2):
        for a, b in zip(encode_images(ready, images, CPU, torch.bfloat16), expected, strict=True):
            assert torch.equal(a, b)
    assert "each_view" not in ready.__dict__, "threads that have ended are not asked again"
    assert ready_to_encode(network, torch.float32) is network


def test_rounded_maps_are_near_the_exact_ones() -> None:
    network = _network("pixel_centres", True, 2, (16, 8))
    images = torch.randn(1, 2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    exact = encode_images(network, images, CPU)
    rounded = encode_images(network, images, CPU, torch.bfloat16)
    for a, b in zip(exact, rounded, strict=True):
        assert (a.dtype, b.dtype) == (torch.float32, torch.bfloat16)
        # Some twenty roundings in a row, whose errors add up like a random walk.
        assert 0 < float((a - b.float()).std() / a.std()) < 5 * ROUNDING


@pytest.mark.parametrize("hidden", [(6,), (16, 8), (16, 12, 8)])
def test_logits_of_rounded_maps(hidden: tuple[int, ...]) -> None:
    network = _network("published", True, 2, hidden)
    features = _features(network)
    exact = PointSampler(network, features, VIEWS[:2], FIELD_OF_VIEW).logits(_points())
    rounded = [maps.bfloat16() for maps in features]
    found = PointSampler(network, rounded, VIEWS[:2], FIELD_OF_VIEW).logits(_points())
    assert found.dtype == np.float32
    assert 0 < np.abs(found - exact).max() < 4 * ROUNDING * np.abs(exact).max()


def test_positions_and_depths_are_not_rounded() -> None:
    """Maps that say their own column, and a depth: rounded positions would give steps of a quarter of a pixel and more."""
    network = _network("published", True, 2, (6,))
    last = network.classifier.layers[-1]
    with torch.no_grad():
        for parameter in network.classifier.parameters():
            parameter.zero_()
        features = network.config.features
        last.weight[1, 6, 0] = 1.0  # the first channel of the first view
        last.weight[2, 6 + 2 * features, 0] = 1.0  # the depth in the first view
    side = network.config.feature_map_size
    column = torch.zeros(1, features, side, side)
    column[0, 0] = torch.arange(side)  # small whole numbers are exact in bfloat16
    maps = [column, torch.zeros_like(column)]
    inside = _points(500) * 0.2 + 0.8 * np.array(FIELD_OF_VIEW.center)
    exact = PointSampler(network, maps, VIEWS[:2], FIELD_OF_VIEW).logits(inside)
    rounded = PointSampler(network, [m.bfloat16() for m in maps], VIEWS[:2], FIELD_OF_VIEW).logits(inside)
    assert np.ptp(exact[:, 1]) > 0.5 and np.ptp(exact[:, 2]) > 0.1
    np.testing.assert_array_equal(rounded, exact)


@pytest.mark.skipif("bfloat16" not in supported_precisions(CPU), reason="this processor has no bfloat16")
@pytest.mark.parametrize("separate", [True, False])
def test_views_side_by_side_are_the_views_in_turn(separate: bool) -> None:
    network = _network("published", True, 2, (6,), separate)
    generator = torch.Generator().manual_seed(5)
    size = network.config.input_size
    images = torch.randn(1, 2, network.config.input_channels, size, size, generator=generator)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(encode_images(network, images, CPU, torch.bfloat16))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    in_turn, *others = found
    # One view in the other's place would be far off.
    assert float((in_turn[0] - in_turn[1]).float().std()) > 20 * ROUNDING * float(in_turn[0].float().std())
    for side_by_side in others:
        for a, b in zip(in_turn, side_by_side, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            assert float((a.float() - b.float()).std()) < 5 * ROUNDING * float(a.float().std())


def test_hidden_layers_see_pixels_where_they_are() -> None:
    """A first layer that passes on its column: only the value is rounded, not where it is looked up."""
    network = _network("published", True, 2, (6,))
    features, side = network.config.features, network.config.feature_map_size
    first, last = network.classifier.layers[0], network.classifier.layers[-1]
    with torch.no_grad():
        for parameter in network.classifier.parameters():
            parameter.zero_()
        first.weight[1, 0, 0] = last.weight[2, 1, 0] = 1.0
    column = torch.zeros(1, features, side, side)
    column[0, 0] = torch.arange(side)
    maps = [column, torch.zeros_like(column)]
    inside = _points(500) * 0.2 + 0.8 * np.array(FIELD_OF_VIEW.center)
    exact = PointSampler(network, maps, VIEWS[:2], FIELD_OF_VIEW).logits(inside)
    rounded = PointSampler(network, [m.bfloat16() for m in maps], VIEWS[:2], FIELD_OF_VIEW).logits(inside)
    assert np.ptp(exact[:, 2]) > 0.5
    # Four weights, each rounded, and the sum.
    np.testing.assert_allclose(rounded[:, 2], exact[:, 2], rtol=2 * ROUNDING)


def test_depths_reach_the_hidden_layers_unrounded() -> None:
    """A rounded depth would give surfaces steps of a third of a millimetre along the rays."""
    network = _network("published", True, 2, (6,))
    maps = [features.bfloat16() for features in _features(network)]
    sampler = PointSampler(network, maps, VIEWS[:2], FIELD_OF_VIEW)
    points = _points(200)
    rows, weights = sampler._bags(torch.from_numpy(points))
    rounded = weights.to(sampler.tables.precision).double()
    for number, view in enumerate(VIEWS[:2]):
        matrix, center = view.projection_matrix, np.array(FIELD_OF_VIEW.center)
        depth = (points - center) @ matrix[2, :3] / (FIELD_OF_VIEW.size / 2)
        taps = torch.where(rows == sampler.tables.first_depth_row + number, rounded, 0.0).sum(dim=1)
        np.testing.assert_allclose(taps.numpy(), depth, atol=2.0**-16 * np.abs(depth).max())
        assert np.abs(weights.to(torch.bfloat16).double().numpy()[:, 8 + number] - depth).max() > 2.0**-11


@pytest.mark.skipif("bfloat16" not in supported_precisions(CPU), reason="this processor has no bfloat16")
def test_a_reconstruction_in_bfloat16_is_the_same_knee_within_a_voxel_at_its_rim() -> None:
    rig = preset("room")
    model, radiographs = knee_model(rig), shadow_radiographs(rig)
    by_name = {
        name: reconstruct(radiographs, rig, model, 64, "cpu", check_view_order=False, precision=name)
        for name in ("float32", "bfloat16")
    }
    exact, rounded = by_name["float32"].labels, by_name["bfloat16"].labels
    different = exact != rounded
    assert different.mean() < 1e-3
    rim = np.zeros(exact.shape, dtype=bool)
    for axis in range(3):
        for step in (-1, 1):
            rim |= np.roll(exact, step, axis) != exact
    assert rim[different].all()
