"""How far real images are from looking simulated, measured on images of the same layout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.radiographs.style_matching import log_power
from SSRKDCore.training.style_images import StyleImages
from SSRKDCore.training.style_layout import most_alike

Array = NDArray[np.float64]

_LEVELS = 32
#: Simulated images that stand for what a real one would look like.
_BESIDE = 4
#: Standardisation pins some levels: there images do not differ, and a spread of 0 would divide.
_LEAST_SPREAD = 0.05


class Look:
    """What simulated images look like.

    Grey values are 32 quantiles of the pixels that the detector saw, fineness the logarithm of the power in 24 bands of spatial frequency
    (`radiographs.style_matching`); each in units of its standard deviation over the simulated images.

    simulated: all of them.
    """

    def __init__(self, simulated: StyleImages) -> None:
        self._images = simulated.images
        self._values = _statistics(simulated.images, simulated.seen)
        self._spread = np.maximum(self._values.std(axis=0), _LEAST_SPREAD)

    def beside(self, images: NDArray[Any]) -> NDArray[np.int64]:
        """(N, 4) indices of the simulated images whose layout is most like that of images (N, S, S)."""
        return most_alike(images, self._images, _BESIDE)

    def distance(self, images: NDArray[Any], seen: NDArray[np.bool_], beside: NDArray[np.int64]) -> float:
        """How far images (N, S, S) are from the simulated ones of their layout.

        What sets all of them apart counts and not how each differs, for that is the knee: the mean difference over the images, its size
        averaged over the grey values, and over the bands, and over both. 1 is a standard deviation of the simulated images.

        seen: (N, S, S). beside: of these images before anything was done to them, see `beside`.
        """
        wanted = self._values[beside].mean(axis=1)
        apart = np.abs(((_statistics(images, seen) - wanted) / self._spread).mean(axis=0))
        return float(0.5 * (apart[:_LEVELS].mean() + apart[_LEVELS:].mean()))


def _statistics(images: NDArray[Any], seen: NDArray[np.bool_]) -> Array:
    """(N, 32 + 24) grey values and fineness of images (N, S, S)."""
    shares = (np.arange(_LEVELS) + 0.5) / _LEVELS
    found = [
        np.concatenate([np.quantile(image[mask], shares), log_power(image)])
        for image, mask in zip(images.astype(np.float64), seen, strict=True)
    ]
    return np.stack(found)
