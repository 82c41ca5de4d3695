"""The reference of the released networks: weights and inputs that anyone can regenerate, and the outputs they give.

The released files themselves are not needed: a rule draws weights for every released parameter name from a seed, and
the golden outputs are what the released code computes with them.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from SSRKDCore.errors import InputError
from SSRKDCore.networks.ct_network import CtReconstructionNetwork
from SSRKDCore.networks.unet import UNet
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork

DEFAULT_SEED = 20260

#: Largest absolute difference of any output that an imported network may show.
TOLERANCE = 1e-4

#: Golden files are a few hundred kilobytes.
MAXIMUM_GOLDEN_BYTES = 256 * 1024 * 1024

_SEGMENTER_PIXEL_STEP = 8


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def reference_weights(shapes: Mapping[str, tuple[int, ...]], seed: int = DEFAULT_SEED) -> dict[str, Tensor]:
    """The weights that the rule gives to released parameter names and shapes."""
    return {name: _reference_tensor(name, tuple(shape), seed) for name, shape in shapes.items()}


def _reference_tensor(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.ones(shape, dtype=torch.int64)
    # The two names of one tensor must get the same numbers.
    canonical = name.replace(".downsample.0.", ".bn4.")
    drawn = _generator(seed + zlib.crc32(canonical.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith("running_mean"):
        values = 0.1 * drawn
    elif name.endswith("running_var"):
        values = 1 + 0.1 * np.abs(drawn)
    elif len(shape) > 1:
        values = drawn / np.sqrt(np.prod(shape[1:]))
    elif name.endswith("weight"):
        values = 1 + 0.1 * drawn
    else:
        values = 0.1 * drawn
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def _as_input(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


def reference_xray_inputs(seed: int = DEFAULT_SEED) -> tuple[Tensor, Tensor]:
    """Images [1, 2, 2, 512, 512] and points [1, 2, 256, 2] (row, column) of `recon_xray`."""
    generator = _generator(seed)
    images = generator.random((1, 2, 2, 512, 512))
    return _as_input(images), _as_input(generator.random((1, 2, 256, 2)) * 2.2 - 1.1)


def reference_ct_inputs(seed: int = DEFAULT_SEED) -> tuple[Tensor, Tensor]:
    """Volume [1, 1, 64, 64, 64] and points [1, 3, 256] of `recon_ct`."""
    generator = _generator(seed + 1)
    volume = generator.random((1, 1, 64, 64, 64))
    return _as_input(volume), _as_input(generator.random((1, 3, 256)) * 2 - 1)


def reference_segmenter_input(seed: int = DEFAULT_SEED) -> Tensor:
    """Image [1, 1, 128, 128] of `bone_seg`."""
    return _as_input(_generator(seed + 2).random((1, 1, 128, 128)))


def read_golden(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a golden file (.npz).

    Raises:
        InputError: the file is missing, too large, or no .npz of plain arrays.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > MAXIMUM_GOLDEN_BYTES:
                raise InputError(f"{path} is too large for a file of golden outputs; give the reference's golden.npz.")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name]) for name in arrays.files}
    except OSError as error:
        raise InputError(
            f"{path} cannot be read as golden outputs ({error.strerror or error}); check the path."
        ) from error
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise InputError(f"{path} is not a .npz file of golden outputs; give the reference's golden.npz.") from error


def largest_difference(
    network: nn.Module, golden: Mapping[str, np.ndarray], seed: int = DEFAULT_SEED
) -> dict[str, float]:
    """Runs a published network on the reference inputs of a seed and compares with golden outputs.

    The network is run in eval mode; the points stored in `golden`, if any, are used instead of regenerated ones.

    Returns:
        The largest absolute difference of each output ("recon_xray.logits", ...).

    Raises:
        InputError: `golden` lacks the outputs of this network, or they have another shape.
    """
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            outputs = _outputs(network, golden, seed)
    finally:
        network.train(was_training)
    differences: dict[str, float] = {}
    for name, output in outputs.items():
        expected = _golden_array(golden, name, tuple(output.shape))
        difference = float(np.max(np.abs(output.numpy().astype(np.float64) - expected)))
        # An output that is no number is as far off as can be.
        differences[name] = difference if np.isfinite(difference) else float("inf")
    return differences


def _outputs(network: nn.Module, golden: Mapping[str, np.ndarray], seed: int) -> dict[str, Tensor]:
    if isinstance(network, XrayReconstructionNetwork):
        _require_outputs(golden, "recon_xray.logits", "recon_xray.kd_features")
        images, points = reference_xray_inputs(seed)
        found = network(images, _stored_points(golden, "recon_xray.points", points))
        return {"recon_xray.logits": found.logits[-1], "recon_xray.kd_features": found.kd_features[-1]}
    if isinstance(network, CtReconstructionNetwork):
        _require_outputs(golden, "recon_ct.logits", "recon_ct.features")
        volume, points = reference_ct_inputs(seed)
        of_ct = network(volume, _stored_points(golden, "recon_ct.points", points))
        return {"recon_ct.logits": of_ct.logits[-1], "recon_ct.features": of_ct.features[-1]}
    if isinstance(network, UNet):
        _require_outputs(golden, "bone_seg.logits")
        step = _SEGMENTER_PIXEL_STEP
        return {"bone_seg.logits": network(reference_segmenter_input(seed))[:, :, ::step, ::step]}
    raise TypeError(f"{type(network).__name__} is not a published network")


def _require_outputs(golden: Mapping[str, np.ndarray], *names: str) -> None:
    missing = [name for name in names if name not in golden]
    if missing:
        raise InputError(f"The golden outputs lack {' and '.join(missing)}; verify with a file made for this network.")


def _golden_array(golden: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    array = golden[name]
    if array.shape != shape or array.dtype.kind != "f":
        raise InputError(
            f"The golden {name} is {array.dtype} {array.shape}, not numbers of shape {shape}; it is of another network."
        )
    return array.astype(np.float64)


def _stored_points(golden: Mapping[str, np.ndarray], name: str, regenerated: Tensor) -> Tensor:
    if name not in golden:
        return regenerated
    stored = golden[name]
    if stored.dtype.kind != "f" or stored.ndim != regenerated.ndim or stored.shape[-1] == 0:
        raise InputError(f"The golden {name} is not an array of points; give the reference's golden.npz.")
    return _as_input(stored)
