"""How many operations a reconstruction takes, and how fast a machine does them: what no better program could undercut.

Counted are the multiplications and additions of the large products (convolutions, feature tables, hidden layers of the
classifier), done one after the other as they stand. Reading memory, interpolation, normalisation and the search come on
top, so the bound is not reached; only another algorithm (fewer products for the same sums) can go below it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from SSRKDCore.networks.config import XrayNetworkConfig
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.reconstruction.devices import synchronise
from SSRKDCore.reconstruction.precision import exact_convolutions

#: Rows, inner size and columns of the product by which a machine's rate is measured: like the classifier's own on a CPU, and enough
#: for all units of a GPU. The convolution is one of the encoder's: features, filters, side.
_PRODUCT = (4096, 1024, 512)
_ACCELERATOR_PRODUCT = (16384, 4096, 4096)
_CONVOLUTION = (256, 128, 128)
_REPEATS = 5


def operation_counts(config: XrayNetworkConfig, evaluated: int) -> dict[str, int]:
    """Multiplications and additions by stage of a reconstruction that asks the classifier for so many points."""
    with torch.device("meta"):
        network = XrayReconstructionNetwork(config).eval()
        images = torch.empty(1, config.view_count, config.input_channels, config.input_size, config.input_size)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.encode(images)
    outputs = (*config.classifier_hidden, config.class_count)
    pixels = config.view_count * config.feature_map_size**2
    return {
        "encode": int(counter.get_total_flops()),
        "tables": 2 * pixels * config.features * sum(outputs),
        "octree": 2 * evaluated * sum(before * after for before, after in pairwise(outputs)),
    }


def arithmetic_rate(device: torch.device, precision: torch.dtype) -> float:
    """Multiplications and additions a second that this machine reaches now in a large product or convolution."""
    rows, inner, columns = _PRODUCT if device.type == "cpu" else _ACCELERATOR_PRODUCT
    features, filters, side = _CONVOLUTION
    with torch.inference_mode(), exact_convolutions():
        left = torch.ones(rows, inner, dtype=precision, device=device)
        right = torch.ones(inner, columns, dtype=precision, device=device)
        image = torch.ones(1, features, side, side, dtype=precision, device=device)
        weight = torch.ones(filters, features, 3, 3, dtype=precision, device=device)
        image, weight = (values.contiguous(memory_format=torch.channels_last) for values in (image, weight))
        return max(
            2.0 * rows * inner * columns / _seconds(lambda: torch.mm(left, right), device),
            18.0 * side**2 * features * filters / _seconds(lambda: functional.conv2d(image, weight, padding=1), device),
        )


def arithmetic_bound(counts: dict[str, int], rate: float) -> dict[str, Any]:
    """JSON-able: the operations by stage, the rate, and the seconds that they take at that rate, by stage and in all."""
    seconds = {stage: count / rate for stage, count in counts.items()}
    return {
        "operations": counts,
        "operations_per_second": rate,
        "seconds": {**seconds, "network": sum(seconds.values())},
    }


def _seconds(job: Callable[[], object], device: torch.device) -> float:
    """The shortest of some turns after one that does not count."""
    job()
    times = []
    for _ in range(_REPEATS):
        synchronise(device)
        start = time.perf_counter()
        job()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return min(times)
