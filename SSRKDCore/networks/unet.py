"""The U-Net that finds bone in one radiograph (Ronneberger et al. 2015, with batch normalisation and zero padding)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from SSRKDCore.networks.config import SegmenterConfig


def _two_convolutions(in_features: int, out_features: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (in_features, out_features):
        layers += [
            nn.Conv2d(before, out_features, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_features),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Images [B, C, H, W] (sides multiples of `config.size_multiple`) -> logits [B, class_count, H, W]."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.level_features
        self.down_blocks = nn.ModuleList(
            _two_convolutions(config.input_channels if level == 0 else widths[level - 1], width)
            for level, width in enumerate(widths)
        )
        levels = range(len(widths) - 2, -1, -1)
        self.doublings = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2) for level in levels
        )
        self.up_blocks = nn.ModuleList(_two_convolutions(2 * widths[level], widths[level]) for level in levels)
        self.output = nn.Conv2d(widths[0], config.class_count, 1)

    def forward(self, images: Tensor) -> Tensor:
        multiple = self.config.size_multiple
        if any(side % multiple for side in images.shape[2:]):
            raise ValueError(f"the sides of an image must be multiples of {multiple}, not {tuple(images.shape[2:])}")
        x = self.down_blocks[0](images)
        skips = []
        for block in self.down_blocks[1:]:
            skips.append(x)
            x = block(functional.max_pool2d(x, 2))
        for doubling, block, skip in zip(self.doublings, self.up_blocks, reversed(skips), strict=True):
            x = block(torch.cat((skip, doubling(x)), dim=1))
        return self.output(x)
