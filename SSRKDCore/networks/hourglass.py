"""The stacked hourglass: one image to feature maps at a quarter of its size.

Newell et al., "Stacked hourglass networks for human pose estimation" (2016), in the form that pixel-aligned implicit
functions use (group normalisation, average-pool down, bicubic up, the three-branch residual block of Bulat and
Tzimiropoulos 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from SSRKDCore.networks.config import XrayNetworkConfig, norm_group_count
from SSRKDCore.networks.upsampling import upsample_bicubic_by_two


def _group_norm(channels: int, groups: int) -> nn.GroupNorm:
    return nn.GroupNorm(norm_group_count(channels, groups), channels)


class ResidualBlock(nn.Module):
    """Three 3x3 convolutions in a row whose outputs (1/2, 1/4, 1/4 of the channels) stand side by side, plus the input.

    [B, in, H, W] -> [B, out, H, W]. Where in and out differ, the input passes a normalised 1x1 convolution.
    """

    def __init__(self, in_features: int, out_features: int, groups: int) -> None:
        super().__init__()
        half, quarter = out_features // 2, out_features // 4
        self.norm1 = _group_norm(in_features, groups)
        self.conv1 = nn.Conv2d(in_features, half, 3, padding=1, bias=False)
        self.norm2 = _group_norm(half, groups)
        self.conv2 = nn.Conv2d(half, quarter, 3, padding=1, bias=False)
        self.norm3 = _group_norm(quarter, groups)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, padding=1, bias=False)
        self.shortcut: nn.Sequential | None = None
        if in_features != out_features:
            self.shortcut = nn.Sequential(
                _group_norm(in_features, groups), nn.ReLU(), nn.Conv2d(in_features, out_features, 1, bias=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(functional.relu(self.norm1(x)))
        second = self.conv2(functional.relu(self.norm2(first)))
        third = self.conv3(functional.relu(self.norm3(second)))
        residual = x if self.shortcut is None else self.shortcut(x)
        return torch.cat((first, second, third), dim=1) + residual


class Hourglass(nn.Module):
    """One level of an hourglass: full resolution beside a path at half resolution, which is a further level.

    [B, F, H, W] -> [B, F, H, W]; H and W are multiples of 2**depth.
    """

    def __init__(self, depth: int, features: int, groups: int) -> None:
        super().__init__()
        self.beside = ResidualBlock(features, features, groups)
        self.down = ResidualBlock(features, features, groups)
        self.inside: Hourglass | ResidualBlock = (
            Hourglass(depth - 1, features, groups) if depth > 1 else ResidualBlock(features, features, groups)
        )
        self.up = ResidualBlock(features, features, groups)

    def forward(self, x: Tensor) -> Tensor:
        low = self.up(self.inside(self.down(functional.avg_pool2d(x, 2))))
        return self.beside(x) + upsample_bicubic_by_two(low)


class HourglassStage(nn.Module):
    """One hourglass of the stack with its output layers.

    `forward(x)` gives the feature map of the stage and the input of the next stage (None for the last stage).
    """

    def __init__(self, config: XrayNetworkConfig, last: bool) -> None:
        super().__init__()
        features = config.features
        self.hourglass = Hourglass(config.hourglass_depth, features, config.norm_groups)
        self.block = ResidualBlock(features, features, config.norm_groups)
        self.conv = nn.Conv2d(features, features, 1)
        self.norm = _group_norm(features, config.norm_groups)
        self.output = nn.Conv2d(features, features, 1)
        self.features_back = None if last else nn.Conv2d(features, features, 1)
        self.output_back = None if last else nn.Conv2d(features, features, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        features = functional.relu(self.norm(self.conv(self.block(self.hourglass(x)))))
        output = self.output(features)
        if self.features_back is None or self.output_back is None:
            return output, None
        return output, x + self.features_back(features) + self.output_back(output)


class ImageEncoder(nn.Module):
    """Stem and stacked hourglasses: images [B, C, S, S] -> one feature map [B, F, S/4, S/4] a stack."""

    def __init__(self, config: XrayNetworkConfig) -> None:
        super().__init__()
        stem, groups = config.stem_features, config.norm_groups
        self.stem_conv = nn.Conv2d(config.input_channels, stem, 7, stride=2, padding=3)
        self.stem_norm = _group_norm(stem, groups)
        self.stem_block1 = ResidualBlock(stem, 2 * stem, groups)
        self.stem_block2 = ResidualBlock(2 * stem, 2 * stem, groups)
        self.stem_block3 = ResidualBlock(2 * stem, config.features, groups)
        self.stages = nn.ModuleList(HourglassStage(config, last=i == config.stacks - 1) for i in range(config.stacks))

    def forward(self, images: Tensor) -> list[Tensor]:
        x = functional.relu(self.stem_norm(self.stem_conv(images)))
        x = functional.avg_pool2d(self.stem_block1(x), 2)
        following: Tensor | None = self.stem_block3(self.stem_block2(x))
        outputs = []
        for stage in self.stages:
            output, following = stage(following)
            outputs.append(output)
        return outputs
