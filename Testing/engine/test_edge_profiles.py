"""Steepest falls along lines, against scipy's blur and interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from SSRKDCore.evaluation.edge_profiles import steepest_falls

Array = NDArray[np.float64]


def expected(image: Array, pixels: Array, step: Array, along: Array, sigma: list[float], least: float) -> Array:
    """The definition, an image and an array at a time."""
    smooth = gaussian_filter(image.astype(np.float64), sigma, truncate=4.0)
    places = pixels[:, None, :] + along[None, :, None] * step[:, None, :]
    inside = ((places >= 0) & (places <= np.array(image.shape) - 1)).all(axis=2)
    profile = map_coordinates(smooth, np.moveaxis(places, -1, 0), order=1, mode="nearest")
    fall = np.where(inside, -np.gradient(profile, along[1] - along[0], axis=1), -np.inf)
    best = fall[:, 1:-1].argmax(axis=1) + 1
    rows = np.arange(len(pixels))
    value = fall[rows, best]
    peak = (value > least) & (value >= fall[rows, best - 1]) & (value >= fall[rows, best + 1])
    return np.where(peak, along[best], np.nan)


@pytest.mark.parametrize(("shape", "sigma"), [((90, 140), [1.3, 2.1]), ((33, 21), [4.0, 3.0]), ((60, 60), [0.4, 0.2])])
def test_falls_are_those_of_the_blurred_image(shape: tuple[int, int], sigma: list[float]) -> None:
    generator = np.random.default_rng(shape[0])
    image = gaussian_filter(generator.random(shape), 2.0).astype(np.float32)
    # Some lines lie within, some leave the image on every side.
    pixels = generator.uniform(-2.0, np.array(shape) + 1.0, (200, 2))
    angle = generator.uniform(0.0, 2 * np.pi, 200)
    step = np.stack([1.9 * np.cos(angle), 1.1 * np.sin(angle)], axis=1)
    along = np.arange(-3.0, 3.05, 0.1)
    found = steepest_falls(image, pixels, step, along, sigma, 0.002)
    wanted = expected(image, pixels, step, along, sigma, 0.002)
    same = np.isclose(found, wanted, atol=1e-9) | (np.isnan(found) & np.isnan(wanted))
    # Sums are single precision here: of two places that fall as steeply either may be found.
    assert same.mean() > 0.97
    assert 0.2 < np.isfinite(found).mean() < 1.0


def test_an_edge_is_found_where_it_is_and_which_way_it_falls() -> None:
    rows, columns = np.mgrid[:80, :100]
    bright_left = np.where(columns < 62.5, 1.0, 0.0).astype(np.float32)
    pixels = np.array([[40.0, 60.0], [40.0, 60.0], [70.0, 20.0]])
    step = np.array([[0.0, 1.0], [0.0, -1.0], [0.0, 1.0]])
    along = np.arange(-5.0, 5.05, 0.1)
    found = steepest_falls(bright_left, pixels, step, along, [0.5, 0.5], 0.05)
    assert found[0] == pytest.approx(2.5, abs=0.6), "between the pixels 62 and 63"
    assert np.isnan(found[1]), "outwards it rises"
    assert np.isnan(found[2]), "nothing falls there"
    across = np.where(rows < 50, 2.0, 0.0).astype(np.float32)
    down = steepest_falls(across, np.array([[48.0, 10.0]]), np.array([[1.0, 0.0]]), along, [0.5, 0.5], 0.05)
    assert down[0] == pytest.approx(1.5, abs=0.6)
