"""The anti-scatter grid: what it lets through, its lines on the image, and its shade where it is off centre."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def grid_transmission(
    images: Tensor, pixel_mm: Tensor, lines_per_mm: Tensor, amplitude: Tensor, turn: Tensor, cut_off: Tensor
) -> Tensor:
    """Relative transmission (N, H, W) of a stationary grid, mean about 1.

    Lamellae lie along the columns. Lines finer than pixels fold down to moire, since the pattern is sampled at pixel centres.

    images: (N, H, W), for shape and device. lines_per_mm: (N,), 3 to 8 on the detector. amplitude: (N,) of the lines, 0 for a moving
    grid. turn: (N,) radians by which the grid is turned. cut_off: (N,) how much the signal falls from one side of the image to the other
    because the grid's focus is not the tube's (off-centre or off-focus), as a share.
    """
    rows, columns = images.shape[1:]
    row = (torch.arange(rows, dtype=images.dtype, device=images.device) - rows / 2)[None, :, None]
    column = (torch.arange(columns, dtype=images.dtype, device=images.device) - columns / 2)[None, None, :]
    size, frequency, strength, angle, fall = (
        value[:, None, None] for value in (pixel_mm, lines_per_mm, amplitude, turn, cut_off)
    )
    across = (column * torch.cos(angle) + row * torch.sin(angle)) * size
    lines = 1 + strength * torch.cos(2 * math.pi * frequency * across)
    return lines * (1 + fall * column / columns)
