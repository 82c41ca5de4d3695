"""Where an image was clipped: many pixels at exactly its densest value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.radiographs.connected_parts import connected_parts

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
    densest = values.max()
    flat = (values == densest) & seen
    if not flat.any():
        densest = np.where(seen, values, values.dtype.type(-np.inf)).max()
        flat = (values == densest) & seen
    smallest = max(16, _SMALLEST_AREA * flat.size)
    if np.count_nonzero(flat) < smallest:
        return nowhere
    parts = connected_parts(flat)
    large = parts.pixels >= smallest
    return parts.together(large) if large.any() else nowhere
