"""With how many digits the network computes, and where that is possible.

In bfloat16 (8 bits of mantissa, the exponent of float32) the factors and results of the large products are rounded,
while each sum is float32: convolutions, feature tables with the weights by which their rows are added, and the classifier's hidden
layers. Projections, depths and the last layer stay float32, and so are logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from SSRKDCore.errors import InputError
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork

#: By name; the first is the exact one and the default.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
DEFAULT_PRECISION = "float32"

ModuleType = TypeVar("ModuleType", bound=nn.Module)


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
    is; the given one itself in float32, and where its encoders are rounded already.
    """
    if next(network.encoders.parameters()).dtype == precision:
        return network
    twin = _twin(network)
    twin.__dict__["_modules"]["encoders"] = rounded_module(network.encoders, precision)
    return twin


def rounded_module(module: ModuleType, precision: torch.dtype) -> ModuleType:
    """A twin of a module with rounded weights; itself where it has that precision."""
    if next(module.parameters()).dtype == precision:
        return module
    weights = {id(weight): weight.detach() for weight in module.parameters()}
    rounded = {name: torch.empty_like(weight, dtype=precision) for name, weight in weights.items()}
    # All at once: on a GPU some few kernels in place of one for each of hundreds of tensors.
    with torch.no_grad():
        torch._foreach_copy_(list(rounded.values()), list(weights.values()))
    return _with_weights(module, rounded)


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Convolutions of float32 in float32 on an NVIDIA GPU as well: cuDNN rounds their factors to 10 bits (TensorFloat-32) unless told
    not to. torch does not round other products unless it is asked to.
    """
    cudnn = torch.backends.cudnn
    with cudnn.flags(
        enabled=cudnn.enabled, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False
    ):
        yield


def _with_weights(module: ModuleType, weights: Mapping[int, Tensor]) -> ModuleType:
    """A twin of a module whose weights, and those of all modules inside, are those named by the `id` of its own."""
    twin = _twin(module)
    for name, weight in module._parameters.items():
        if weight is not None:
            twin.__dict__["_parameters"][name] = nn.Parameter(weights[id(weight)], requires_grad=False)
    for name, inner in module._modules.items():
        if inner is not None:
            twin.__dict__["_modules"][name] = _with_weights(inner, weights)
    return twin


def _twin(module: ModuleType) -> ModuleType:
    """The same module with lists of its own of weights and inner modules. (A deep copy takes longer than all rounding.)"""
    twin = module.__class__.__new__(module.__class__)
    twin.__dict__.update(module.__dict__)
    for name in ("_parameters", "_modules"):
        twin.__dict__[name] = dict(module.__dict__[name])
    return twin


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
