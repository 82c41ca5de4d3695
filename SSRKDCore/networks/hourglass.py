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
from SSRKDCore.networks.group_normalisation import GroupNormalisation
from SSRKDCore.networks.upsampling import upsample_bicubic_by_two


def _group_norm(channels: int, groups: int) -> GroupNormalisation:
    return GroupNormalisation(norm_group_count(channels, groups), channels)


class PointwiseConvolution(nn.Conv2d):
    """A 1x1 convolution; on images whose channels vary fastest it is the matrix product that it should be.

    torch computes the 1x1 convolution of a single image on a CPU by a slow general path, three times slower.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, 1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        return pointwise(input, self.weight, self.bias)


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """1x1 convolution of images [B, in, H, W] with a weight [out, in, 1, 1], keeping the memory format."""
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        return functional.linear(x.permute(0, 2, 3, 1), weight[:, :, 0, 0], bias).permute(0, 3, 1, 2)
    return functional.conv2d(x, weight, bias)


def _bias(layer: nn.Conv2d) -> Tensor:
    """The bias of a layer that was made with one."""
    assert layer.bias is not None
    return layer.bias


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
                _group_norm(in_features, groups),
                nn.ReLU(inplace=True),
                PointwiseConvolution(in_features, out_features, bias=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(functional.relu_(self.norm1(x)))
        second = self.conv2(functional.relu_(self.norm2(first)))
        third = self.conv3(functional.relu_(self.norm3(second)))
        residual = x if self.shortcut is None else self.shortcut(x)
        return torch.cat((first, second, third), dim=1).add_(residual)


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
        return self.beside(x).add_(upsample_bicubic_by_two(low))


class HourglassStage(nn.Module):
    """One hourglass of the stack with its output layers.

    `forward(x)` gives the feature map of the stage (None in eval mode but for the last stage) and the input of the next
    stage (None for the last stage).
    """

    def __init__(self, config: XrayNetworkConfig, last: bool) -> None:
        super().__init__()
        features = config.features
        self.hourglass = Hourglass(config.hourglass_depth, features, config.norm_groups)
        self.block = ResidualBlock(features, features, config.norm_groups)
        self.conv = PointwiseConvolution(features, features)
        self.norm = _group_norm(features, config.norm_groups)
        self.output = PointwiseConvolution(features, features)
        self.features_back = None if last else PointwiseConvolution(features, features)
        self.output_back = None if last else PointwiseConvolution(features, features)

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        features = functional.relu_(self.norm(self.conv(self.block(self.hourglass(x)))))
        if self.features_back is None or self.output_back is None:
            return self.output(features), None
        if self.training:
            output = self.output(features)
            return output, x + self.features_back(features) + self.output_back(output)
        # Only the next stage reads this stage then, through maps that are all linear: one map does.
        back, out = self.output_back.weight[:, :, 0, 0], self.output.weight[:, :, 0, 0]
        weight = self.features_back.weight + (back @ out)[:, :, None, None]
        bias = _bias(self.features_back) + _bias(self.output_back) + back @ _bias(self.output)
        return None, pointwise(features, weight, bias).add_(x)


class ImageEncoder(nn.Module):
    """Stem and stacked hourglasses: images [B, C, S, S] -> feature maps [B, F, S/4, S/4].

    One map a stack in training mode, only that of the last stack in eval mode.
    """

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
        x = functional.relu_(self.stem_norm(self.stem_conv(images)))
        x = functional.avg_pool2d(self.stem_block1(x), 2)
        following: Tensor | None = self.stem_block3(self.stem_block2(x))
        outputs = []
        for stage in self.stages:
            output, following = stage(following)
            if output is not None:
                outputs.append(output)
        return outputs
