"""Weights on disk: one safetensors file, its hash, and the check that its tensors are those of a network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from SSRKDCore.errors import InputError

#: Larger weights are refused unread; the largest network of this package has 0.25 GB.
MAXIMUM_WEIGHTS_BYTES = 2 * 1024**3

#: Storage of floating-point weights; in memory they are always float32.
STORAGE_DTYPES = {"float32": torch.float32, "float16": torch.float16}

_BUFFER_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BUFFER_BYTES):
            digest.update(block)
    return digest.hexdigest()


def write_weights(path: Path, network: nn.Module, dtype: str) -> None:
    """Writes the state dict of a network, floating-point tensors as `dtype` ("float32" or "float16").

    Raises:
        InputError: a tensor is not finite, or too large for float16.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        values = tensor.detach().to("cpu")
        if values.is_floating_point():
            values = values.to(STORAGE_DTYPES[dtype])
            if not bool(torch.isfinite(values).all()):
                raise InputError(
                    f"The weights cannot be saved as {dtype}: {name} holds NaN, infinite or too large values."
                )
        stored[name] = values.contiguous()
    # safetensors' own file writer makes a private file (mode 600), useless in a shared installation.
    path.write_bytes(save(stored))


def read_weights(path: Path, network: nn.Module, dtype: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, checked against a network (which may be on the meta device), as float32.

    Names, shapes and types are compared before any tensor is read.

    Raises:
        InputError: the file is no safetensors file, its tensors do not fit the network, or are not finite.
    """
    expected = network.state_dict()
    try:
        _check_header(path, expected, dtype)
        tensors: dict[str, Tensor] = {}
        with safe_open(path, framework="pt", device="cpu") as content:
            for name in expected:
                tensor = content.get_tensor(name)
                # A copy: the tensor itself is a view of the mapped file, which must not be held open.
                tensors[name] = tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
    except OSError as error:
        raise InputError(f"{path} cannot be read as weights ({error.strerror or error}); check the path.") from error
    except (SafetensorError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a safetensors file, or is cut short; get the model folder again.") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{path} is unusable: {name} holds NaN or infinite values; get the model folder again.")
    return tensors


def _check_header(path: Path, expected: Mapping[str, Tensor], dtype: str) -> None:
    with safe_open(path, framework="pt", device="cpu") as content:
        names = set(content.keys())
        missing = sorted(expected.keys() - names)
        unknown = sorted(names - expected.keys())
        if missing or unknown:
            problem = [f"it lacks {len(missing)} tensors such as {missing[0]}"] if missing else []
            problem += [f"it has {len(unknown)} unknown tensors such as {unknown[0][:80]}"] if unknown else []
            raise InputError(
                f"{path} does not fit the architecture: {' and '.join(problem)}; get the model folder again."
            )
        for name, tensor in expected.items():
            part = content.get_slice(name)
            shape, found = tuple(part.get_shape()), part.get_dtype()
            if shape != tuple(tensor.shape):
                raise InputError(
                    f"{path} does not fit the architecture: {name} has shape {shape}, not {tuple(tensor.shape)};"
                    " get the model folder again."
                )
            wanted = _safetensors_dtype(tensor, dtype)
            if found != wanted:
                raise InputError(
                    f"{path} does not fit model.json: {name} is stored as {found}, not {wanted};"
                    " get the model folder again."
                )


def _safetensors_dtype(tensor: Tensor, dtype: str) -> str:
    if tensor.is_floating_point():
        return {"float32": "F32", "float16": "F16"}[dtype]
    return "I64"


def fill(network: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Gives a network (which may be on the meta device) these tensors as its own, and sets eval mode."""
    network.load_state_dict(dict(tensors), strict=True, assign=True)
    network.requires_grad_(True)
    return network.eval()
