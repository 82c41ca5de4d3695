"""NIfTI images, read directly: ITK's reader takes truncated files for whole ones and wants certain file names.

Format: NIfTI-1 and NIfTI-2 single files, header fields by their offsets in the published C structures.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs.stored_image import MAXIMUM_BYTES

HEADER_BYTES = {348: "NIfTI-1", 540: "NIfTI-2"}
DATA_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
COLOUR_TYPES = {128: 3, 2304: 4}
# xyzt_units, lowest three bits: metre, millimetre, micrometre; 0 is unknown, by custom millimetre.
MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}


def read_nifti(path: Path, maximum_bytes: int = MAXIMUM_BYTES) -> tuple[NDArray[np.generic], tuple[float, float]]:
    """Read a single-file NIfTI, compressed or not, of at most so many bytes (uncompressed).

    Returns the stored array [frame, row, column] (floating point when the header scales it; it may be read-only) and the spacing
    in mm (between rows, between columns). Raises InputError, naming the file, when it is damaged, truncated, too large or
    colour.
    """
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else path.open("rb") as stream:
            content = stream.read(maximum_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path) from error
    if len(content) > maximum_bytes:
        raise InputError(f"{path} holds more than {maximum_bytes >> 30} GiB, too much for one image: crop it.")
    try:
        return _parse(path, content)
    except (struct.error, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(path) from error


def _parse(path: Path, content: bytes) -> tuple[NDArray[np.generic], tuple[float, float]]:
    orders: tuple[Literal["<", ">"], ...] = ("<", ">")
    order = next((o for o in orders if struct.unpack_from(o + "i", content)[0] in HEADER_BYTES), None)
    if order is None:
        raise _damaged(path)
    if struct.unpack_from(order + "i", content)[0] == 348:
        dims = struct.unpack_from(order + "8h", content, 40)
        data_type = struct.unpack_from(order + "h", content, 70)[0]
        pixdim = struct.unpack_from(order + "8f", content, 76)
        offset, slope, intercept = struct.unpack_from(order + "3f", content, 108)
        units = content[123]
    else:
        data_type = struct.unpack_from(order + "h", content, 12)[0]
        dims = struct.unpack_from(order + "8q", content, 16)
        pixdim = struct.unpack_from(order + "8d", content, 104)
        offset = struct.unpack_from(order + "q", content, 168)[0]
        slope, intercept = struct.unpack_from(order + "2d", content, 176)
        units = struct.unpack_from(order + "i", content, 500)[0] & 0xFF
    if not 2 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        raise _damaged(path)
    if data_type in COLOUR_TYPES:
        raise InputError(
            f"{path} is a colour image ({COLOUR_TYPES[data_type]} values a pixel), not an X-ray measurement: "
            "export the original greyscale image."
        )
    if data_type not in DATA_TYPES:
        raise InputError(f"{path} stores numbers of NIfTI type {data_type}, which no radiograph needs: convert it.")
    columns, rows = dims[1], dims[2]
    frames = int(np.prod([int(n) for n in dims[3 : dims[0] + 1]], dtype=object)) if dims[0] > 2 else 1
    kind = np.dtype(DATA_TYPES[data_type]).newbyteorder(order)
    count = int(columns) * int(rows) * frames
    if not np.isfinite(offset) or offset < 0 or int(offset) + count * kind.itemsize > len(content):
        raise _damaged(path)
    values = np.frombuffer(content, kind, count, int(offset)).reshape(frames, rows, columns)
    array: NDArray[np.generic] = values.astype(kind.newbyteorder("="), copy=False)
    if slope != 0 and np.isfinite([slope, intercept]).all() and (slope, intercept) != (1.0, 0.0):
        array = values.astype(np.float64) * slope + intercept
    scale = MILLIMETRES.get(units & 7, 1.0)
    # The sign of a pixdim has no meaning; only pixdim[0] carries one.
    return array, (abs(float(pixdim[2])) * scale, abs(float(pixdim[1])) * scale)


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is a damaged or truncated NIfTI file: export it again.")
