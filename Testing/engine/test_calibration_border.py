"""Balls and markers at the edge of what the image shows: measured as elsewhere while enough of them is seen, and refused when not."""

from __future__ import annotations

import calibration_scenes as scenes
import numpy as np
import pytest

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.ball import measure_ball
from SSRKDCore.geometry.calibration.marker_detection import detect_markers

DIAMETER = 25.4
SHAPE = (240, 260)
VIEW = scenes.ap_view(*SHAPE)
#: Of the ball's shadow at the isocentre, pixels.
RADIUS = DIAMETER / 2 * 1.15 / 0.4


def background() -> np.ndarray:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.asarray(1 + 0.3 * np.sin(columns / 60) + 0.2 * np.cos(rows / 50))


def at(row: float, column: float) -> list[float]:
    """Where a thing lies in the isocentre's plane that is seen at a pixel, mm."""
    middle = (np.array(SHAPE) - 1) / 2
    return [(column - middle[1]) * 0.4 / 1.15, 0.0, (middle[0] - row) * 0.4 / 1.15]


@pytest.mark.parametrize("seen", [1.15, 1.0, 0.7])
@pytest.mark.parametrize("corner", [False, True], ids=["side", "corner"])
def test_a_ball_at_the_border_of_the_image(seen: float, corner: bool) -> None:
    """Its centre as many radii from the border. In a corner two sides are cut off, and a click is needed."""
    place = at(seen * RADIUS if corner else 120.0, seen * RADIUS)
    image = scenes.with_ball(background(), VIEW, place, DIAMETER, 1.0, 4.0, 1)
    row, column = VIEW.project(place)[0]
    near = (row + 4, column + 4) if corner else None
    measured, _ = measure_ball(image, DIAMETER, 0.4, 1150.0, near, tolerance_mm=0.0)
    assert measured.magnification == pytest.approx(VIEW.magnification(place), rel=2e-3)


@pytest.mark.parametrize(("seen", "level"), [(1.1, 6.0), (1.0, 6.0), (0.75, 6.0), (1.1, 0.0), (1.0, 0.0)])
def test_a_ball_at_the_edge_of_the_collimator(seen: float, level: float) -> None:
    """The blade's shadow, dense or set to nothing by the maker, is no part of the ball or of its surroundings."""
    blade = 40
    place = at(120.0, blade + seen * RADIUS)
    image = scenes.with_ball(background(), VIEW, place, DIAMETER, 1.0, 4.0, 1)
    image[:, :blade] = level + np.random.default_rng(0).normal(0.0, 0.05 if level else 0.0, (SHAPE[0], blade))
    measured, _ = measure_ball(image, DIAMETER, 0.4, 1150.0, tolerance_mm=0.0)
    assert measured.magnification == pytest.approx(VIEW.magnification(place), rel=2e-3)


def test_a_ball_of_which_half_is_missing_is_refused() -> None:
    place = at(120.0, 0.2 * RADIUS)
    image = scenes.with_ball(background(), VIEW, place, DIAMETER, 1.0, 4.0, 1)
    with pytest.raises(InputError, match="No ball"):
        measure_ball(image, DIAMETER, 0.4, 1150.0)
    with pytest.raises(InputError, match="No ball"):
        measure_ball(image, DIAMETER, 0.4, 1150.0, near=(120.0, 3.0))


@pytest.mark.parametrize("seen", [2.0, 1.4, 1.1])
def test_a_marker_that_is_seen_whole_is_found_at_the_border(seen: float) -> None:
    radius = 2.5 * 1.15 / 0.4
    place = at(SHAPE[0] - 1 - seen * radius, seen * radius)
    image = np.random.default_rng(0).normal(1.0, 0.02, SHAPE) + 0.3 * scenes.sphere_chords(VIEW, place, 2.5)
    (disc,) = detect_markers(image, (4.0, 11.0))
    np.testing.assert_allclose([disc.row, disc.column], VIEW.project(place)[0], atol=0.1)


def test_a_marker_that_the_border_cuts_is_left_out() -> None:
    place = at(120.0, 0.6 * 2.5 * 1.15 / 0.4)
    image = np.random.default_rng(0).normal(1.0, 0.02, SHAPE) + 0.3 * scenes.sphere_chords(VIEW, place, 2.5)
    assert not detect_markers(image, (4.0, 11.0))
