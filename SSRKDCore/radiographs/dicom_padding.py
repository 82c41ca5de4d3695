"""Pixel Padding Value of a DICOM object (PS3.3 C.7.5.1.1.2), as makers write it: with or without its sign, and wider than the values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.radiographs import dicom_tags as tags

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def padding_of_cells(cells: NDArray[Any], dataset: Dataset, lowest: int) -> NDArray[np.bool_] | None:
    """Where whole cells are padding that does not fit in the stated bits: bool [row, column], or None where none is.

    cells: whole numbers [row, column]. lowest: the bit at which their values begin; padding so wide can be told where it is 0 only.
    """
    limits = _limits(cells, dataset)
    if limits is None or lowest:
        return None
    bits, signed = int(dataset.BitsStored), cells.dtype.kind == "i"
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if least <= limits[0] and limits[1] <= most:
        return None
    padding = (cells >= limits[0]) & (cells <= limits[1]) & ((cells < least) | (cells > most))
    return padding if padding.any() else None


def padding_of_values(
    stored: NDArray[Any], dataset: Dataset, already: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:
    """Where stored values [row, column] are padding, or `already` says so: bool [row, column], or None where none is."""
    limits = _limits(stored, dataset)
    if limits is None:
        return None
    padding = (stored >= limits[0]) & (stored <= limits[1])
    if already is not None:
        padding |= already
    return padding if padding.any() else None


def _limits(stored: NDArray[Any], dataset: Dataset) -> tuple[float, float] | None:
    """The least and the largest padding value, as the pixels have it."""
    padding = tags.number(dataset, "PixelPaddingValue")
    if padding is None:
        return None
    limit = tags.number(dataset, "PixelPaddingRangeLimit")
    low, high = sorted(_as_stored(value, stored) for value in (padding, padding if limit is None else limit))
    return low, high


def _as_stored(value: float, stored: NDArray[Any]) -> float:
    """A padding value as the pixels have it: some makers write it without its sign, or with one where pixels have none."""
    if stored.dtype.kind not in "iu" or not float(value).is_integer():
        return value
    limits, cells = np.iinfo(stored.dtype), 2 ** (8 * stored.dtype.itemsize)
    wrapped = value - cells if value > limits.max else value + cells if value < limits.min else value
    return wrapped if limits.min <= wrapped <= limits.max else value
