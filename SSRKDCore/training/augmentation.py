"""What differs between one radiograph and the next, applied to line integrals during training.

Rooms, detectors and the makers' image processing, at random and strongly, so that a network trained on simulated images holds for real
ones: "strong domain randomisation" of C. Gao et al., "Synthetic data accelerates the development of generalizable learning-based
algorithms for X-ray image analysis", Nature Machine Intelligence 5, 2023. Here each change is one that an X-ray system makes. What
moves the image on the detector is not here but in `random_rigs`, where it stays calibrated. The ranges are guesses.

All images of a batch are worked on at once, on their own device; every random number comes from one torch.Generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Range = tuple[float, float]

_SMALL = 1e-6


@dataclass(frozen=True)
class Augmentation:
    """How often (shares of images) and how far (limits of uniform distributions) images are changed.

    Attributes
    ----------
    marker_share, marker_side, marker_integral: side letters and calibration beads: up to three rectangles of lead; their sides as shares
        of the image's, and the line integral that they add.
    scatter_share, scatter: scattered radiation: the factor of p exp(-p), see `_scattered`; a scatter to primary ratio near p times this.
    blur_share, blur: focal spot and detector, standard deviation in pixels.
    photons: quanta a pixel without an object, drawn on a logarithmic scale; every image is noisy. The variance of a line integral p is
        then exp(p) / photons (Poisson counts, to first order).
    grain_share, grain: correlation of the noise, standard deviation in pixels.
    shade_share, shade: heel effect and uneven exposure: amplitude of a plane and a paraboloid that are added.
    curve_share, curve_low, curve_high, gamma: a display curve: the window's ends, as shares of the range of values, and its exponent.
    contrast_share, contrast, contrast_scale: local contrast enhancement: how much of the difference to an image blurred by a share of the
        image's side is added.
    collimation_share, collimation: each edge of the collimator, as a share of the image's side that it covers.
    """

    marker_share: float = 0.15
    marker_side: Range = (0.015, 0.08)
    marker_integral: Range = (1.0, 4.0)
    scatter_share: float = 0.4
    scatter: Range = (0.0, 0.4)
    blur_share: float = 0.6
    blur: Range = (0.2, 1.3)
    photons: Range = (2e3, 3e5)
    grain_share: float = 0.4
    grain: Range = (0.3, 0.9)
    shade_share: float = 0.4
    shade: Range = (0.0, 0.3)
    curve_share: float = 0.5
    curve_low: Range = (0.0, 0.35)
    curve_high: Range = (0.85, 1.0)
    gamma: Range = (0.6, 1.7)
    contrast_share: float = 0.3
    contrast: Range = (0.1, 1.2)
    contrast_scale: Range = (0.02, 0.1)
    collimation_share: float = 0.25
    collimation: Range = (0.0, 0.12)


class Draws:
    """One random number (or several) for each image, from the one generator, as (N, 1, 1) tensors on the images' device."""

    def __init__(self, count: int, generator: torch.Generator, device: torch.device) -> None:
        self.count, self.generator, self.device = count, generator, device

    def uniform(self, limits: Range) -> Tensor:
        numbers = torch.rand(self.count, generator=self.generator, device=self.generator.device)
        return (limits[0] + (limits[1] - limits[0]) * numbers).to(self.device)[:, None, None]

    def chosen(self, share: float) -> Tensor:
        """True for about this share of the images."""
        return self.uniform((0.0, 1.0)) < share

    def normal_like(self, images: Tensor) -> Tensor:
        return torch.randn(images.shape, generator=self.generator, device=self.generator.device).to(self.device)


def gaussian_blur(images: Tensor, sigma: float | Tensor) -> Tensor:
    """Blur images (N, H, W) by Gaussians of `sigma` pixels, one for all or (N,) of them; the rim is continued. 0 changes nothing."""
    widths = torch.as_tensor(sigma, dtype=images.dtype, device=images.device).reshape(-1).expand(len(images))
    radius = math.ceil(3 * float(widths.max())) if len(images) else 0
    if radius == 0:
        return images
    position = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    # A width of 0 leaves the middle weight alone.
    kernels = torch.exp(-0.5 * (position / widths[:, None].clamp(min=1e-3)) ** 2)
    kernels = kernels / kernels.sum(dim=1, keepdim=True)
    # One image a channel: each channel has its own kernel.
    padded = functional.pad(images[None], (radius,) * 4, mode="replicate")
    rows = functional.conv2d(padded, kernels[:, None, :, None], groups=len(images))
    return functional.conv2d(rows, kernels[:, None, None, :], groups=len(images))[0]


