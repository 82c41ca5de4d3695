"""Where an image was clipped: many pixels at exactly its densest value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Values = NDArray[np.floating]
Mask = NDArray[np.bool_]

#: A clipped area has at least this share of the image's pixels.
_SMALLEST_AREA = 0.0005


def clipped_areas(values: Values, ignored: Mask | None = None) -> Mask:
    """Connected areas of exactly the densest value, where nothing is told between bone and denser bone: [row, column] bool.

    values: [row, column], growing with attenuation. ignored: the collimator's shadow, letters.
    """
    seen = np.ones(values.shape, dtype=bool) if ignored is None else ~ignored
    nowhere = np.zeros(values.shape, dtype=bool)
    if not seen.any():
        return nowhere
    flat = (values == values.max(initial=-np.inf, where=seen)) & seen
    smallest = max(16, _SMALLEST_AREA * flat.size)
    if np.count_nonzero(flat) < smallest:
        return nowhere
    labels, count = ndimage.label(flat)
    large = np.bincount(labels.ravel(), minlength=count + 1) >= smallest
    large[0] = False
    return np.asarray(large[labels])
