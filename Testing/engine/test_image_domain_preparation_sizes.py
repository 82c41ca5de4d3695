"""Preparing finds the same on images of every size: blades, letters, both; and leaves metal and the leg alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from SSRKDCore.drr.clutter import blade_openness
from SSRKDCore.evaluation.experiments.glyphs import glyph
from SSRKDCore.radiographs.collimation import block_means
from SSRKDCore.radiographs.exposed_field import flat_corners
from SSRKDCore.radiographs.preparation import prepared_for_network
from SSRKDCore.radiographs.radiograph import Radiograph

SIZES = (400, 900, 1760)


def leg(size: int) -> np.ndarray:
    """An upright leg with a bone, line integrals, slightly noisy: (size, size)."""
    row, column = (np.indices((size, size)) + 0.5) / size - 0.48
    soft = 2.0 * np.sqrt(np.clip(1 - (column / (0.21 + 0.06 * np.exp(-((row / 0.15) ** 2)))) ** 2, 0, None))
    bone = np.sqrt(np.clip(1 - ((column + 0.05) / 0.09) ** 2, 0, None)) * (np.abs(row) > 0.02)
    noise = 0.01 * np.random.default_rng(1).standard_normal(soft.shape)
    return np.asarray(soft + bone + noise, dtype=np.float32)


def letters(image: np.ndarray, places: tuple[tuple[float, float], ...], value: float) -> np.ndarray:
    """Where letters of 5 % of the image's side were drawn."""
    size, mask = len(image), np.zeros(image.shape, dtype=bool)
    shape = glyph("R", round(0.05 * size))
    for row, column in places:
        top, left = round(row * size), round(column * size)
        mask[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
    image[mask] = value
    return mask


def openness(size: int, sides: tuple[float, ...], turn: float) -> np.ndarray:
    return blade_openness(
        torch.zeros(1, size, size), torch.tensor([sides]), torch.tensor([turn]), torch.tensor([0.004])
    )[0].numpy()


@pytest.mark.parametrize("size", SIZES)
def test_letters_are_filled_wherever_they_stand_and_metal_stays(size: int) -> None:
    clean = leg(size)
    clean[size // 2 : size // 2 + size // 6, size // 2 - size // 50 : size // 2] = 9.0
    image = clean.copy()
    mask = letters(image, ((0.04, 0.04), (0.5, 0.08), (0.9, 0.85)), 2.6)
    made = prepared_for_network(Radiograph(image))
    assert len(made.remarks) == 1 and "letters" in made.remarks[0] and made.coverage.all()
    assert np.abs(made.image - clean)[mask].max() < 0.2
    near = ndimage.binary_fill_holes(ndimage.binary_dilation(mask, iterations=3))
    assert np.array_equal(made.image[~near], image[~near])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("turn", [-0.1, 0.0, 0.12])
def test_turned_blades_and_letters_between_them_are_found(size: int, turn: float) -> None:
    image, is_open = leg(size), openness(size, (0.1, 0.13, 0.1, 0.12), turn)
    mask = letters(image, ((0.7, 0.19),), 2.6)
    # Lead of its own texture, denser than the leg.
    lead = 3.6 + 0.02 * np.random.default_rng(2).standard_normal(image.shape)
    image = np.asarray(image * is_open + lead * (1 - is_open), dtype=np.float32)
    made = prepared_for_network(Radiograph(image))
    assert ["collimator" in made.remarks[0], "letters" in made.remarks[1]] == [True, True] and not made.warnings
    assert (made.coverage == (is_open > 0.5)).mean() > 0.97
    assert made.image[mask].max() < 1.0


@pytest.mark.parametrize("size", SIZES)
def test_means_over_blocks_count_what_they_have(size: int) -> None:
    image = leg(size)
    for block in (1, 6, 11):
        edges = np.arange(0, size, block)
        sums = np.add.reduceat(np.add.reduceat(image.astype(np.float64), edges, axis=0), edges, axis=1)
        counts = np.diff(np.append(edges, size))
        np.testing.assert_allclose(block_means(image, block), sums / np.outer(counts, counts), rtol=1e-12)


def test_flat_corners_are_the_parts_that_reach_two_of_them() -> None:
    image = leg(300)
    image[:, :20] = image[:, -20:] = image[100:120, 100:120] = 0.0
    found = flat_corners(image, 0.0)
    assert found[:, :20].all() and found[:, -20:].all() and not found[:, 20:-20].any()
    image[0, 0] = image[-1, 0] = image[0, -1] = 1.0
    assert not flat_corners(image, 0.0).any()
