"""Where in its cell of bits a DICOM object keeps each stored value (PS3.5 8.1.1): pydicom takes the lowest bits, whatever High Bit says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs import dicom_tags as tags

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: Of these, the compressed stream itself says how many bits a value has.
CODESTREAMS = {*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes}
_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
_OVERLAY_BIT_POSITION = 0x0102


def lowest_bit(path: Path, dataset: Dataset) -> int:
    """The bit at which stored values begin: 0 in nearly every file, High Bit + 1 - Bits Stored in any.

    Raises InputError where Bits Allocated, Bits Stored and High Bit cannot all be true, and where values of a JPEG stream are said to
    begin elsewhere than at bit 0.
    """
    allocated, stored, high = (tags.integer(dataset, word) for word in ("BitsAllocated", "BitsStored", "HighBit"))
    if "PixelData" not in dataset or allocated is None or stored is None:
        return 0
    if high is None:
        high = stored - 1
    if not 1 <= stored <= high + 1 <= allocated:
        raise InputError(
            f"{path} says that its values have {stored} bits of which bit {high} is the highest, in cells of {allocated} bits, which "
            "cannot be: export it again."
        )
    lowest = high + 1 - stored
    if lowest and dataset.file_meta.TransferSyntaxUID in CODESTREAMS:
        raise InputError(
            f"{path} is compressed and says that its values begin at bit {lowest}, which contradict each other: export it uncompressed."
        )
    return lowest


def moved_down(path: Path, dataset: Dataset, cells: NDArray[Any], lowest: int) -> NDArray[Any]:
    """Stored values of whole cells whose values begin at a bit above 0.

    Raises InputError where there is something below that bit which the file does not call an overlay: then the statement is wrong.
    """
    below = cells.view(f"u{cells.dtype.itemsize}") & np.array((1 << lowest) - 1, dtype=f"u{cells.dtype.itemsize}")
    for position in _overlay_bits(dataset):
        below &= ~np.array(1 << position, dtype=below.dtype)
    if below.any():
        raise InputError(
            f"{path} says that its values begin at bit {lowest} (High Bit), and has values below it as well: export it again."
        )
    above = 8 * cells.dtype.itemsize - lowest - int(dataset.BitsStored)
    return cells << above >> (above + lowest)


def _overlay_bits(dataset: Dataset) -> list[int]:
    """Bits of the cells that hold overlays, as objects of long ago keep them."""
    found = []
    for group in _OVERLAY_GROUPS:
        try:
            position = int(dataset[group, _OVERLAY_BIT_POSITION].value)
        except Exception:  # absent, or damaged in any of the ways of pydicom's converters
            continue
        if 0 <= position < 64:
            found.append(position)
    return found
