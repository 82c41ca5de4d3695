"""Where an image falls most steeply along short lines: profiles of a blurred image, compiled."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_BLUR_REACH = 4.0


def steepest_falls(
    image: NDArray[np.floating], pixels: Array, step: Array, along: Array, sigma: list[float], least: float
) -> Array:
    """(N,) where along each line the blurred image falls most steeply, in the unit of `along`; NaN where nowhere by `least`.

    Parameters
    ----------
    image: [row, column].
    pixels: (N, 2) row, column where `along` is 0. step: (N, 2) pixels for one unit of `along`.
    along: (K,) places on every line, evenly spaced, three at least. Where a line leaves the image nothing is found, nor at its ends: what
        falls there may fall more steeply beyond.
    sigma: standard deviations of the Gaussian blur along rows and columns, pixels.
    least: fall for one unit of `along` that counts.

    Between pixels the blurred image is linear.
    """
    # Only the part about the lines is blurred, wider by what a pixel's blur reaches.
    size, reach = np.array(image.shape), np.ceil(_BLUR_REACH * np.array(sigma)).astype(int) + 1
    ends = np.concatenate([pixels + along[0] * step, pixels + along[-1] * step])
    low = np.clip(np.floor(ends.min(axis=0)).astype(int) - reach, 0, size - 1)
    high = np.clip(np.ceil(ends.max(axis=0)).astype(int) + reach, 0, size - 1)
    whole = np.ascontiguousarray(image, dtype=np.float32)
    smooth = _blurred(whole, low, high + 1, _gaussian(sigma[0]), _gaussian(sigma[1]))
    return np.asarray(_steepest(smooth, low.astype(np.float64), size - 1.0, pixels, step, along, least))


def _gaussian(sigma: float) -> NDArray[np.float32]:
    """Weights of a Gaussian at whole pixels, (2 R + 1,), sum 1."""
    reach = int(_BLUR_REACH * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return (weights / weights.sum()).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _blurred(image, low, high, across_rows, across_columns):  # type: ignore[no-untyped-def]
    """The image from [row, column] `low` to before `high` under weights along each axis; beyond its sides goes its mirror image."""
    all_rows, all_columns = image.shape
    rows, columns = high[0] - low[0], high[1] - low[1]
    reach_rows, reach_columns = len(across_rows) // 2, len(across_columns) // 2
    # Of a row only what the weights reach.
    first, last = max(low[1] - reach_columns, 0), min(high[1] + reach_columns, all_columns)
    result = np.empty((rows, columns), np.float32)
    whole = np.empty(all_columns, np.float32)
    within = whole[first:last]
    line = np.empty(columns + 2 * reach_columns, np.float32)
    for row in range(rows):
        within[:] = 0
        for k in range(2 * reach_rows + 1):
            weight, source = across_rows[k], image[_mirrored(low[0] + row + k - reach_rows, all_rows), first:last]
            for column in range(len(within)):
                within[column] += weight * source[column]
        for k in range(len(line)):
            line[k] = whole[_mirrored(low[1] - reach_columns + k, all_columns)]
        target = result[row]
        target[:] = 0
        for k in range(2 * reach_columns + 1):
            weight = across_columns[k]
            for column in range(columns):
                target[column] += weight * line[column + k]
    return result


@numba.njit(cache=True, nogil=True)
def _mirrored(index, size):  # type: ignore[no-untyped-def]
    """The index of the pixel that stands for one beyond the sides: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    if 0 <= index < size:
        return index
    index = index % (2 * size)
    return index if index < size else 2 * size - 1 - index


@numba.njit(cache=True, nogil=True)
def _steepest(smooth, low, last, pixels, step, along, least):  # type: ignore[no-untyped-def]
    """`steepest_falls` in a part of the image that begins at `low`; `last`: row and column of the whole image's last pixel."""
    count, places = len(pixels), len(along)
    spacing = along[1] - along[0]
    profile, inside = np.empty(places), np.empty(places, np.bool_)
    fall = np.empty(places)
    found = np.full(count, np.nan)
    for n in range(count):
        for k in range(places):
            row, column = pixels[n, 0] + along[k] * step[n, 0], pixels[n, 1] + along[k] * step[n, 1]
            inside[k] = 0 <= row <= last[0] and 0 <= column <= last[1]
            profile[k] = _linear(smooth, row - low[0], column - low[1])
        for k in range(places):
            before, after = max(k - 1, 0), min(k + 1, places - 1)
            fall[k] = (profile[before] - profile[after]) / ((after - before) * spacing) if inside[k] else -np.inf
        best = 1
        for k in range(2, places - 1):
            if fall[k] > fall[best]:
                best = k
        if fall[best] > least and fall[best] >= fall[best - 1] and fall[best] >= fall[best + 1]:
            found[n] = along[best]
    return found


@numba.njit(cache=True, nogil=True)
def _linear(image, row, column):  # type: ignore[no-untyped-def]
    """The image between its pixels; beyond its sides as at them."""
    row, column = min(max(row, 0.0), image.shape[0] - 1.0), min(max(column, 0.0), image.shape[1] - 1.0)
    r, c = min(int(row), max(image.shape[0] - 2, 0)), min(int(column), max(image.shape[1] - 2, 0))
    below, right = min(r + 1, image.shape[0] - 1), min(c + 1, image.shape[1] - 1)
    down, across = row - r, column - c
    upper = (1.0 - across) * image[r, c] + across * image[r, right]
    lower = (1.0 - across) * image[below, c] + across * image[below, right]
    return (1.0 - down) * upper + down * lower
