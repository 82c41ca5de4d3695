"""Large tensors without the price of clearing them: on a CPU a good part of a search's time went into memory that nobody read.

torch has the C library take memory from the system, for a fine grid thousands of pages of 4 KiB, each of which is cleared at its first
touch. numpy asks for large pages where the system has them, and takes zeros that the system clears where they are touched, and only there.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """As `torch.zeros`; on a CPU cheap where little of it is ever touched."""
    if device.type != "cpu" or 0 in shape:
        return torch.zeros(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, dtype=np.uint8)).view(dtype).view(shape)
