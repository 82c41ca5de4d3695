"""The images of a rig as feature maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor

from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.reconstruction.precision import exact_convolutions, with_encoders_in
from SSRKDCore.side_by_side import side_by_side


def ready_to_encode(network: XrayReconstructionNetwork, precision: torch.dtype) -> XrayReconstructionNetwork:
    """The network as `encode_images` uses it: weights channels last (faster on a CPU), and encoders in a precision.

    In float32 the network itself, changed in layout only; else a twin with rounded encoders, which whoever asks several times makes once
    and hands to all.
    """
    layout = torch.channels_last
    if not all(weight.is_contiguous(memory_format=layout) for weight in network.parameters() if weight.ndim == 4):
        network.to(memory_format=layout)  # type: ignore[call-overload]
    return with_encoders_in(network, precision)


def encode_images(
    network: XrayReconstructionNetwork, images: Tensor, device: torch.device, precision: torch.dtype = torch.float32
) -> list[Tensor]:
    """Feature maps [1, F, h, w] of every view from images [1, V, C, S, S], channels last.

    The maps have the precision that was asked for (see `precision.choose_precision`), and a `PointSampler` computes in
    that of its maps. network: as it is, or from `ready_to_encode`.
    """
    with torch.inference_mode(), exact_convolutions():
        ready = ready_to_encode(network, precision)
        # Every view's image in channels-last order, without a copy later.
        last = images.to(device, precision).permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
        if device.type == "cpu" and precision != torch.float32 and network.config.view_count <= torch.get_num_threads():
            return _side_by_side(ready, last)
        return ready.encode(last)[-1]


def _side_by_side(network: XrayReconstructionNetwork, images: Tensor) -> list[Tensor]:
    """As `network.encode`, each view on its own share of torch's threads: small layers keep one thread busy, not all. `network` is a twin
    of the user's (`precision.with_encoders_in`).

    Sums are split otherwise than with all threads, so results differ by rounding; in float32, where results are compared to the bit, views
    take turns.
    """

    def each_view(encoded: Callable[[int], list[Tensor]], views: Iterable[int]) -> list[list[Tensor]]:
        # Inference is each thread's own mode.
        return side_by_side([partial(torch.inference_mode()(encoded), view) for view in views])

    try:
        network.__dict__["each_view"] = each_view
        return network.encode(images)[-1]
    finally:
        network.__dict__.pop("each_view", None)
