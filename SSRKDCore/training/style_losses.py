"""Losses of one-sided unpaired translation: a critic of patches, and patchwise contrast."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_WIDTHS = (16, 32, 64)
_TONES = 64
_MOST_PIXELS = 1 << 18


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
    """Wasserstein distance between the grey values of two sets of images [B, 1, H, W], each set as a whole."""
    shares = (torch.arange(_TONES, device=images.device) + 0.5) / _TONES
    one, other = (torch.quantile(given.float().flatten()[:: max(1, given.numel() // _MOST_PIXELS)], shares)
                  for given in (images, wanted))  # fmt: skip
    return (one - other).abs().mean()


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
