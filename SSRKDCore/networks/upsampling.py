"""Bicubic enlargement by two as two small matrix products.

Along one axis, bicubic interpolation is a fixed linear map from n samples to 2n samples. Two products with that [2n, n]
matrix (one an axis) give what `torch.nn.functional.interpolate(scale_factor=2, mode="bicubic", align_corners=True)`
gives, several times faster on a CPU, with an equally simple gradient.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

#: The free parameter of the cubic convolution kernel (Keys 1981) that torch uses.
CUBIC_PARAMETER = -0.75


def _cubic_kernel(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel at a distance in samples."""
    a = CUBIC_PARAMETER
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def bicubic_doubling_matrix(size: int) -> np.ndarray:
    """The [2*size, size] float64 matrix that doubles a row of samples, first and last samples kept in place."""
    positions = np.arange(2 * size) * ((size - 1) / (2 * size - 1))
    first = np.floor(positions).astype(int)
    matrix = np.zeros((2 * size, size))
    for offset in (-1, 0, 1, 2):
        # Beyond the ends the nearest sample is repeated.
        source = np.clip(first + offset, 0, size - 1)
        np.add.at(matrix, (np.arange(2 * size), source), _cubic_kernel(positions - (first + offset)))
    return matrix


@lru_cache(maxsize=64)
def _doubling_tensor(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    # A tensor first made in inference mode could not be used for training afterwards.
    with torch.inference_mode(False):
        return torch.from_numpy(bicubic_doubling_matrix(size)).to(device=device, dtype=dtype)


def upsample_bicubic_by_two(images: Tensor) -> Tensor:
    """Doubles the last two axes of images [B, C, H, W] -> [B, C, 2H, 2W], keeping the memory format.

    Equal, up to rounding, to bicubic `interpolate` with align_corners=True.
    """
    batch, channels, height, width = images.shape
    along_rows = _doubling_tensor(height, images.device, images.dtype)
    along_columns = _doubling_tensor(width, images.device, images.dtype)
    if images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous():
        # Channels vary fastest: multiply from the left with the channels riding along, so that nothing is copied.
        pixels = images.permute(0, 2, 3, 1)
        wide = torch.matmul(along_columns, pixels)
        tall = torch.matmul(along_rows, wide.reshape(batch, height, 2 * width * channels))
        return tall.view(batch, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)
    return torch.matmul(along_rows, torch.matmul(images, along_columns.t()))
