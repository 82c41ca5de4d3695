"""Which bits of its cell are a DICOM object's stored value (PS3.5 8.1.1): pydicom takes the lowest, whatever High Bit says.

The bits above High Bit are no part of a value, and readers drop them. Where a writer states too few bits, that makes large values begin
again at 0 in the middle of the picture: such files are refused. Overlays of long ago lie in the same bits.
"""

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
# Neighbouring pixels of a radiograph nearly never differ by an eighth of the grey scale.
_STEP_SHARE = 0.125
_RUNS_ON_SHARE = 0.95


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


def stored_values(
    path: Path, dataset: Dataset, cells: NDArray[Any], lowest: int, padding: NDArray[np.bool_] | None = None
) -> tuple[NDArray[Any], list[str]]:
    """Stored values of whole cells, and warnings about bits that are no part of them.

    cells: whole numbers [row, column], with the sign that Pixel Representation states. lowest: the bit at which their values begin.
    padding: bool [row, column], True where a cell as a whole is padding, which need not fit in the stated bits; None where none is.

    Raises InputError where there is something below or above the stated bits that is no overlay: then the statement is wrong.
    """
    bits, cell_bits = int(dataset.BitsStored), 8 * cells.dtype.itemsize
    if bits == cell_bits:
        return cells, []
    cells = cells.astype(cells.dtype.newbyteorder("="), copy=False)
    unsigned = cells.view(f"u{cells.dtype.itemsize}")
    unused = (1 << cell_bits) - 1
    for position in _overlay_bits(dataset):
        unused &= ~(1 << position)
    below = unsigned.dtype.type(unused & ((1 << lowest) - 1))
    above = unsigned.dtype.type(unused & ((1 << cell_bits) - (1 << lowest + bits)))
    if padding is not None:
        unsigned = np.where(padding, unsigned.dtype.type(0), unsigned)
    if (unsigned & below).any():
        raise InputError(
            f"{path} says that its values begin at bit {lowest} (High Bit), and has values below it as well: export it again."
        )
    empty = cell_bits - lowest - bits
    values = cells << empty >> (empty + lowest)
    rest = unsigned & above
    if cells.dtype.kind == "i":
        fits, notes = _signed(unsigned, rest, above, lowest + bits - 1, bits)
    elif rest.any():
        fits = _runs_on(values, rest, 1 << bits)
        notes = [
            f"There is something above the {bits} bits of a value, which runs over the image as an overlay does: it was left out."
        ]
    else:
        fits, notes = True, []
    if not fits:
        raise InputError(
            f"{path} says that its values have {bits} bits (Bits Stored), and has larger values as well: export it again."
        )
    return values, notes


def _signed(
    unsigned: NDArray[Any], rest: NDArray[Any], above: np.unsignedinteger[Any], sign: int, bits: int
) -> tuple[bool, list[str]]:
    """Whether the bits above signed values of so many bits, whose sign is bit `sign`, can be what writers leave there, and warnings.

    Nearly every writer fills them with the sign, and some leave them 0; no file does both.
    """
    negative = (unsigned >> unsigned.dtype.type(sign) & unsigned.dtype.type(1)).astype(bool)
    filled = negative & (rest == above)
    if filled.any() or not above:
        return not (rest[~filled].any() or (negative & ~filled).any()), []
    if rest.any() or not negative.any():
        return not rest.any(), []
    words = (
        f"Values of {1 << bits - 1} and more are taken as negative, since the file says that they have {bits} bits and a sign: if bright "
        "and dark change places somewhere in the image, that is wrong."
    )
    return True, [words]


def _runs_on(values: NDArray[Any], rest: NDArray[Any], count: int) -> bool:
    """Whether values [row, column] of `count` levels run on where the bits above them change.

    They do below an overlay, whether the file speaks of it or not. Where values were too large for the bits, they begin again at 0.
    """
    jumps = []
    for axis in (0, 1):
        border = np.diff(rest.astype(np.int64), axis=axis) != 0
        jumps.append(np.abs(np.diff(values.astype(np.int64), axis=axis)[border]))
    steps = np.concatenate(jumps)
    return steps.size > 0 and bool(np.mean(steps < _STEP_SHARE * count) >= _RUNS_ON_SHARE)


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
