"""Occupancy fields written with numpy, for the search, which asks with tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from SSRKDCore.reconstruction.field_evaluation import LogitField

ArrayField = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def tensor_field(field: ArrayField) -> LogitField:
    """The field that answers indices z, y, x, tensors (N,) each, with the logits (N, classes) of a numpy one."""

    def asked(z: Tensor, y: Tensor, x: Tensor) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(field(z.numpy(), y.numpy(), x.numpy())))

    return asked
