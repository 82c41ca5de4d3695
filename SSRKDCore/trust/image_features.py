"""Figures that describe what a network was shown and what it made of it: for comparison with its training.

The network's own features by their mean and spread over the image, as out-of-distribution detection does with a network's deep features
(Lee et al., NeurIPS 2018), and plain statistics of the standardised image: its histogram, and how its power is spread over frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

_QUANTILES = (0.02, 0.1, 0.25, 0.4, 0.6, 0.75, 0.9, 0.98)
_BANDS = 8
_SMALL = 1e-6


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
        flat = maps[0].permute(1, 2, 0).flatten(0, 1).float()
        mean = flat.mean(dim=0)
        square = (flat - mean).square_().sum(dim=0)
        parts += [mean, torch.log((square / (len(flat) - 1)).sqrt() + _SMALL)]
        parts.append(torch.from_numpy(image_statistics(images[0, view, -1].cpu().numpy())).to(flat))
    return torch.cat(parts).double().cpu().numpy()


def image_statistics(image: NDArray[np.floating]) -> Array:
    """Quantiles, and the logarithm of the power in rings of frequency that double in radius, of an image (S, S)."""
    values = np.asarray(image, dtype=np.float64)
    window = np.hanning(values.shape[0])[:, None] * np.hanning(values.shape[1])[None, :]
    power = np.abs(np.fft.rfft2((values - values.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(values.shape[0])[:, None], np.fft.rfftfreq(values.shape[1])[None, :])
    # From the longest wave of the image to the finest that pixels show, an octave or less a ring.
    edges = np.geomspace(1.0 / min(values.shape), 0.5, _BANDS + 1)
    ring = np.digitize(radius, edges)
    total = np.bincount(ring.ravel(), power.ravel(), _BANDS + 2)[1 : _BANDS + 1]
    count = np.bincount(ring.ravel(), minlength=_BANDS + 2)[1 : _BANDS + 1]
    spectrum = np.log(total / np.maximum(count, 1) + _SMALL)
    return np.concatenate([np.quantile(values, _QUANTILES), spectrum])
