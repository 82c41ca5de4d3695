"""The V-Net: a CT volume to feature volumes at four resolutions.

Milletari et al., "V-Net" (2016), with batch normalisation, plain (not residual) convolution blocks and added skip
connections, and four output heads of equal width.
"""

from __future__ import annotations

from torch import Tensor, nn

from SSRKDCore.networks.config import CtNetworkConfig

#: The sides of a volume must be multiples of this (four halvings).
SIZE_MULTIPLE = 16


def _normalised(convolution: nn.Module, out_features: int) -> list[nn.Module]:
    return [convolution, nn.BatchNorm3d(out_features), nn.ReLU()]


def _convolutions(count: int, in_features: int, out_features: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(count):
        before = in_features if index == 0 else out_features
        layers += _normalised(nn.Conv3d(before, out_features, 3, padding=1), out_features)
    return nn.Sequential(*layers)


def _halving(in_features: int, out_features: int) -> nn.Sequential:
    return nn.Sequential(*_normalised(nn.Conv3d(in_features, out_features, 2, stride=2), out_features))


def _doubling(in_features: int, out_features: int) -> nn.Sequential:
    return nn.Sequential(*_normalised(nn.ConvTranspose3d(in_features, out_features, 2, stride=2), out_features))


class VNet(nn.Module):
    """Volumes [B, C, D, H, W] (sides multiples of 16) -> four feature volumes, coarsest first.

    The volumes are [B, head_features, D/8, H/8, W/8], .../4, .../2 and full size.
    """

    #: Convolutions in the blocks from full resolution down to 1/16.
    CONVOLUTIONS = (1, 2, 3, 3, 3)

    def __init__(self, config: CtNetworkConfig) -> None:
        super().__init__()
        widths = [config.base_filters * 2**level for level in range(5)]
        self.down_blocks = nn.ModuleList(
            _convolutions(count, config.input_channels if level == 0 else widths[level], widths[level])
            for level, count in enumerate(self.CONVOLUTIONS)
        )
        self.halvings = nn.ModuleList(_halving(widths[level], widths[level + 1]) for level in range(4))
        # Coarse to fine: levels 3, 2, 1, 0.
        levels = range(3, -1, -1)
        self.doublings = nn.ModuleList(_doubling(widths[level + 1], widths[level]) for level in levels)
        self.up_blocks = nn.ModuleList(
            _convolutions(self.CONVOLUTIONS[level], widths[level], widths[level]) for level in levels
        )
        self.heads = nn.ModuleList(_convolutions(1, widths[level], config.head_features) for level in levels)

    def forward(self, volumes: Tensor) -> list[Tensor]:
        if any(side % SIZE_MULTIPLE for side in volumes.shape[2:]):
            raise ValueError(
                f"the sides of a volume must be multiples of {SIZE_MULTIPLE}, not {tuple(volumes.shape[2:])}"
            )
        x = self.down_blocks[0](volumes)
        skips = []
        for halving, block in zip(self.halvings, self.down_blocks[1:], strict=True):
            skips.append(x)
            x = block(halving(x))
        outputs = []
        for doubling, block, head, skip in zip(
            self.doublings, self.up_blocks, self.heads, reversed(skips), strict=True
        ):
            x = block(doubling(x) + skip)
            outputs.append(head(x))
        return outputs
