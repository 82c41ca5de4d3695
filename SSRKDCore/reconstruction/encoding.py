"""The images of a rig as feature maps."""

from __future__ import annotations

import torch
from torch import Tensor

from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.reconstruction.precision import exact_convolutions, with_encoders_in


def encode_images(
    network: XrayReconstructionNetwork, images: Tensor, device: torch.device, precision: torch.dtype = torch.float32
) -> list[Tensor]:
    """Feature maps [1, F, h, w] of every view from images [1, V, C, S, S], channels last (faster on a CPU).

    The maps have the precision that was asked for (see `precision.choose_precision`), and a `PointSampler` computes in
    that of its maps.
    """
    layout = torch.channels_last
    if not all(weight.is_contiguous(memory_format=layout) for weight in network.parameters() if weight.ndim == 4):
        network.to(memory_format=layout)  # type: ignore[call-overload]
    with torch.inference_mode(), exact_convolutions():
        # Every view's image in channels-last order, without a copy later.
        last = images.to(device, precision).permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
        return with_encoders_in(network, precision).encode(last)[-1]
