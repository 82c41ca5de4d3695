"""What differs between one radiograph and the next, applied to line integrals during training."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur images (N, H, W) by a Gaussian of `sigma` pixels; the rim is continued."""
    if sigma < 0.2:
        return images
    radius = max(1, math.ceil(3 * sigma))
    position = torch.arange(-radius, radius + 1, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (position / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(images[:, None], (radius,) * 4, mode="replicate")
    rows = functional.conv2d(padded, kernel[None, None, :, None])
    return functional.conv2d(rows, kernel[None, None, None, :])[:, 0]


def _scattered(images: Tensor, fraction: float) -> Tensor:
    """Add a smooth veil of scattered radiation: `fraction` of the local mean intensity, blurred over a tenth of the image."""
    intensity = torch.exp(-images)
    small = functional.avg_pool2d(intensity[:, None], 8)
    veil = functional.interpolate(gaussian_blur(small[:, 0], 3.0)[:, None], size=images.shape[1:], mode="bilinear")[
        :, 0
    ]
    return -torch.log(intensity + fraction * veil)


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def augment(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random blur, scatter, noise, display curve and collimation.

    Parameters
    ----------
    images: (N, H, W) line integrals.
    generator: source of all randomness.

    Returns images (N, H, W) and coverage (N, H, W), 1 where the collimator is open.
    """
    result, coverage = images.clone(), torch.ones_like(images)
    count, height, width = images.shape
    for index in range(count):
        image = result[index : index + 1]
        if _uniform(generator, 0, 1) < 0.4:
            image = _scattered(image, _uniform(generator, 0.0, 0.6))
        if _uniform(generator, 0, 1) < 0.6:
            image = gaussian_blur(image, _uniform(generator, 0.2, 1.3))
        photons = math.exp(_uniform(generator, math.log(2e3), math.log(3e5)))
        image = image + torch.randn(image.shape, generator=generator) * torch.sqrt(torch.exp(image) / photons)
        if _uniform(generator, 0, 1) < 0.5:
            low, high = image.min(), image.max()
            curve = ((image - low) / (high - low)).clamp(0, 1)
            window = _uniform(generator, 0.0, 0.35), _uniform(generator, 0.85, 1.0)
            curve = ((curve - window[0]) / (window[1] - window[0])).clamp(0, 1)
            image = curve ** _uniform(generator, 0.6, 1.7)
        if _uniform(generator, 0, 1) < 0.25:
            top, bottom, left, right = (
                int(_uniform(generator, 0, 0.12) * side) for side in (height, height, width, width)
            )
            window_mask = torch.zeros_like(image)
            window_mask[:, top : height - bottom, left : width - right] = 1
            coverage[index] = window_mask[0]
        result[index] = image[0]
    return result, coverage


def standardise_batch(images: Tensor, coverage: Tensor, low: float, high: float, limit: float) -> Tensor:
    """The method "robust" of `radiographs.standardise` for a batch (N, H, W)."""
    result = torch.zeros_like(images)
    levels = torch.tensor([low, 50.0, high]) / 100
    for index in range(len(images)):
        seen = coverage[index] >= 0.5
        bottom, middle, top = torch.quantile(images[index][seen], levels)
        values = ((images[index] - middle) / ((top - bottom) / 2).clamp(min=1e-6)).clamp(-limit, limit)
        result[index] = torch.where(seen, values, torch.zeros(()))
    return result
