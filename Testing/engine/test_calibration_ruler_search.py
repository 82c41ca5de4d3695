"""A ruler beside the knee is found by its ticks; a knee without one has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.ruler_search import FOUND_CONFIDENCE, find_rulers, measure_found_ruler
from SSRKDCore.radiographs import read_radiograph

MAGNIFICATION = 1.12
PIXEL = 0.4 / MAGNIFICATION


def with_ruler(
    image: np.ndarray, center: tuple[float, float], angle: float, length: float, tick: float, pixel: float = PIXEL
) -> np.ndarray:
    """Lead ticks a quarter of their distance wide, 8 mm long, along a line `angle` degrees from the rows' direction."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    down, across = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    along = ((rows - center[0]) * down + (columns - center[1]) * across) * pixel
    beside = ((columns - center[1]) * down - (rows - center[0]) * across) * pixel
    phase = np.abs((along / tick + 0.5) % 1 - 0.5) * tick
    lead = (np.abs(along) < length / 2) & (np.abs(beside) < 4) & (phase < 0.25 * min(tick, 2))
    return np.asarray(gaussian_filter(image + 0.5 * lead, 0.7) + np.random.default_rng(0).normal(0, 0.01, image.shape))


@pytest.fixture(scope="module")
def knee(repository: Path) -> np.ndarray:
    pixels = read_radiograph(repository / "Resources" / "SampleCase" / "ap.dcm").pixels.astype(np.float64)
    return np.asarray(pixels[:360, :360])


@pytest.mark.parametrize(("tick", "angle", "spacing"), [(5.0, 4.0, 0.4), (10.0, 0.0, 0.4), (2.0, -3.0, None)])
def test_a_ruler_beside_the_knee(knee: np.ndarray, tick: float, angle: float, spacing: float | None) -> None:
    image = with_ruler(knee, (180.0, 50.0), angle, 110.0, tick)
    measured, candidates = measure_found_ruler(image, tick, spacing, 0.0)
    assert measured.pixel_size_mm == pytest.approx(PIXEL, rel=4e-3)
    assert candidates[0].confidence >= FOUND_CONFIDENCE
    if spacing is not None:
        assert measured.magnification == pytest.approx(MAGNIFICATION, rel=4e-3)
    # The line lies on the ticks.
    middle = candidates[0].ends.mean(axis=0)
    assert abs(middle[1] - 50.0 - np.tan(np.radians(angle)) * (middle[0] - 180.0)) < 4.5 / PIXEL


@pytest.mark.parametrize(
    ("tick", "angle", "bare"), [(5.0, 0.0, True), (2.0, -3.0, True), (5.0, 4.0, False), (10.0, 4.0, False)]
)
def test_the_ends_told_lie_on_the_ruler(repository: Path, tick: float, angle: float, bare: bool) -> None:
    """The windows in which ticks are looked for reach far beyond a short ruler; edges beside it are no ticks of it."""
    sample = read_radiograph(repository / "Resources" / "SampleCase" / "ap.dcm").pixels.astype(np.float64)
    image = with_ruler(np.ones((500, 500)) if bare else sample[:, :360], (190.0, 50.0), angle, 110.0, tick)
    measured, (found, *_) = measure_found_ruler(image, tick, 0.4, 0.0)
    half = np.cos(np.radians(angle)) * 55.0 / PIXEL
    period = tick / PIXEL
    first, last = sorted(found.ends[:, 0])
    assert 190.0 - half - 1 <= first < 190.0 - half + 1.5 * period
    assert 190.0 + half - 1.5 * period < last <= 190.0 + half + 1
    assert measured.ticks is not None and 110.0 / tick - 2.5 < measured.ticks <= 110.0 / tick + 0.2
    assert measured.magnification == pytest.approx(MAGNIFICATION, rel=4e-3)


def test_a_ruler_that_lies_along_the_columns_direction() -> None:
    image = with_ruler(np.ones((240, 300)), (60.0, 150.0), 87.0, 90.0, 5.0)
    measured, _ = measure_found_ruler(image, 5.0, 0.4, 0.0)
    assert measured.magnification == pytest.approx(MAGNIFICATION, rel=4e-3)


def test_a_knee_and_noise_have_no_ruler(knee: np.ndarray) -> None:
    for image in (knee, np.random.default_rng(0).normal(1, 0.05, (200, 200))):
        assert not [found for found in find_rulers(image, 5.0, 0.4) if found.confidence >= FOUND_CONFIDENCE]
        with pytest.raises(InputError, match="No ruler with ticks 5 mm apart"):
            measure_found_ruler(image, 5.0, 0.4)


def test_the_lines_of_a_grid_are_no_ruler() -> None:
    lines = 0.3 * (np.cos(2 * np.pi * np.arange(240) / 9.0) > 0.5)
    image = np.ones((240, 240)) + lines[:, None] + np.random.default_rng(0).normal(0, 0.01, (240, 240))
    assert not [found for found in find_rulers(image, 2.0, 0.4) if found.confidence >= FOUND_CONFIDENCE]


def test_rulers_that_contradict_one_another_are_refused() -> None:
    image = with_ruler(np.ones((260, 260)), (130.0, 50.0), 0.0, 85.0, 5.0)
    image = with_ruler(image, (130.0, 200.0), 0.0, 85.0, 5.0, 0.8 * PIXEL)
    with pytest.raises(InputError, match="contradict"):
        measure_found_ruler(image, 5.0, 0.4)


@pytest.mark.parametrize(
    ("tick", "words"), [(0.05, "cannot be looked for"), (0.3, "finer than the image"), (60.0, "too few")]
)
def test_impossible_ticks_are_refused(tick: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_rulers(np.ones((100, 100)), tick, 0.4)
