"""Reading a released checkpoint (.pth): recognised by its parameter names, checked tensor by tensor, never trusted.

Released files are {"A": state dict, "B": state dict} (two peers) or one state dict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from SSRKDCore.errors import InputError
from SSRKDCore.networks.build import build_network
from SSRKDCore.networks.checkpoint_file import MAXIMUM_CHECKPOINT_BYTES, read_checkpoint
from SSRKDCore.networks.peers import PEERS, Peer
from SSRKDCore.networks.published_layout import PublishedLayout, recognise
from SSRKDCore.networks.weights_file import fill

_COUNTER = "num_batches_tracked"
_FLOATING = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class PublishedNetwork:
    """A released network in our architecture.

    network: in eval mode, float32, on the CPU; layout: what was recognised; peer: the peer taken, None if the file
    holds one network; source: the file.
    """

    network: nn.Module
    layout: PublishedLayout
    peer: Peer | None
    source: Path


def read_published(path: str | Path, peer: Peer = "A", max_bytes: int = MAXIMUM_CHECKPOINT_BYTES) -> PublishedNetwork:
    """Reads a released checkpoint and fills our network with it.

    Args:
        path: the .pth file: a state dict, or two as {"A": ..., "B": ...}.
        peer: which of two; "A" is the one the authors use.
        max_bytes: larger files are refused unread.

    Raises:
        InputError: the file cannot be read, holds anything but tensors, or its tensors are not those of a released
            network.
    """
    path = Path(path)
    if peer not in PEERS:
        raise InputError(f"There is no peer {peer!r}; use A or B.")
    content = read_checkpoint(path, max_bytes)
    taken: Peer | None = None
    if content.keys() == set(PEERS):
        taken = peer
        content = content[peer]
        if not isinstance(content, Mapping):
            raise InputError(f"{path} is no released checkpoint: its peer {peer} is not a set of named tensors.")
    elif peer != "A":
        raise InputError(f"{path} holds one network, not the two peers A and B; leave --peer out.")
    layout = recognise([name for name in content if isinstance(name, str)])
    if layout is None:
        raise InputError(
            f"{path} is no released SSR-KD network, no parameter name is known; give recon_xray, recon_ct or bone_seg."
        )
    return PublishedNetwork(_fill(path, layout, content), layout, taken, path)


def _fill(path: Path, layout: PublishedLayout, tensors: Mapping[Any, Any]) -> nn.Module:
    _check_names(path, layout, tensors)
    for name, shape in layout.shapes.items():
        _check_tensor(path, name, shape, tensors[name])
    for second, first in layout.aliases.items():
        if not torch.equal(tensors[second], tensors[first]):
            raise InputError(
                f"{path} is inconsistent: {second} and {first} are one tensor but differ; download it again."
            )
    with torch.device("meta"):
        network = build_network(layout.config)
    filled = {}
    for released, ours in layout.parameters.items():
        dtype = torch.int64 if released.endswith(_COUNTER) else torch.float32
        # A copy, so that no view of a foreign file stays behind.
        filled[ours] = tensors[released].detach().to(dtype, copy=True).contiguous()
    return fill(network, filled)


def _check_names(path: Path, layout: PublishedLayout, tensors: Mapping[Any, Any]) -> None:
    missing = sorted(layout.shapes.keys() - tensors.keys())
    unknown = sorted(str(name) for name in tensors if name not in layout.shapes)
    if missing or unknown:
        problem = [f"lacks {_some(missing)}"] if missing else []
        problem += [f"has the unknown {_some(unknown)}"] if unknown else []
        raise InputError(
            f"{path} looks like {layout.name} but {' and '.join(problem)}; give the released file, unchanged."
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(name[:80] for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _check_tensor(path: Path, name: str, shape: tuple[int, ...], value: Any) -> None:
    if (
        not isinstance(value, Tensor)
        or value.layout != torch.strided
        or value.device.type != "cpu"
        or value.is_quantized
    ):
        raise InputError(f"{path} is no released checkpoint: {name} is not a plain tensor.")
    if tuple(value.shape) != shape:
        raise InputError(
            f"{path} does not fit: {name} has shape {tuple(value.shape)}, the released network has {shape}."
        )
    if name.endswith(_COUNTER):
        if value.dtype != torch.int64:
            raise InputError(f"{path} does not fit: {name} is {value.dtype}, not a count.")
        return
    if value.dtype not in _FLOATING:
        raise InputError(f"{path} does not fit: {name} is {value.dtype}, not floating point.")
    if not bool(torch.isfinite(value).all()):
        raise InputError(f"{path} is unusable: {name} holds NaN or infinite values; download it again.")
    if name.endswith("running_var") and bool((value < 0).any()):
        raise InputError(f"{path} is unusable: {name} holds a negative variance; download it again.")
