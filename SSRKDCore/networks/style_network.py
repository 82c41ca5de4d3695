"""The generator of unpaired translation: a real radiograph in, the same radiograph as a simulated one would look out.

One-sided, after T. Park et al., "Contrastive learning for unpaired image-to-image translation", ECCV 2020: there is no
way back to be learnt, which halves the work. What it can change is little on purpose, after M. Gharbi et al., "Deep
bilateral learning for real-time image enhancement", SIGGRAPH 2017: at a fraction of the resolution the network chooses a
curve of tones and how much fine detail to add, and both are applied to the image at full resolution. It has no means to
draw an edge, or to move one by more than a curve of tones does.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from SSRKDCore.networks.config import norm_group_count
from SSRKDCore.networks.style_config import StyleConfig

_HIGHEST_TONE = 3.0
#: Sides in pixels of the averages whose differences are the bands of fine detail.
_DETAIL_SIDES = (3, 9)


def _convolution(before: int, after: int, size: int, groups: int, stride: int = 1) -> nn.Sequential:
    """Convolution that continues the image at its rim, normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, size, stride=stride, padding=size // 2, padding_mode="replicate", bias=False),
        nn.GroupNorm(norm_group_count(after, groups), after),
        nn.ReLU(),
    )


class _Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, features: int, groups: int) -> None:
        super().__init__()
        self.first = _convolution(features, features, 3, groups)
        self.second = nn.Conv2d(features, features, 3, padding=1, padding_mode="replicate")

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class StyleNetwork(nn.Module):
    """Standardised images [B, 1, H, W] (sides multiples of `config.size_multiple`) -> the same in the other style.

    An untrained network changes nothing.
    """

    def __init__(self, config: StyleConfig) -> None:
        super().__init__()
        self.config = config
        widths, groups = config.widths, config.norm_groups
        self.entry = _convolution(1, widths[0], 5, groups)
        self.halvings = nn.ModuleList(
            _convolution(before, after, 3, groups, stride=2) for before, after in pairwise(widths)
        )
        self.blocks = nn.Sequential(*(_Residual(widths[-1], groups) for _ in range(config.blocks)))
        # The network sees no absolute tones behind its normalisations; the mean image of each place brings them back.
        self.choice = nn.Conv2d(widths[-1] + 1, config.knots + len(_DETAIL_SIDES), 1)
        nn.init.zeros_(self.choice.weight)
        assert self.choice.bias is not None
        nn.init.zeros_(self.choice.bias)

    def levels(self, images: Tensor) -> list[Tensor]:
        """What the network sees of images: after the entry, after each halving, and behind the blocks."""
        found = [self.entry(images)]
        for halving in self.halvings:
            found.append(halving(found[-1]))
        return [*found, self.blocks(found[-1])]

    def level_widths(self) -> list[int]:
        """Channels of each of `levels`."""
        return [*self.config.widths, self.config.widths[-1]]

    def chosen(self, images: Tensor, deepest: Tensor | None = None) -> Tensor:
        """What the network does at each place of its lowest resolution, [B, K + 2, h, w]: a curve of K knots, and two gains of detail.

        deepest: [B, F, h, w], the last of the images' `levels`, for whoever computed it in another precision; None computes it.
        """
        deepest = self.levels(images)[-1] if deepest is None else deepest.to(images.dtype)
        coarse = functional.avg_pool2d(images, self.config.size_multiple)
        return self.choice(torch.cat([deepest, coarse], dim=1))

    def forward(self, images: Tensor, deepest: Tensor | None = None) -> Tensor:
        if any(side % self.config.size_multiple for side in images.shape[2:]):
            raise ValueError(
                f"the sides of an image must be multiples of {self.config.size_multiple}, not {tuple(images.shape[2:])}"
            )
        chosen = self.chosen(images, deepest)
        chosen = functional.interpolate(chosen, images.shape[2:], mode="bilinear", align_corners=False)
        change = _on_curves(images, chosen[:, : self.config.knots])
        for band, gain in zip(detail_bands(images), chosen[:, self.config.knots :].split(1, dim=1), strict=True):
            change = change + gain * band
        return images + change


def _on_curves(images: Tensor, curves: Tensor) -> Tensor:
    """[B, 1, H, W]: at each pixel the value of its own piecewise linear curve [B, K, H, W] of the tone there."""
    knots = curves.shape[1]
    tones = images.clamp(-_HIGHEST_TONE, _HIGHEST_TONE)
    position = (tones + _HIGHEST_TONE) * ((knots - 1) / (2 * _HIGHEST_TONE))
    lower = position.detach().floor().clamp(max=knots - 2).long()
    # Two knots a pixel count; weights of all of them would be a picture for each.
    before, after = curves.gather(1, lower), curves.gather(1, lower + 1)
    return before + (position - lower) * (after - before)


def detail_bands(images: Tensor) -> list[Tensor]:
    """Bands of detail of images [B, 1, H, W]: what averaging over 3 pixels takes away, and what over 9 more."""
    found, before = [], images
    for side in _DETAIL_SIDES:
        padded = functional.pad(images, (side // 2,) * 4, mode="replicate")
        # Along one side and then the other: a few additions a pixel in place of a square of them.
        after = functional.avg_pool2d(functional.avg_pool2d(padded, (side, 1), stride=1), (1, side), stride=1)
        found.append(before - after)
        before = after
    return found
