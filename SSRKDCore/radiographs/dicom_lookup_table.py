"""Modality LUT and VOI LUT of a DICOM object (PS3.3 C.11.1, C.11.2): what they make of stored values, and which way they run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs import dicom_tags as tags

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def modality_values(
    path: Path, stored: NDArray[Any], dataset: Dataset, frame_index: int
) -> tuple[NDArray[np.floating], str]:
    """Stored values [row, column] after the Modality LUT sequence or the rescale, and what was done in words, which are empty for nothing.

    Raises InputError for a table that is absent or cut short, and a rescale that makes nothing of the values.
    """
    lut = tags.first_item(dataset, "ModalityLUTSequence")
    if lut is not None:
        table, first = lookup_table(path, lut, "Modality LUT", dataset)
        positions = np.clip(stored.astype(np.int64) - first, 0, len(table) - 1)
        return table[positions].astype(np.float64), f"applied the file's Modality LUT ({len(table)} entries)"
    slope, intercept = (tags.numbers(dataset, f"Rescale{part}", frame_index) for part in ("Slope", "Intercept"))
    if slope is None and intercept is None:
        return stored.astype(np.float64), ""
    gain, offset = (slope or (1.0,))[0], (intercept or (0.0,))[0]
    if not np.isfinite([gain, offset]).all() or gain == 0:
        raise InputError(f"{path} has a rescale slope of {gain:g} and intercept of {offset:g}: export the image again.")
    if gain == 1 and offset == 0:
        return stored.astype(np.float64), ""
    words = f"rescaled the stored values (slope {gain:g}, intercept {offset:g})"
    return stored.astype(np.float64) * gain + offset, words


def modality_turns_round(dataset: Dataset, frame_index: int) -> bool:
    """Whether the Modality LUT, or else the rescale, gives low values for high stored ones."""
    item = tags.first_item(dataset, "ModalityLUTSequence")
    if item is not None:
        return _falls(item, dataset)
    slope = tags.number(dataset, "RescaleSlope", frame_index)
    return slope is not None and slope < 0


def display_turns_round(dataset: Dataset) -> bool:
    """Whether the VOI LUT of an object, where it has no window as well, shows high values dark."""
    item = tags.first_item(dataset, "VOILUTSequence")
    return item is not None and tags.raw_value(dataset, "WindowWidth") is None and _falls(item, dataset)


def _falls(item: Dataset, dataset: Dataset) -> bool:
    """Whether a LUT item's table ends lower than it begins; False for a damaged one."""
    try:
        table = lookup_table(Path(), item, "LUT", dataset)[0]
    except (ValueError, TypeError, OverflowError):  # InputError, a ValueError, is among them
        return False
    return bool(table[-1] < table[0])


def lookup_table(path: Path, item: Dataset, what: str, dataset: Dataset) -> tuple[NDArray[np.int64], int]:
    """A LUT item's table, and the value that its first entry stands for.

    Parameters
    ----------
    path: the file, for messages. what: the table's name, for messages.
    item: holds LUT Descriptor and LUT Data.
    dataset: the object, whose byte order and signedness of pixels count.

    Raises InputError when the table is absent or cut short.
    """
    descriptor, entries = tags.numbers(item, "LUTDescriptor"), tags.raw_value(item, "LUTData")
    if descriptor is None or len(descriptor) != 3 or not np.isfinite(descriptor).all() or entries is None:
        raise InputError(f"{path} has a {what} without its table: export the image again.")
    # A count of 65536 is written as 0, and one above 32767 reads as negative where the pixels are signed.
    count, first, bits = int(descriptor[0]) % 65536 or 65536, int(descriptor[1]), int(descriptor[2])
    if tags.integer(dataset, "PixelRepresentation") == 1 and first > 32767:
        first -= 65536
    big_endian = getattr(dataset, "original_encoding", (None, None))[1] is False
    table = _numbers(entries, count, bits, ">u2" if big_endian else "<u2")
    if len(table) < count:
        raise InputError(f"{path} has a {what} that is cut short: export the image again.")
    return table[:count], first


def _numbers(entries: Any, count: int, bits: int, word: str) -> NDArray[np.int64]:
    if not isinstance(entries, bytes):
        return np.atleast_1d(np.asarray(entries, dtype=np.int64))
    words = np.frombuffer(entries[: len(entries) // 2 * 2], dtype=word)
    # 8-bit tables may be packed two entries a word; otherwise one word an entry.
    packed = bits <= 8 and len(entries) < 2 * count
    return (words.astype("<u2").view(np.uint8) if packed else words).astype(np.int64)
