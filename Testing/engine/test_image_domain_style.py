"""Statistical style matching: fitted, saved, applied, and left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from test_image_domain_preparation import leg

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs.style_matching import StyleReference, fitted_style, log_power

SIZE = 128


def crop(image: np.ndarray) -> np.ndarray:
    return image[100 : 100 + SIZE, 120 : 120 + SIZE].astype(np.float64)


@pytest.fixture(scope="module")
def style() -> StyleReference:
    noise = np.random.default_rng(2)
    return fitted_style([crop(leg()) + 0.02 * noise.standard_normal((SIZE, SIZE)) for _ in range(5)], "a leg")


def test_it_is_kept_in_a_file(style: StyleReference, tmp_path: Path) -> None:
    style.save(tmp_path / "style.json")
    found = StyleReference.load(tmp_path / "style.json")
    assert found.size == SIZE and found.images == 5 and found.source == "a leg"
    assert found.values == pytest.approx(style.values, abs=1e-5)
    assert (tmp_path / "style.json").stat().st_size < 3000
    text = (tmp_path / "style.json").read_text()
    (tmp_path / "broken.json").write_text(text.replace('"values"', '"value"'))
    with pytest.raises(InputError, match="damaged"):
        StyleReference.load(tmp_path / "broken.json")
    (tmp_path / "other.json").write_text('{"schema": "ssrkd-rig/1"}')
    with pytest.raises(InputError, match="ssrkd-style-reference/1"):
        StyleReference.load(tmp_path / "other.json")


def test_an_image_of_the_style_hardly_changes(style: StyleReference) -> None:
    from SSRKDCore.radiographs.standardise import ROBUST, standardise

    image, whole = crop(leg()), np.ones((SIZE, SIZE))
    plain = standardise(image, whole, ROBUST)
    assert np.abs(style.matched(image, whole) - plain).mean() < 0.1


@pytest.mark.parametrize("kind", ["curve", "blur"])
def test_a_foreign_image_comes_nearer(style: StyleReference, kind: str) -> None:
    from SSRKDCore.radiographs.standardise import ROBUST, standardise

    image, whole = crop(leg()), np.ones((SIZE, SIZE))
    foreign = np.exp(image) if kind == "curve" else ndimage.gaussian_filter(image, 1.0)
    home, before = (standardise(i, whole, ROBUST).astype(float) for i in (image, foreign))
    after = style.matched(foreign, whole).astype(float)
    if kind == "curve":
        assert np.abs(after - home).mean() < 0.6 * np.abs(before - home).mean()
    else:
        fine = slice(6, 14)
        gap = [np.abs(log_power(i) - style.log_power)[fine].mean() for i in (before, after)]
        assert gap[1] < gap[0] - 0.5


def test_what_is_not_covered_stays_without_signal(style: StyleReference) -> None:
    coverage = np.ones((SIZE, SIZE))
    coverage[:, :30] = 0
    found = style.matched(crop(leg()), coverage)
    assert (found[:, :30] == 0).all() and np.isfinite(found).all()


def test_other_sizes_and_empty_lists_are_refused(style: StyleReference) -> None:
    with pytest.raises(InputError, match="128 pixels"):
        style.matched(np.zeros((64, 64)), np.ones((64, 64)))
    with pytest.raises(InputError, match="no images"):
        fitted_style([], "nothing")


def spread_style() -> tuple[StyleReference, list[np.ndarray]]:
    """A style of legs that differ in contrast, and their images."""
    noise = np.random.default_rng(3)
    images = [crop(leg()) ** power + 0.02 * noise.standard_normal((SIZE, SIZE)) for power in np.linspace(0.9, 1.1, 9)]
    return fitted_style(images, "legs"), images


def test_an_image_within_the_spread_of_the_training_images_stays_as_it_is() -> None:
    from SSRKDCore.radiographs.standardise import ROBUST, standardise

    look, images = spread_style()
    whole = np.ones((SIZE, SIZE))
    assert look.values_spread.max() > 0.01 and look.log_power_spread.min() > 0
    unchanged = 0
    for image in images[2:-2]:
        difference = np.abs(look.matched(image, whole) - standardise(image, whole, ROBUST))
        unchanged += bool(difference.max() == 0)
        # What is outside is outside by little: one of many levels or bands.
        assert difference.mean() < 0.02
    assert unchanged >= 2


def test_an_image_outside_the_spread_is_brought_to_its_border_and_no_farther() -> None:
    look, _ = spread_style()
    whole = np.ones((SIZE, SIZE))
    foreign = np.exp(2 * crop(leg()))
    levels = np.linspace(0, 1, len(look.values))
    after = np.quantile(look.matched(foreign, whole).astype(float), levels)
    beyond = np.abs(after - look.values) - 2 * look.values_spread
    assert beyond.max() < 0.05 and np.isclose(np.abs(beyond), 0, atol=0.02).any()


def test_the_fingerprint_follows_the_statistics_and_survives_the_file(style: StyleReference, tmp_path: Path) -> None:
    style.save(tmp_path / "style.json")
    assert StyleReference.load(tmp_path / "style.json").fingerprint == style.fingerprint
    other = fitted_style([crop(leg())], "one leg")
    assert other.fingerprint != style.fingerprint
