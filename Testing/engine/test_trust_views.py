"""Two views of one body: their scales and heights must agree, and a misstated one is measured."""

from __future__ import annotations

import numpy as np
import pytest
from trust_scenes import balls, room, shadow

from SSRKDCore.geometry.rig import Rig
from SSRKDCore.radiographs.radiograph import DicomGeometry, Radiograph
from SSRKDCore.trust.stand_ins import exchanged, with_magnification
from SSRKDCore.trust.stated_geometry import largest_contradiction
from SSRKDCore.trust.view_scales import ScaleDisagreement, scale_disagreement


def _found(rig: Rig, side: str, stated: Rig) -> ScaleDisagreement:
    images = [shadow(view, balls(side)) for view in rig.views]
    found = scale_disagreement(images, stated.views, stated.field_of_view)
    assert found is not None
    return found


@pytest.mark.parametrize("side", ["right", "left"])
def test_true_views_agree(side: str) -> None:
    rig = room(side)
    found = _found(rig, side, rig)
    assert abs(found.percent) < 0.5 and abs(found.shift_mm) < 0.2 and found.correlation > 0.98


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("percent", [-6.0, -3.0, 3.0, 6.0])
def test_a_misstated_magnification_of_one_view_is_measured(side: str, percent: float) -> None:
    rig = room(side)
    # Pixels that are said to be larger make the view seem to magnify more than the rig's source and detector do.
    for name, sign in (("lateral", 1.0), ("ap", -1.0)):
        found = _found(rig, side, with_magnification(rig, (name,), percent))
        assert found.percent == pytest.approx(sign * percent, abs=0.8)


def test_noise_spreads_the_scales_that_are_possible() -> None:
    rig, generator = room("right"), np.random.default_rng(4)
    images = [shadow(view, balls("right")) for view in rig.views]
    noise = [generator.normal(size=image.shape) for image in images]
    found = []
    for level in (0.0, 0.5, 2.0, 8.0):
        # Epipolar lines average over hundreds of pixels.
        noisy = [image + level * image.max() * part for image, part in zip(images, noise, strict=True)]
        disagreement = scale_disagreement(noisy, rig.views, rig.field_of_view)
        assert disagreement is not None
        assert abs(disagreement.percent) < 3.0 * disagreement.spread_percent
        found.append(disagreement.spread_percent)
    assert found == sorted(found) and found[0] < 0.5 < 3.0 < found[-1]


def test_a_common_scale_of_both_views_cannot_be_seen() -> None:
    rig = room("right")
    found = _found(rig, "right", with_magnification(rig, ("ap", "lateral"), 8.0))
    assert abs(found.percent) < 0.5


def test_a_height_that_differs_is_measured() -> None:
    rig = room("left")
    lateral = rig.view("lateral")
    matrix = np.eye(4)
    matrix[2, 3] = 3.0
    stated = Rig((rig.views[0], lateral.transformed(matrix)), rig.field_of_view)
    assert _found(rig, "left", stated).shift_mm == pytest.approx(3.0, abs=0.3)


def test_brightness_does_not_matter() -> None:
    rig = room("right")
    images = [shadow(view, balls("right")) for view in rig.views]
    found = scale_disagreement([5.0 * images[0] + 3.0, images[1]], rig.views, rig.field_of_view)
    assert found is not None and abs(found.percent) < 0.5


def test_blank_images_say_nothing() -> None:
    rig = room("right")
    assert scale_disagreement([np.ones((300, 300))] * 2, rig.views, rig.field_of_view) is None


def test_spoiling_is_what_it_says() -> None:
    rig = room("right")
    point = np.array(rig.field_of_view.center) + np.array([[0.0, 0.0, 40.0]])
    middle = np.array([(299) / 2, (299) / 2])
    before = rig.view("ap").project(point)[0] - middle
    after = with_magnification(rig, ("ap",), 10.0).view("ap").project(point)[0] - middle
    np.testing.assert_allclose(after * 1.1, before)
    pair = [
        Radiograph(pixels=np.zeros((2, 2), np.float32), view="ap"),
        Radiograph(pixels=np.ones((2, 2), np.float32), view="lateral"),
    ]
    assert [(image.view, float(image.pixels.max())) for image in exchanged(pair)] == [("ap", 1.0), ("lateral", 0.0)]


def test_a_rig_that_contradicts_its_files_is_told() -> None:
    rig = room("right")

    def images(**stated: float) -> list[Radiograph]:
        return [
            Radiograph(
                pixels=np.zeros((300, 300), np.float32),
                pixel_spacing=view.pixel_spacing,
                view=view.name,
                geometry=DicomGeometry("DX", imager_pixel_spacing=view.pixel_spacing, **stated),
            )
            for view in rig.views
        ]

    agreeing = largest_contradiction(images(source_to_detector=1150.0, estimated_magnification=1.15), rig)
    assert agreeing is not None and abs(agreeing.percent) < 1e-6
    wrong = largest_contradiction(images(source_to_detector=1150.0), with_magnification(rig, ("ap", "lateral"), 5.0))
    assert wrong is not None and wrong.percent == pytest.approx(5.0) and "pixel spacing" in wrong.what
    distance = largest_contradiction(images(source_to_detector=1000.0), rig)
    assert distance is not None and distance.percent == pytest.approx(15.0)
    # A calibrated rig has measured its distances, and is believed.
    calibrated = Rig(rig.views, rig.field_of_view, {"calibrations": [{"kind": "object"}]})
    assert largest_contradiction(images(source_to_detector=1000.0), calibrated).percent == pytest.approx(0.0)  # type: ignore[union-attr]
    plain = [Radiograph(pixels=np.zeros((300, 300), np.float32), view=view.name) for view in rig.views]
    assert largest_contradiction(plain, rig) is None