def smooth(images: Tensor, share_of_side: Tensor) -> Tensor:
    """Blur by a share of the image's side (N,): on a coarse copy, where a wide kernel is small."""
    height, width = images.shape[1:]
    coarse = functional.adaptive_avg_pool2d(images[:, None], (max(1, height // 4), max(1, width // 4)))[:, 0]
    blurred = gaussian_blur(coarse, share_of_side.reshape(-1) * coarse.shape[1])
    return functional.interpolate(blurred[:, None], size=(height, width), mode="bilinear", align_corners=False)[:, 0]


def _position(length: int, images: Tensor) -> Tensor:
    """(length,) pixel positions from 0 to 1."""
    return (torch.arange(length, dtype=images.dtype, device=images.device) + 0.5) / length


def window(images: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """(N, H, W) bool: pixels between these positions (N, 1, 1), from 0 to 1."""
    row, column = _position(images.shape[1], images)[:, None], _position(images.shape[2], images)[None, :]
    return (row >= top) & (row < bottom) & (column >= left) & (column < right)


def _marked(images: Tensor, draws: Draws, settings: Augmentation) -> Tensor:
    marked = draws.chosen(settings.marker_share)
    for _ in range(3):
        top, left = draws.uniform((0.0, 1.0)), draws.uniform((0.0, 1.0))
        bottom, right = top + draws.uniform(settings.marker_side), left + draws.uniform(settings.marker_side)
        lead = window(images, top, bottom, left, right) & marked & draws.chosen(0.6)
        images = images + lead * draws.uniform(settings.marker_integral)
    return images


def _scattered(images: Tensor, draws: Draws, settings: Augmentation) -> Tensor:
    """Adds what the object scatters: p exp(-p) where the line integral is p, spread over a tenth of the image.

    After B. Ohnesorge et al., "Efficient object scatter correction algorithm for third and fourth generation CT scanners", European
    Radiology 9, 1999: rays that were not weakened have scattered nothing.
    """
    share = draws.uniform(settings.scatter) * draws.chosen(settings.scatter_share)
    primary = torch.exp(-images)
    spread = torch.full((len(images),), 0.1, dtype=images.dtype, device=images.device)
    veil = smooth(images.clamp(min=0) * primary, spread)
    return -torch.log((primary + share * veil).clamp(min=1e-30))


def _noisy(images: Tensor, draws: Draws, settings: Augmentation) -> Tensor:
    low, high = settings.photons
    photons = torch.exp(draws.uniform((math.log(low), math.log(high))))
    width = draws.uniform(settings.grain) * draws.chosen(settings.grain_share)
    noise = gaussian_blur(draws.normal_like(images), width)
    # More than e^10 times weakened, a pixel is black: its noise grows no further.
    return images + noise * torch.sqrt(torch.exp(images.clamp(max=10.0)) / photons)


def _shaded(images: Tensor, draws: Draws, settings: Augmentation) -> Tensor:
    strength = draws.uniform(settings.shade) * draws.chosen(settings.shade_share)
    row = 2 * _position(images.shape[1], images)[:, None] - 1
    column = 2 * _position(images.shape[2], images)[None, :] - 1
    angle, bowl = draws.uniform((0.0, 2 * math.pi)), draws.uniform((-1.0, 1.0))
    return images + strength * (torch.cos(angle) * column + torch.sin(angle) * row + bowl * (row**2 + column**2) / 2)


def displayed(images: Tensor, draws: Draws, settings: Augmentation) -> Tensor:
    """Images (N, H, W) after a random display curve: a window and an exponent."""
    low, high = images.amin(dim=(1, 2), keepdim=True), images.amax(dim=(1, 2), keepdim=True)
    relative = (images - low) / (high - low).clamp(min=_SMALL)
    bottom, top = draws.uniform(settings.curve_low), draws.uniform(settings.curve_high)
    curve = ((relative - bottom) / (top - bottom)).clamp(0, 1) ** draws.uniform(settings.gamma)
    return torch.where(draws.chosen(settings.curve_share), curve, images)


def enhanced(images: Tensor, draws: Draws, settings: Augmentation) -> Tensor:
    """Images (N, H, W) with random local contrast enhancement."""
    strength = draws.uniform(settings.contrast) * draws.chosen(settings.contrast_share)
    return images + strength * (images - smooth(images, draws.uniform(settings.contrast_scale)))


def augment(images: Tensor, generator: torch.Generator, settings: Augmentation | None = None) -> tuple[Tensor, Tensor]:
    """Random markers, scatter, blur, noise, shading, display curve, local contrast and collimation; each image its own.

    Parameters
    ----------
    images: (N, H, W) line integrals, any device.
    generator: source of all randomness, on any device; one on the CPU gives the same numbers whatever the images' device.
    settings: how often and how far; None takes the defaults.

    Returns images (N, H, W) float32 and coverage (N, H, W) float32, 1 where the collimator is open.
    """
    settings = settings or Augmentation()
    images = images.float()
    draws = Draws(len(images), generator, images.device)
    images = _scattered(_marked(images, draws, settings), draws, settings)
    images = gaussian_blur(images, draws.uniform(settings.blur) * draws.chosen(settings.blur_share))
    images = _shaded(_noisy(images, draws, settings), draws, settings)
    images = enhanced(displayed(images, draws, settings), draws, settings)
    collimated = draws.chosen(settings.collimation_share)
    top, bottom, left, right = (draws.uniform(settings.collimation) * collimated for _ in range(4))
    return images, window(images, top, 1 - bottom, left, 1 - right).float()


def vertical_crop(coverage: Tensor, generator: torch.Generator, smallest_share: float = 0.7, views: int = 1) -> Tensor:
    """Close the collimator above and below, so that from `smallest_share` to all of the rows stay open, anywhere in the image.

    The paper crops its labelled volumes so; points whose rows are closed stay in training.

    Parameters
    ----------
    coverage: (N, H, W), 1 where the collimator is open. generator: source of all randomness.
    smallest_share: the smallest share of the rows; 1 changes nothing.
    views: so many consecutive images are of one case and are cropped alike.

    Returns coverage (N, H, W). Raises ValueError when N is no multiple of `views`.
    """
    if len(coverage) % views:
        raise ValueError(f"{len(coverage)} images cannot be {views} a case")
    draws = Draws(len(coverage) // views, generator, coverage.device)
    share = draws.uniform((smallest_share, 1.0))
    first = draws.uniform((0.0, 1.0)) * (1 - share)
    first, last = (bound.repeat_interleave(views, dim=0) for bound in (first, first + share))
    whole = torch.zeros_like(first), torch.ones_like(first)
    return coverage * window(coverage, first, last, *whole)


def standardise_batch(images: Tensor, coverage: Tensor, low: float, high: float, limit: float) -> Tensor:
    """The method "robust" of `radiographs.standardise` for a batch.

    Parameters
    ----------
    images, coverage: (N, H, W). low, high: percentiles. limit: of the absolute value of the result.

    Returns (N, H, W) float32, 0 where the coverage is below one half. An image without contrast, which `standardise` refuses, becomes 0
    rather than ending a training run.
    """
    images = images.float()
    seen = coverage >= 0.5
    count = seen.sum(dim=(1, 2))
    # What is not seen sorts behind everything else.
    ordered = images.masked_fill(~seen, math.inf).flatten(1).sort(dim=1).values
    bottom, middle, top = (_percentile(ordered, count, share / 100) for share in (low, 50.0, high))
    values = ((images - middle) / ((top - bottom) / 2).clamp(min=_SMALL)).clamp(-limit, limit)
    usable = seen & (top - bottom > _SMALL)
    return torch.where(usable, values, torch.zeros((), device=images.device))


def _percentile(ordered: Tensor, count: Tensor, share: float) -> Tensor:
    """(N, 1, 1) quantiles of the first `count` (N,) of sorted values (N, P), linearly interpolated as numpy and torch do."""
    place = (count - 1).clamp(min=0).double() * share
    below = place.floor().long()
    above = torch.minimum(below + 1, (count - 1).clamp(min=0))
    first, second = ordered.gather(1, below[:, None])[:, 0], ordered.gather(1, above[:, None])[:, 0]
    quantile = first + (second - first) * (place - below).to(ordered.dtype)
    # Nothing seen at all: any finite value will do.
    return torch.where(count > 0, quantile, torch.zeros_like(quantile))[:, None, None]
