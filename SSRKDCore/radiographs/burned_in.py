"""Letters of lead beside the leg, and text burned into the picture: small, sharp and brighter (or darker) than all about them.

Two kinds are told apart, since each is safe to remove for its own reason. A lead letter or bead lies outside the leg, where nothing else
stands out. Burned-in text has one and the same extreme value in every stroke, and falls off within a pixel or two, which anatomy does
not. Metal inside the leg is neither: implants stay.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Values = NDArray[np.floating]
Mask = NDArray[np.bool_]

#: Letters and beads: at least this many pixels, and no side longer than this share of the image's.
_FEWEST_PIXELS = 6
_LONGEST_SIDE = 0.12
#: How far a letter stands out of the open field, as a share of the grey range.
_LETTER_CONTRAST = 0.25
#: The open field, and thin skin: up to this share of the grey range.
_OPEN_FIELD = 0.2
#: How far burned-in text stands out of its surroundings, two pixels from its rim, likewise.
_TEXT_CONTRAST = 0.2
#: and is looked for on backgrounds up to this share of the grey range.
_DENSEST_BACKGROUND = 0.6
#: Fewer strokes than this are no text but a few pixels that happen to be extreme.
_FEWEST_STROKES = 2
#: Strokes are at most this thick (share of the image's side).
_THICKEST_STROKE = 0.015


def burned_in(values: Values, unexposed: Mask | None = None) -> Mask:
    """Letters, beads and text: [row, column] bool with a rim of two pixels, all False where there are none.

    Parameters
    ----------
    values: [row, column], growing with attenuation.
    unexposed: the collimator's shadow, in which nothing is looked for.
    """
    seen = np.ones(values.shape, dtype=bool) if unexposed is None else ~unexposed
    if seen.mean() < 0.05:
        return np.zeros(values.shape, dtype=bool)
    low, high = np.percentile(values[seen], (1, 99))
    reach = float(high - low)
    if not reach > 0:
        return np.zeros(values.shape, dtype=bool)
    found = _letters(values, seen, float(low), reach) | _text(values, seen, float(low), reach)
    return np.asarray(ndimage.binary_dilation(found, iterations=2) & seen) if found.any() else found


def _letters(values: Values, seen: Mask, low: float, reach: float) -> Mask:
    """Small bright things with open field all around."""
    side = max(values.shape)
    bright = (values > low + (_OPEN_FIELD + _LETTER_CONTRAST) * reach) & seen
    labels, _ = ndimage.label(bright, structure=np.ones((3, 3)))
    found = np.zeros(values.shape, dtype=bool)
    around = max(2, round(0.01 * side))
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        size = [part.stop - part.start for part in box]
        if max(size) > _LONGEST_SIDE * side:
            continue
        wide = tuple(
            slice(max(0, p.start - around), min(n, p.stop + around)) for p, n in zip(box, values.shape, strict=True)
        )
        own = labels[wide] == number
        if own.sum() < _FEWEST_PIXELS:
            continue
        near = ndimage.binary_dilation(own, iterations=2)
        ring = ndimage.binary_dilation(own, iterations=around) & ~near & seen[wide]
        if ring.sum() < 8:
            continue
        if float(np.quantile(values[wide][ring], 0.75)) < low + _OPEN_FIELD * reach:
            found[wide] |= ndimage.binary_fill_holes(own)
    return found


def _text(values: Values, seen: Mask, low: float, reach: float) -> Mask:
    """Thin strokes that all have the image's largest, or its smallest, value."""
    found = np.zeros(values.shape, dtype=bool)
    thickest = max(2, round(_THICKEST_STROKE * max(values.shape) / 2))
    inside = values[seen]
    for extreme, sign in ((float(inside.max()), 1.0), (float(inside.min()), -1.0)):
        flat = (values == extreme) & seen
        if np.count_nonzero(flat) < _FEWEST_STROKES * _FEWEST_PIXELS:
            continue
        # What holds a square is thicker than a stroke: clipped bone, open field, a plate.
        strokes = _without_square(flat, 2 * thickest + 1)
        labels, _ = ndimage.label(strokes, structure=np.ones((3, 3)))
        kept = np.zeros(values.shape, dtype=bool)
        count = 0
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            wide = tuple(slice(max(0, p.start - 4), min(n, p.stop + 4)) for p, n in zip(box, values.shape, strict=True))
            own = labels[wide] == number
            if own.sum() < _FEWEST_PIXELS or max(own.shape) - 8 > _LONGEST_SIDE * max(values.shape):
                continue
            ring = ndimage.binary_dilation(own, iterations=4) & ~ndimage.binary_dilation(own, iterations=2) & seen[wide]
            if not ring.any() or float(np.median(sign * (extreme - values[wide][ring]))) <= _TEXT_CONTRAST * reach:
                continue
            # Metal that no photon passed has one value as well, but lies in bone.
            if sign < 0 or float(np.quantile(values[wide][ring], 0.9)) < low + _DENSEST_BACKGROUND * reach:
                kept[wide] |= own
                count += 1
        if count >= _FEWEST_STROKES:
            found |= kept
    return found


def _without_square(flat: Mask, size: int) -> Mask:
    """The connected parts of a mask in which no square of `size` pixels a side has room."""
    labels, count = ndimage.label(flat)
    thin = np.ones(count + 1, dtype=bool)
    thin[0] = False
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if min(part.stop - part.start for part in box) >= size:
            thin[number] = not _holds_square(labels[box] == number, size)
    return np.asarray(thin[labels])


def _holds_square(part: Mask, size: int) -> bool:
    rows, columns = (side // size for side in part.shape)
    blocks = part[: rows * size, : columns * size].reshape(rows, size, columns, size)
    # An open field holds one of these; only what does not needs all the others.
    if blocks.all(axis=(1, 3)).any():
        return True
    return bool(ndimage.minimum_filter(part, size, mode="constant").any())
