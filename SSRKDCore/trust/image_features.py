"""Figures that describe what a network was shown and what it made of it: for comparison with its training.

The network's own features by their mean and spread over the image, as out-of-distribution detection does with a network's deep features
(Lee et al., NeurIPS 2018), and plain statistics of the standardised image: its histogram, and how its power is spread over frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import rfft2
from torch import Tensor

Array = NDArray[np.float64]

_QUANTILES = (0.02, 0.1, 0.25, 0.4, 0.6, 0.75, 0.9, 0.98)
_BANDS = 8
_SMALL = 1e-6
#: Pixels of a feature map at once: copies of all of it would be new memory, which costs more than the sums.
_BLOCK = 2048


def image_features(images: Tensor, features: Sequence[Tensor]) -> Array:
    """(F,) figures of all views, one after the other.

    Parameters
    ----------
    images: [1, V, C, S, S], the network's input; of several channels the last, the plain image, is described.
    features: feature map [1, F, h, w] of every view.
    """
    parts = []
    for view, maps in enumerate(features):
        # Feature maps have their channels last: this order reads them without a copy.
        flat = maps[0].permute(1, 2, 0).flatten(0, 1)
        blocks = flat.split(_BLOCK)
        mean = sum(block.float().sum(dim=0) for block in blocks) / len(flat)
        square = sum((block.float() - mean).square_().sum(dim=0) for block in blocks)
        parts += [mean, torch.log((square / (len(flat) - 1)).sqrt() + _SMALL)]
        parts.append(torch.from_numpy(image_statistics(images[0, view, -1].cpu().numpy())).to(flat))
    return torch.cat(parts).double().cpu().numpy()


def image_statistics(image: NDArray[np.floating]) -> Array:
    """Quantiles, and the logarithm of the power in rings of frequency that double in radius, of an image (S, S)."""
    values = np.asarray(image, dtype=np.float64)
    rows, columns = values.shape
    window, ring, count = _spectral_rings(rows, columns)
    # Several times faster than numpy's.
    power = np.abs(rfft2((values - values.mean()) * window)) ** 2
    total = np.bincount(ring, power.ravel(), _BANDS + 2)[1 : _BANDS + 1]
    spectrum = np.log(total / count + _SMALL)
    return np.concatenate([np.quantile(values, _QUANTILES), spectrum])


@lru_cache(maxsize=4)
def _spectral_rings(rows: int, columns: int) -> tuple[Array, NDArray[np.int64], Array]:
    """What images of one size share: (rows, columns) window, the ring of each coefficient of the spectrum, and how many a ring has."""
    window = np.hanning(rows)[:, None] * np.hanning(columns)[None, :]
    radius = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :])
    # From the longest wave of the image to the finest that pixels show, an octave or less a ring.
    edges = np.geomspace(1.0 / min(rows, columns), 0.5, _BANDS + 1)
    ring = np.digitize(radius, edges).ravel()
    count = np.bincount(ring, minlength=_BANDS + 2)[1 : _BANDS + 1]
    return window, ring, np.maximum(count, 1).astype(np.float64)
