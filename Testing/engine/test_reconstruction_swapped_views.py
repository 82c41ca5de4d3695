"""Exchanged radiographs are noticed by the bundled model, right ones are left in peace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from SSRKDCore.cases import load_case
from SSRKDCore.networks.config import xray_config
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.reconstruction import swapped_views
from SSRKDCore.reconstruction.encoding import encode_images
from SSRKDCore.reconstruction.network_input import prepare_network_input
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.reconstruction.sampler import PointSampler
from SSRKDCore.reconstruction.swapped_views import WARNING, unsureness_with_one_exchanged, views_look_swapped
from SSRKDCore.resource_files import sample_case_folder


@pytest.mark.parametrize("exchanged", [False, True])
def test_exchanged_views_are_told(repository: Path, exchanged: bool) -> None:
    case = load_case(repository / "Resources" / "SampleCase")
    radiographs = [read_radiograph(case.radiographs[view.name], None, case.intensity) for view in case.rig.views]
    if exchanged:
        # The same pixels under the other name, as an image file without tags would be given.
        first, second = radiographs
        radiographs = [replace(second, view=first.view), replace(first, view=second.view)]
    warnings = reconstruct(radiographs, case.rig, load_model(), resolution=64).warnings
    assert (WARNING in warnings) == exchanged


@pytest.mark.parametrize("exchanged", [False, True])
def test_a_right_order_costs_one_image_of_half_the_pixels(
    repository: Path, exchanged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, model = load_case(repository / "Resources" / "SampleCase"), load_model()
    radiographs = [read_radiograph(case.radiographs[view.name], None, case.intensity) for view in case.rig.views]
    given = prepare_network_input(radiographs[::-1] if exchanged else radiographs, case.rig, model)
    network, place = model.network, torch.device("cpu")
    features = encode_images(network, given.images, place)
    ratio = unsureness_with_one_exchanged(network, given, case.rig.field_of_view, features)
    # On either side of the limit between both, 1.25.
    assert ratio < 1.1 if exchanged else ratio > 1.4
    whole_passes = []
    monkeypatch.setattr(swapped_views, "encode_images", lambda *given: whole_passes.append(1) or encode_images(*given))
    assert views_look_swapped(network, given, case.rig.field_of_view, features) == exchanged
    assert len(whole_passes) == int(exchanged)


@pytest.mark.parametrize(
    ("architecture", "changes", "pixels"),
    [
        ("paper", {}, 4),
        ("published", {}, 4),
        ("compact", {}, 2),
        ("paper", {"input_size": 384}, 3),
        ("paper", {"hourglass_depth": 7}, 0),
    ],
)
def test_how_coarse_the_image_is_follows_from_what_the_network_reads(
    architecture: str, changes: dict[str, int], pixels: int
) -> None:
    assert swapped_views._coarsening(replace(xray_config(architecture), **changes)) == pixels


@pytest.mark.parametrize("exchanged", [False, True])
def test_a_quarter_tells_the_order_as_well(exchanged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As much coarser than what the network reads as the image of a network of 512 pixels is; no such network is at hand."""
    monkeypatch.setattr(swapped_views, "_COARSE_PIXELS", 64)
    case, model = load_case(sample_case_folder()), load_model()
    radiographs = [read_radiograph(case.radiographs[view.name], None, case.intensity) for view in case.rig.views]
    given = prepare_network_input(radiographs[::-1] if exchanged else radiographs, case.rig, model)
    features = encode_images(model.network, given.images, torch.device("cpu"))
    ratio = unsureness_with_one_exchanged(model.network, given, case.rig.field_of_view, features)
    assert ratio < swapped_views._CLEARLY_LESS_SURE if exchanged else ratio > swapped_views._CLEARLY_LESS_SURE


def test_points_are_asked_alike_with_and_without_tables() -> None:
    model, case = load_model(), load_case(sample_case_folder())
    radiographs = [read_radiograph(case.radiographs[view.name]) for view in case.rig.views]
    given = prepare_network_input(radiographs, case.rig, model)
    features = encode_images(model.network, given.images, torch.device("cpu"))
    points = np.random.default_rng(0).normal(case.rig.field_of_view.center, 40.0, (500, 3))
    others = [features[1], features[1].flip(3)]
    plain = swapped_views._queried(model.network, features[0], others, given.views, case.rig.field_of_view, points)
    for second, logits in zip(others, plain, strict=True):
        tabled = PointSampler(model.network, [features[0], second], given.views, case.rig.field_of_view).logits(points)
        np.testing.assert_allclose(logits.numpy(), tabled, atol=2e-3)
