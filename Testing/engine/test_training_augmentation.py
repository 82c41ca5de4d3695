"""Random changes of radiographs, and the standardisation that training shares with inference."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from SSRKDCore.radiographs.standardise import ROBUST, standardise
from SSRKDCore.training.augmentation import (
    Augmentation,
    augment,
    gaussian_blur,
    standardise_batch,
    vertical_crop,
)

NOTHING = replace(
    Augmentation(), photons=(1e15, 1e15), **{f.name: 0.0 for f in fields(Augmentation) if f.name.endswith("_share")}
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def legs(count: int, side: int = 64) -> torch.Tensor:
    """Line integrals of a rod of bone in a leg, (count, side, side): air, 3 in soft tissue, 5 in bone."""
    column = torch.arange(side, dtype=torch.float32)[None, None, :]
    image = 3.0 * ((column - side / 2).abs() < side * 0.35) + 2.0 * ((column - side / 2).abs() < side * 0.1)
    return image.expand(count, side, side).contiguous()


def test_augmentation_is_seeded_and_finite_and_leaves_its_input_alone() -> None:
    images = legs(12)
    first, coverage = augment(images, seeded(5))
    again, _ = augment(images, seeded(5))
    other, _ = augment(images, seeded(6))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.isfinite(first).all() and first.shape == coverage.shape == images.shape
    assert torch.equal(images, legs(12)) and set(coverage.unique().tolist()) <= {0.0, 1.0}


def test_bone_stays_denser_than_soft_tissue_and_that_than_air() -> None:
    images, _ = augment(legs(64), seeded(0), replace(Augmentation(), marker_share=0.0, shade_share=0.0))
    rows = slice(16, 48)
    bone, soft, air = (images[:, rows, first:last].mean(dim=(1, 2)) for first, last in ((28, 36), (14, 20), (2, 8)))
    # Lower ends of display windows reach above soft tissue now and then, and make it as black as air.
    assert (bone > soft).all() and (soft >= air - 0.02).all()


def test_without_any_change_images_stay_as_they_are() -> None:
    images = legs(4)
    same, coverage = augment(images, seeded(0), NOTHING)
    assert torch.allclose(same, images, atol=1e-4) and (coverage == 1).all()
    assert augment(images.half(), seeded(0), NOTHING)[0].dtype == torch.float32


def test_noise_has_the_variance_of_counted_photons() -> None:
    images = torch.full((2, 200, 200), 2.0)
    noisy, _ = augment(images, seeded(1), replace(NOTHING, photons=(1e4, 1e4)))
    assert float((noisy - images).std()) == pytest.approx(float(np.sqrt(np.exp(2.0) / 1e4)), rel=0.02)


@pytest.mark.parametrize(
    "change",
    [
        {"marker_share": 1.0},
        {"scatter_share": 1.0, "scatter": (0.3, 0.4)},
        {"blur_share": 1.0, "blur": (1.0, 1.3)},
        {"shade_share": 1.0, "shade": (0.1, 0.3)},
        {"curve_share": 1.0},
        {"contrast_share": 1.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_change_can_be_switched_on_alone(change: dict) -> None:
    images = legs(8)
    changed, coverage = augment(images, seeded(3), replace(NOTHING, **change))
    assert (changed - images).abs().amax(dim=(1, 2)).max() > 0.05 and (coverage == 1).all()


def test_scatter_lowers_contrast() -> None:
    images = legs(4)
    veiled, _ = augment(images, seeded(0), replace(NOTHING, scatter_share=1.0, scatter=(0.4, 0.4)))
    contrast = [float(i[:, 20:40, 30:34].mean() - i[:, 20:40, 14:18].mean()) for i in (images, veiled)]
    assert contrast[1] < 0.8 * contrast[0]


def test_collimation_closes_edges_and_nothing_else() -> None:
    images = legs(40)
    settings = replace(NOTHING, collimation_share=0.5)
    same, coverage = augment(images, seeded(2), settings)
    closed = (coverage == 0).any(dim=2).any(dim=1)
    assert 8 < int(closed.sum()) < 32 and torch.allclose(same, images, atol=1e-4)
    assert (coverage[:, 8:56, 8:56] == 1).all()


def test_vertical_crop_leaves_from_the_smallest_share_to_all_rows_open() -> None:
    coverage = vertical_crop(torch.ones(400, 50, 10), seeded(0), 0.7, views=2)
    rows = coverage[:, :, 0]
    assert torch.equal(coverage, rows[:, :, None].expand_as(coverage))
    share = rows.mean(dim=1)
    assert 0.68 <= share.min() < 0.75 and share.max() > 0.95
    # One window, in one piece, alike in the views of a case.
    assert ((rows[:, 1:] != rows[:, :-1]).sum(dim=1) <= 2).all() and torch.equal(rows[0::2], rows[1::2])
    assert (rows[:, 0] == 0).any() and (rows[:, -1] == 0).any()
    assert torch.equal(vertical_crop(torch.ones(2, 50, 10), seeded(0), 1.0), torch.ones(2, 50, 10))
    kept = torch.zeros(2, 50, 10)
    assert torch.equal(vertical_crop(kept, seeded(0), 0.7), kept)
    with pytest.raises(ValueError, match="3 images cannot be 2 a case"):
        vertical_crop(torch.ones(3, 4, 4), seeded(0), 0.7, views=2)


def test_blur_keeps_the_sum_widens_a_point_and_takes_a_width_for_each_image() -> None:
    image = torch.zeros(3, 41, 41)
    image[:, 20, 20] = 1.0
    blurred = gaussian_blur(image, torch.tensor([2.0, 0.0, 1.0]))
    assert torch.allclose(blurred.sum(dim=(1, 2)), torch.ones(3), atol=1e-5)
    position = torch.arange(41.0) - 20
    variance = (blurred.sum(dim=1) * position**2).sum(dim=1)
    assert torch.allclose(variance, torch.tensor([4.0, 0.0, 1.0]), rtol=0.02, atol=1e-6)
    assert torch.allclose(gaussian_blur(image, 2.0)[1], blurred[0]) and torch.equal(blurred[1], image[1])


def test_training_and_inference_standardise_alike() -> None:
    generator = np.random.default_rng(3)
    images = generator.gamma(2.0, 1.0, (5, 80, 60)).astype(np.float32) * generator.uniform(0.1, 9, (5, 1, 1)).astype(
        "f4"
    )
    coverage = np.ones_like(images)
    coverage[1, :7], coverage[2, :, 50:], coverage[3, 11:, 9:] = 0, 0.4, 0
    batch = standardise_batch(torch.from_numpy(images), torch.from_numpy(coverage), 5.0, 95.0, 4.0)
    for index in range(5):
        assert np.allclose(batch[index].numpy(), standardise(images[index], coverage[index], ROBUST), atol=1e-5)


def test_an_image_without_contrast_or_coverage_becomes_zero() -> None:
    images = torch.stack([torch.full((8, 8), 3.0), torch.rand(8, 8, generator=seeded(0))])
    coverage = torch.stack([torch.ones(8, 8), torch.zeros(8, 8)])
    assert torch.equal(standardise_batch(images, coverage, 5.0, 95.0, 4.0), torch.zeros(2, 8, 8))
