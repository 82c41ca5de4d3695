"""Filtering images in the frequency domain, many at once, each with a pixel size of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def filtered(images: Tensor, pixel_mm: Tensor, transfer: Callable[[Tensor], Tensor], margin_mm: float) -> Tensor:
    """Images convolved with what a transfer function describes.

    Parameters
    ----------
    images: (N, H, W). pixel_mm: (N,) pixel size.
    transfer: frequencies (N, H', W') in cycles/mm -> factor of the same shape; 1 at frequency 0 keeps the mean.
    margin_mm: how far the kernel reaches; so much is mirrored at the rim (as far as the image goes), the rest wraps.

    Returns (N, H, W) of the images' type.
    """
    rows, columns = images.shape[1:]
    wanted = int(torch.ceil(margin_mm / pixel_mm.min()))
    down, across = min(wanted, rows - 1), min(wanted, columns - 1)
    padded = functional.pad(images[None], (across, across, down, down), mode="reflect")[0]
    shape = padded.shape[1:]
    along_rows = torch.fft.fftfreq(shape[0], dtype=images.dtype, device=images.device)[None, :, None]
    along_columns = torch.fft.rfftfreq(shape[1], dtype=images.dtype, device=images.device)[None, None, :]
    frequency = torch.sqrt(along_rows**2 + along_columns**2) / pixel_mm[:, None, None]
    spectrum = torch.fft.rfft2(padded) * transfer(frequency)
    return torch.fft.irfft2(spectrum, s=shape)[:, down : down + rows, across : across + columns]
