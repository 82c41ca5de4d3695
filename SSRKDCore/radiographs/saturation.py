"""Where an image was clipped: many pixels at exactly its densest value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.radiographs.connected_parts import connected_parts

Values = NDArray[np.floating]
Mask = NDArray[np.bool_]

#: A clipped area has at least this share of the image's pixels.
_SMALLEST_AREA = 0.0005
_ROWS = 64


def extremes(values: Values, seen: Mask) -> tuple[float, float]:
    """The least and the largest of the values [row, column] that are seen, [row, column] bool, of which there must be some."""
    low, high = [], []
    for first in range(0, len(values), _ROWS):
        part, chosen = values[first : first + _ROWS], seen[first : first + _ROWS]
        # Some rows at a time stay in the cache, and most are seen as a whole or not at all.
        if not chosen.all():
            part = part[chosen]
        if part.size:
            low.append(part.min())
            high.append(part.max())
    return float(min(low)), float(max(high))


def clipped_areas(values: Values, ignored: Mask | None = None) -> Mask:
    """Connected areas of exactly the densest value, where nothing is told between bone and denser bone: [row, column] bool.

    values: [row, column], growing with attenuation. ignored: the collimator's shadow, letters.
    """
    seen = np.ones(values.shape, dtype=bool) if ignored is None else ~ignored
    nowhere = np.zeros(values.shape, dtype=bool)
    if not seen.any():
        return nowhere
    flat = (values == extremes(values, seen)[1]) & seen
    smallest = max(16, _SMALLEST_AREA * flat.size)
    if np.count_nonzero(flat) < smallest:
        return nowhere
    parts = connected_parts(flat)
    large = parts.pixels >= smallest
    return parts.together(large) if large.any() else nowhere
