"""From a kind and a configuration to a network: the one place that knows which class belongs to which kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from SSRKDCore.errors import InputError
from SSRKDCore.networks.config import CtNetworkConfig, NetworkConfig, SegmenterConfig, XrayNetworkConfig
from SSRKDCore.networks.ct_network import CtReconstructionNetwork
from SSRKDCore.networks.style_config import StyleConfig
from SSRKDCore.networks.style_network import StyleNetwork
from SSRKDCore.networks.unet import UNet
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork


@dataclass(frozen=True)
class _Kind:
    config: type[NetworkConfig]
    network: type[nn.Module]


_KINDS = {
    "xray": _Kind(XrayNetworkConfig, XrayReconstructionNetwork),
    "ct": _Kind(CtNetworkConfig, CtReconstructionNetwork),
    "segmenter": _Kind(SegmenterConfig, UNet),
    "style": _Kind(StyleConfig, StyleNetwork),
}

#: "xray" (radiographs to bones), "ct" (CT to bones), "segmenter" (radiograph to bone or not), "style" (real radiograph to the look
#: of a simulated one).
KINDS = tuple(_KINDS)


def kind_of(config: NetworkConfig) -> str:
    """The kind of network that a configuration describes."""
    return next(name for name, kind in _KINDS.items() if isinstance(config, kind.config))


def build_network(config: NetworkConfig) -> nn.Module:
    """A network with fresh weights."""
    return _KINDS[kind_of(config)].network(config)


def use_channels_last(network: nn.Module) -> nn.Module:
    """Stores the weights of a 2D network with channels varying fastest, in place; same numbers, faster on a CPU.

    A 3D network stays as it is.
    """
    if any(parameter.ndim == 5 for parameter in network.parameters()):
        return network
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs


def config_from_dict(kind: str, values: Mapping[str, Any]) -> NetworkConfig:
    """The configuration of a kind. Raises InputError for an unknown kind or a configuration that does not fit it."""
    if kind not in _KINDS:
        raise InputError(f"There is no network kind {str(kind)[:60]!r}; this version knows {', '.join(KINDS)}.")
    return _KINDS[kind].config.from_dict(values)
