"""Losses of one-sided unpaired translation: a critic of patches, and patchwise contrast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from SSRKDCore.networks.style_network import detail_bands

_WIDTHS = (16, 32, 64)
_TONES = 64
_MOST_PIXELS = 1 << 16
#: Of the standardised image: finer differences than a 12 bit screen shows.
_LEAST_DETAIL = 1e-3


class PatchCritic(nn.Module):
    """Says of each patch of an image [B, 1, H, W] whether it looks simulated (1) or not (0): [B, 1, h, w].

    The patch discriminator of P. Isola et al., "Image-to-image translation with conditional adversarial networks",
    CVPR 2017, small.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((1, *_WIDTHS), _WIDTHS, strict=False):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(_WIDTHS[-1], 1, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)

    def frozen(self, images: Tensor) -> Tensor:
        """The same answer, through which gradients reach the images and not the critic."""
        values = {name: value.detach() for name, value in self.named_parameters()}
        return torch.func.functional_call(self, values, (images,))


class PatchHeads(nn.Module):
    """Projects the features of places of each level into the space in which they are compared.

    widths: channels of each level.
    """

    def __init__(self, widths: Sequence[int], features: int = 64) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, features), nn.ReLU(), nn.Linear(features, features)) for width in widths
        )

    def forward(self, levels: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Unit vectors (B, P, F) of the places (P,), flat indices of pixels, of each level [B, C, h, w]."""
        return [
            functional.normalize(head(level.flatten(2)[:, :, place].transpose(1, 2)), dim=-1)
            for head, level, place in zip(self.heads, levels, places, strict=True)
        ]


def tone_distance(images: Tensor, wanted: Tensor) -> Tensor:
    """Wasserstein distance between the grey values of each image [B, 1, H, W] and of the one that it is to look like."""
    return (_quantiles(images) - _quantiles(wanted)).abs().mean()


def fineness_distance(images: Tensor, wanted: Tensor) -> Tensor:
    """The same of the size of fine detail, on a logarithmic scale and over the bands that the network can change (`style_network`).

    Flat places, where noise is, fill most quantiles, and edges the last ones: less noise cannot be had by blurring edges alone.
    """
    terms = [
        (_quantiles(torch.log(one.abs() + _LEAST_DETAIL)) - _quantiles(torch.log(other.abs() + _LEAST_DETAIL))).abs()
        for one, other in zip(detail_bands(images), detail_bands(wanted), strict=True)
    ]
    return torch.stack(terms).mean()


def unevenness(chosen: Tensor) -> Tensor:
    """How much what `StyleNetwork.chosen` does differs from one place to the next (total variation).

    A room has one curve and one detector, and its scatter changes slowly; what changes within a bone's width can move its edges.
    """
    return chosen.diff(dim=2).abs().mean() + chosen.diff(dim=3).abs().mean()


def _quantiles(images: Tensor) -> Tensor:
    """(64, B) grey values of each image [B, 1, H, W] at equally spaced shares of its pixels."""
    shares = (torch.arange(_TONES, device=images.device) + 0.5) / _TONES
    flat = images.float().flatten(1)
    return torch.quantile(flat[:, :: max(1, flat.shape[1] // _MOST_PIXELS)], shares, dim=1)


def restandardised(images: Tensor, seen: Tensor, how: Mapping[str, Any]) -> Tensor:
    """Images [B, 1, H, W] brought back to the median and range that standardisation gives every image (`radiographs.standardise`).

    seen: the same shape, bool; what was not seen does not count and becomes 0.
    """
    flat = images.float().masked_fill(~seen, torch.nan).flatten(1)
    shares = torch.tensor([how["low_percentile"], 50.0, how["high_percentile"]], device=images.device) / 100
    low, middle, high = (value[:, None, None, None] for value in torch.nanquantile(flat, shares, dim=1))
    values = ((images - middle) / ((high - low).clamp(min=1e-3) / 2)).clamp(-how["limit"], how["limit"])
    return values.masked_fill(~seen, 0.0)


def drawn_places(levels: Sequence[Tensor], count: int) -> list[Tensor]:
    """(P,) flat indices of pixels of each level, at most `count`, by torch's own randomness."""
    found = []
    for level in levels:
        pixels = level.shape[2] * level.shape[3]
        found.append(torch.randperm(pixels, device="cpu")[: min(count, pixels)].to(level.device))
    return found


def patch_contrast(queries: Sequence[Tensor], keys: Sequence[Tensor], temperature: float) -> Tensor:
    """Cross entropy of finding each place of the translated image among the places of the image before.

    Park et al. 2020, equations 3 to 5, with the other places of the same image as negatives.

    queries, keys: unit vectors (B, P, F) of each level; no gradient goes into the keys.
    """
    terms = []
    for query, key in zip(queries, keys, strict=True):
        likeness = query @ key.detach().transpose(1, 2) / temperature
        right = torch.arange(likeness.shape[1], device=likeness.device).expand(len(likeness), -1)
        terms.append(functional.cross_entropy(likeness.flatten(0, 1).float(), right.flatten()))
    return torch.stack(terms).mean()
