"""Letters of lead beside the leg, and text burned into the picture: small, sharp and brighter (or darker) than all about them.

Two kinds are told apart, since each is safe to remove for its own reason. A lead letter or bead lies outside the leg, where nothing else
stands out. Burned-in text has one and the same extreme value in every stroke, and falls off within a pixel or two, which anatomy does
not. Metal inside the leg is neither: implants stay.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from SSRKDCore.radiographs.connected_parts import connected_parts
from SSRKDCore.radiographs.saturation import extremes

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
#: The grey range is that of about so many pixels a side.
_SAMPLES_A_SIDE = 512


def burned_in(values: Values, unexposed: Mask | None = None) -> Mask:
    """Letters, beads and text: [row, column] bool with a rim of two pixels, all False where there are none.

    Parameters
    ----------
    values: [row, column], growing with attenuation.
    unexposed: the collimator's shadow, in which nothing is looked for.
    """
    seen = np.ones(values.shape, dtype=bool) if unexposed is None else ~unexposed
    nowhere = np.zeros(values.shape, dtype=bool)
    if np.count_nonzero(seen) < 0.05 * seen.size:
        return nowhere
    stride = max(1, max(values.shape) // _SAMPLES_A_SIDE)
    sample = values[::stride, ::stride][seen[::stride, ::stride]]
    low, high = np.percentile(sample if sample.size else values[seen], (1, 99))
    reach = float(high - low)
    if not reach > 0:
        return nowhere
    found = _letters(values, seen, float(low), reach) | _text(values, seen, float(low), reach)
    parts = connected_parts(found)
    wider = nowhere
    for part in range(len(parts.pixels)):
        wide = parts.box(part, 2)
        wider[wide] |= _within(parts.mask(part, wide), 2)
    return wider & seen


def _within(part: Mask, pixels: int) -> Mask:
    """Where a part, or a pixel of it so many steps away, is."""
    steps = ndimage.distance_transform_cdt(~part, metric="taxicab")
    return np.asarray((steps <= pixels) & (steps >= 0))


def _letters(values: Values, seen: Mask, low: float, reach: float) -> Mask:
    """Small bright things with open field all around."""
    side = max(values.shape)
    parts = connected_parts((values > low + (_OPEN_FIELD + _LETTER_CONTRAST) * reach) & seen, diagonal=True)
    found = np.zeros(values.shape, dtype=bool)
    around = max(2, round(0.01 * side))
    short = parts.extents.max(axis=1, initial=0) <= _LONGEST_SIDE * side
    for part in np.flatnonzero(short & (parts.pixels >= _FEWEST_PIXELS)).tolist():
        wide = parts.box(part, around)
        own = parts.mask(part, wide)
        ring = _within(own, around) & ~_within(own, 2) & seen[wide]
        if np.count_nonzero(ring) < 8:
            continue
        if float(np.quantile(values[wide][ring], 0.75)) < low + _OPEN_FIELD * reach:
            found[wide] |= ndimage.binary_fill_holes(own)
    return found


def _text(values: Values, seen: Mask, low: float, reach: float) -> Mask:
    """Thin strokes that all have the image's largest, or its smallest, value."""
    found = np.zeros(values.shape, dtype=bool)
    thickest = max(2, round(_THICKEST_STROKE * max(values.shape) / 2))
    least, largest = extremes(values, seen)
    for extreme, sign in ((largest, 1.0), (least, -1.0)):
        flat = (values == extreme) & seen
        if np.count_nonzero(flat) < _FEWEST_STROKES * _FEWEST_PIXELS:
            continue
        # What holds a square is thicker than a stroke: clipped bone, open field, a plate.
        parts = connected_parts(_without_square(flat, 2 * thickest + 1), diagonal=True)
        short = parts.extents.max(axis=1, initial=0) <= _LONGEST_SIDE * max(values.shape)
        kept = np.zeros(len(parts.pixels), dtype=bool)
        for part in np.flatnonzero(short & (parts.pixels >= _FEWEST_PIXELS)).tolist():
            wide = parts.box(part, 4)
            own = parts.mask(part, wide)
            ring = _within(own, 4) & ~_within(own, 2) & seen[wide]
            if not ring.any() or float(np.median(sign * (extreme - values[wide][ring]))) <= _TEXT_CONTRAST * reach:
                continue
            # Metal that no photon passed has one value as well, but lies in bone.
            kept[part] = sign < 0 or float(np.quantile(values[wide][ring], 0.9)) < low + _DENSEST_BACKGROUND * reach
        if np.count_nonzero(kept) >= _FEWEST_STROKES:
            found |= parts.together(kept)
    return found


def _without_square(flat: Mask, size: int) -> Mask:
    """The connected parts of a mask in which no square of `size` pixels a side has room."""
    parts = connected_parts(flat)
    thin = np.ones(len(parts.pixels), dtype=bool)
    for part in np.flatnonzero((parts.extents >= size).all(axis=1)).tolist():
        thin[part] = not _holds_square(parts.mask(part, parts.box(part)), size)
    return flat if thin.all() else parts.together(thin)


def _holds_square(part: Mask, size: int) -> bool:
    rows, columns = (side // size for side in part.shape)
    blocks = part[: rows * size, : columns * size].reshape(rows, size, columns, size)
    # An open field holds one of these; only what does not needs all the others.
    if blocks.all(axis=(1, 3)).any():
        return True
    return bool(ndimage.minimum_filter(part, size, mode="constant").any())
