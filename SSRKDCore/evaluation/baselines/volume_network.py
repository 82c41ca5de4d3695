"""The network of the baseline "volume CNN": a 3D encoder-decoder from a back-projected volume to a class for each voxel."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from SSRKDCore.anatomy import CLASS_COUNT


def _block(inputs: int, outputs: int, groups: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (inputs, outputs):
        layers += [nn.Conv3d(before, outputs, 3, padding=1), nn.GroupNorm(groups, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class VolumeNetwork(nn.Module):
    """Volumes (B, views, G, G, G) -> logits (B, 5, G, G, G), G a multiple of 2^levels.

    A 3D U-Net, as Kasten et al. (2020) have it, with group normalisation in place of batch normalisation, since a step holds few volumes.

    Args:
        views: channels of the input. filters: of the first level; they double with each of `levels` halvings.
    """

    GROUPS: ClassVar[int] = 4

    def __init__(self, views: int, filters: int, levels: int) -> None:
        super().__init__()
        widths = [filters * 2**level for level in range(levels + 1)]
        self.down = nn.ModuleList(
            _block(views if level == 0 else widths[level - 1], width, self.GROUPS) for level, width in enumerate(widths)
        )
        self.halving = nn.MaxPool3d(2)
        upwards = range(levels - 1, -1, -1)
        self.doublings = nn.ModuleList(nn.ConvTranspose3d(widths[i + 1], widths[i], 2, stride=2) for i in upwards)
        self.up = nn.ModuleList(_block(2 * widths[i], widths[i], self.GROUPS) for i in upwards)
        self.head = nn.Conv3d(filters, CLASS_COUNT, 1)

    def forward(self, volumes: Tensor) -> Tensor:
        skips = []
        x = volumes
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.halving(x))
            skips.append(x)
        skips.pop()
        for doubling, block in zip(self.doublings, self.up, strict=True):
            x = block(torch.cat([doubling(x), skips.pop()], dim=1))
        return self.head(x)
