"""Slices through both sources weaken both views of one body alike: a misstated scale or height is measured."""

from __future__ import annotations

import numpy as np
import pytest
from trust_scenes import balls, room, shadow

from SSRKDCore.geometry.calibration.slice_profiles import ProfileMatch, profile_match
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.trust.stand_ins import with_magnification


def _found(rig: Rig, side: str, stated: Rig) -> ProfileMatch:
    images = [shadow(view, balls(side)) for view in rig.views]
    found = profile_match(images, stated.views, stated.field_of_view)
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
    found = profile_match([5.0 * images[0] + 3.0, images[1]], rig.views, rig.field_of_view)
    assert found is not None and abs(found.percent) < 0.5


def test_blank_images_say_nothing() -> None:
    rig = room("right")
    assert profile_match([np.ones((300, 300))] * 2, rig.views, rig.field_of_view) is None
