"""Where an image was clipped: many pixels at exactly its largest or its smallest value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Values = NDArray[np.floating]
Mask = NDArray[np.bool_]

#: A clipped area has at least this share of the image's pixels.
_SMALLEST_AREA = 0.0005


@dataclass(frozen=True)
class ClippedAreas:
    """Clipped pixels.

    Attributes
    ----------
    dense: [row, column] bool, at the dense end: nothing is told there between bone and denser bone.
    open: likewise at the open end: burnt out.
    """

    dense: Mask
    open: Mask


def clipped_areas(values: Values, ignored: Mask | None = None) -> ClippedAreas:
    """Connected areas of exactly the largest or the smallest value.

    values: [row, column], growing with attenuation. ignored: the collimator's shadow, letters. The plain open field of a noise-free image
    is an area of one value as well: only the picture tells whether anything was lost there.
    """
    seen = np.ones(values.shape, dtype=bool) if ignored is None else ~ignored
    if not seen.any():
        return ClippedAreas(np.zeros(values.shape, dtype=bool), np.zeros(values.shape, dtype=bool))
    inside = values[seen]
    return ClippedAreas(_areas((values == inside.max()) & seen), _areas((values == inside.min()) & seen))


def _areas(flat: Mask) -> Mask:
    labels, count = ndimage.label(flat)
    if not count:
        return flat
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    large = sizes >= max(16, _SMALLEST_AREA * flat.size)
    large[0] = False
    return np.asarray(large[labels])
