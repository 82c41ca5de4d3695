"""From pixel positions to the coordinates of feature maps, and the sampling of the maps there."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Array = TypeVar("Array", np.ndarray, Tensor)


def normalised_coordinates(pixels: Array, rows: int, columns: int) -> Array:
    """Pixel positions [..., 2] as (row, column), pixel centres at integers, to (row, column) from -1 to 1.

    -1 and 1 are the outer edges of the first and last pixel: (pixel + 0.5) * 2 / size - 1. This is the published
    projection, which divides the position on the detector by half the detector's width. What the network takes as the
    position of -1 on its feature map is another matter: `XrayNetworkConfig.sampling`.
    """
    size: Array
    if isinstance(pixels, Tensor):
        size = torch.tensor([rows, columns], dtype=pixels.dtype, device=pixels.device)
    else:
        size = np.array([rows, columns], dtype=np.result_type(pixels, np.float32))
    return (pixels + 0.5) * 2 / size - 1


def sample_feature_map(feature_map: Tensor, coordinates: Tensor, align_corners: bool) -> Tensor:
    """Bilinear samples of a feature map [B, F, h, w] at coordinates [B, N, 2] (row, column) -> [B, F, N].

    Zero outside the map.
    """
    grid = coordinates.flip(-1).unsqueeze(2)  # grid_sample wants (column, row)
    samples = functional.grid_sample(
        feature_map, grid, mode="bilinear", padding_mode="zeros", align_corners=align_corners
    )
    return samples.squeeze(3)


def sample_feature_volume(feature_volume: Tensor, coordinates: Tensor) -> Tensor:
    """Trilinear samples of a volume [B, F, D, H, W] at coordinates [B, 3, N] -> [B, F, N].

    Component i runs along array axis 2 + i, from -1 at the centre of the first voxel to 1 at that of the last. Zero
    outside.
    """
    grid = coordinates.flip(1).transpose(1, 2)[:, :, None, None, :]  # grid_sample wants the last axis first
    samples = functional.grid_sample(feature_volume, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return samples[:, :, :, 0, 0]
