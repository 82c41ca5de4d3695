"""With how many digits the network computes, and where that is possible.

In bfloat16 (8 bits of mantissa, the exponent of float32) the factors and results of the large products are rounded,
while each sum is float32: convolutions, feature tables and the classifier's hidden layers. Positions, interpolation and
its weights, depths, biases and the last layer stay float32, so a point is looked up where it is, and logits are float32.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from SSRKDCore.errors import InputError
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork

#: By name; the first is the exact one and the default.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
DEFAULT_PRECISION = "float32"


def supported_precisions(device: torch.device) -> tuple[str, ...]:
    """The precisions in which a device computes natively, float32 first."""
    return ("float32", "bfloat16") if _has_bfloat16(device) else ("float32",)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The torch type of a precision.

    Raises InputError for an unknown name, and for a device that would only imitate it, slower than float32.
    """
    if name not in PRECISIONS:
        raise InputError(f"There is no precision '{name}': use one of {', '.join(PRECISIONS)}.")
    if name not in supported_precisions(device):
        raise InputError(
            f"The {device.type} device of this machine does not compute in {name} natively: use --precision float32."
        )
    return PRECISIONS[name]


def precision_after_move(name: str, device: torch.device, say: Callable[[str], None]) -> torch.dtype:
    """The torch type of a precision on the device to which a reconstruction had to move: float32, and one sentence to
    `say`, where that device lacks it.
    """
    if name in supported_precisions(device):
        return PRECISIONS[name]
    say(f"The {device.type} device does not compute in {name} natively: going on in float32.")
    return PRECISIONS[DEFAULT_PRECISION]


def with_encoders_in(network: XrayReconstructionNetwork, precision: torch.dtype) -> XrayReconstructionNetwork:
    """A network whose encoders have rounded weights and that shares all others with the given one, which stays as it
    is; the given one itself in float32.
    """
    if precision == torch.float32:
        return network
    # What is in the memo is not copied: weights are rounded once, or shared.
    memo: dict[int, nn.Parameter] = {id(weight): weight for weight in network.parameters()}
    for weight in network.encoders.parameters():
        memo[id(weight)] = nn.Parameter(weight.detach().to(precision), requires_grad=False)
    return copy.deepcopy(network, memo)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        # oneDNN takes bfloat16 on any processor with AVX-512, and imitates it where the instructions are absent.
        # torch before 2.6 cannot tell.
        known = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
        return any(bool(has()) for has in known if has is not None)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
