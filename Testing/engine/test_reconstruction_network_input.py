"""What the network is given: which pixels, in which order, on which scale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from knee_model import knee_model, shadow_radiographs
from torch import Tensor, nn

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.network_view import network_view
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.networks.config import segmenter_config
from SSRKDCore.networks.model_folder import Model, ModelInput
from SSRKDCore.reconstruction.network_input import prepare_network_input


class Threshold(nn.Module):
    """A segmenter that calls everything above 1 bone."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([1.0 - images, images - 1.0], dim=1)


def _segmenter() -> Model:
    return Model(Threshold(), segmenter_config("compact"), "segmenter", "threshold", Path(), {}, ModelInput())


@pytest.fixture(scope="module")
def rig() -> Rig:
    return preset("room", rows=300, columns=300, pixel_spacing=(1.4, 1.4))


def test_a_marker_in_space_appears_where_the_derived_view_projects_it(rig: Rig) -> None:
    """Pixels and projection must agree: a bright spot drawn at the shadow of a point stays at its shadow."""
    point = np.array([21.0, -13.0, 34.0])
    images = []
    for image, view in zip(shadow_radiographs(rig), rig.views, strict=True):
        row, column = view.project(point)[0]
        rows, columns = np.indices(image.pixels.shape)
        spot = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 3.0**2))
        images.append(replace(image, pixels=spot.astype(np.float32)))
    prepared = prepare_network_input(images, rig, knee_model(rig))
    assert prepared.images.shape == (1, 2, 1, 128, 128)
    assert prepared.images.dtype == torch.float32
    for image, view in zip(prepared.images[0, :, 0].numpy(), prepared.views, strict=True):
        rows, columns = np.indices(image.shape)
        found = np.array([(image * rows).sum(), (image * columns).sum()]) / image.sum()
        np.testing.assert_allclose(found, view.project(point)[0], atol=0.05)
        assert (view.rows, view.columns) == (128, 128)


def test_views_come_in_the_order_of_training(rig: Rig) -> None:
    images, turned = shadow_radiographs(rig)[::-1], Rig(rig.views[::-1], rig.field_of_view)
    prepared = prepare_network_input(images, turned, knee_model(rig))
    assert [view.name for view in prepared.views] == ["ap", "lateral"]
    straight = prepare_network_input(images[::-1], rig, knee_model(rig))
    torch.testing.assert_close(prepared.images, straight.images)


def test_enhanced_channel_first_background_halved_and_scaled(rig: Rig) -> None:
    model = knee_model(rig, channels=2, segmenter=_segmenter())
    model = replace(model, input=ModelInput(intensity_scale=6.0, background_weight=0.5))
    images = []
    for image in shadow_radiographs(rig):
        pixels = np.full_like(image.pixels, 0.5)
        pixels[:, :150] = 2.0
        images.append(replace(image, pixels=pixels))
    enhanced, plain = prepare_network_input(images, rig, model).images[0, 0].numpy()
    # Left half bone (2), right half background (0.5); both scaled by 6, the background of the first channel halved.
    assert (plain[64, 30], plain[64, 98]) == pytest.approx((12.0, 3.0), abs=1e-5)
    assert (enhanced[64, 30], enhanced[64, 98]) == pytest.approx((12.0, 1.5), abs=1e-5)


def test_standardisation_of_the_model_is_applied(rig: Rig) -> None:
    model = knee_model(rig)
    images = shadow_radiographs(rig)
    plain = prepare_network_input(images, rig, model).images
    scaled = replace(model, input=ModelInput(standardisation={"method": "scale", "factor": 2.5}))
    torch.testing.assert_close(prepare_network_input(images, rig, scaled).images, 2.5 * plain)


def test_the_published_rig_shows_the_whole_detector() -> None:
    rig = preset("published")
    prepared = prepare_network_input(shadow_radiographs(rig), rig, knee_model(rig))
    for view, whole in zip(prepared.views, rig.views, strict=True):
        assert view == whole.resampled(128, 128)
        assert view != network_view(whole, rig.field_of_view, 128)


def test_what_does_not_fit_is_refused(rig: Rig) -> None:
    model, images = knee_model(rig), shadow_radiographs(rig)
    with pytest.raises(InputError, match="1 radiographs for 2 views"):
        prepare_network_input(images[:1], rig, model)
    small = replace(images[0], pixels=images[0].pixels[:-5])
    with pytest.raises(InputError, match=r"ap\.nrrd has 295 x 300 pixels"):
        prepare_network_input([small, images[1]], rig, model)
    broken = images[0].pixels.copy()
    broken[3, 4] = np.nan
    with pytest.raises(InputError, match=r"ap\.nrrd holds values that are not finite"):
        prepare_network_input([replace(images[0], pixels=broken), images[1]], rig, model)
    away = Rig(rig.views, FieldOfView((0.0, 0.0, 600.0), 100.0))
    with pytest.raises(InputError, match="sees nothing of the field of view"):
        prepare_network_input(images, away, model)
    constant = replace(images[0], pixels=np.ones_like(images[0].pixels))
    robust = {"method": "robust", "low_percentile": 5.0, "high_percentile": 95.0, "limit": 4.0}
    standardised = replace(model, input=ModelInput(standardisation=robust))
    with pytest.raises(InputError, match=r"ap\.nrrd: The radiograph is constant"):
        prepare_network_input([constant, images[1]], rig, standardised)


def test_models_of_another_kind_or_number_of_views_are_refused(rig: Rig) -> None:
    with pytest.raises(InputError, match="of kind segmenter"):
        prepare_network_input(shadow_radiographs(rig), rig, _segmenter())
    third = replace(rig.views[0], name="oblique")
    three = Rig((*rig.views, third), rig.field_of_view)
    with pytest.raises(InputError, match="reads 2 views and the rig has 3"):
        prepare_network_input(shadow_radiographs(three), three, knee_model(rig))
    with pytest.raises(InputError, match="segmenter"):
        prepare_network_input(shadow_radiographs(rig), rig, knee_model(rig, channels=2))
