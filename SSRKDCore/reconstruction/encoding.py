"""The images of a rig as feature maps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

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
        rounded = with_encoders_in(network, precision)
        if device.type == "cpu" and precision != torch.float32 and network.config.view_count <= torch.get_num_threads():
            return _side_by_side(rounded, last)
        return rounded.encode(last)[-1]


def _side_by_side(network: XrayReconstructionNetwork, images: Tensor) -> list[Tensor]:
    """As `network.encode`, each view on its own share of torch's threads: small layers keep one thread busy, not all. `network` is a twin
    of the caller's (`precision.with_encoders_in`), and is changed.

    Sums are split otherwise than with all threads, so results differ by rounding; in float32, where results are compared to the bit, views
    take turns.
    """
    threads, views = torch.get_num_threads(), network.config.view_count
    try:
        with ThreadPoolExecutor(views, initializer=torch.set_num_threads, initargs=(threads // views,)) as pool:
            # Inference is each thread's own mode.
            network.__dict__["each_view"] = lambda encoded, of: pool.map(torch.inference_mode()(encoded), of)
            return network.encode(images)[-1]
    finally:
        # Of some libraries below torch the number is not each thread's own.
        torch.set_num_threads(threads)
