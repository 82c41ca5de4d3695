"""Image files written byte by byte, for what no library at hand writes: odd TIFF tags, PNG colour types, NIfTI headers."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SUBFILE_TYPE, _ORIENTATION, _SAMPLE_FORMAT = 254, 274, 339


def write_tiff(
    path: Path,
    pages: Sequence[NDArray[Any]],
    order: str = "<",
    photometric: int = 1,
    orientations: Sequence[int | None] = (),
    subfile_types: Sequence[int | None] = (),
    bits: int | None = None,
    big: bool = False,
) -> Path:
    """An uncompressed TIFF or BigTIFF of pages [row, column] or [row, column, sample]; `bits` overrules what the array's type says."""
    place, inline = ("Q", 8) if big else ("I", 4)
    head = struct.pack(order + "HHHQ", 43, 8, 0, 0) if big else struct.pack(order + "HI", 42, 0)
    out = bytearray((b"II" if order == "<" else b"MM") + head)
    link = len(out) - inline
    for number, page in enumerate(pages):
        start = len(out)
        content = page.astype(page.dtype.newbyteorder(order)).tobytes()
        out += content + b"\0" * (len(content) % 2)
        samples = page.shape[2] if page.ndim == 3 else 1
        sample_format = {"u": 1, "i": 2, "f": 3}[page.dtype.kind]
        tags: list[tuple[int, str, list[int]]] = [
            (256, "I", [page.shape[1]]), (257, "I", [page.shape[0]]), (258, "H", [bits or 8 * page.dtype.itemsize] * samples),
            (259, "H", [1]), (262, "H", [photometric]), (273, "I", [start]), (277, "H", [samples]), (278, "I", [page.shape[0]]),
            (279, "I", [len(content)]), (_SAMPLE_FORMAT, "H", [sample_format] * samples),
        ]  # fmt: skip
        for tag, values, code in ((_ORIENTATION, orientations, "H"), (_SUBFILE_TYPE, subfile_types, "I")):
            if number < len(values) and (value := values[number]) is not None:
                tags.append((tag, code, [value]))
        entries = b""
        for tag, code, numbers in sorted(tags):
            field = struct.pack(f"{order}{len(numbers)}{code}", *numbers).ljust(inline, b"\0")
            if len(field) > inline:
                out += field
                field = struct.pack(order + place, len(out) - len(field))
            entries += struct.pack(order + ("HHQ" if big else "HHI"), tag, {"H": 3, "I": 4}[code], len(numbers)) + field
        struct.pack_into(order + place, out, link, len(out))
        out += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries
        link = len(out)
        out += b"\0" * inline
    path.write_bytes(out)
    return path


def write_png(path: Path, picture: NDArray[Any], colour_type: int, chunks: Sequence[tuple[bytes, bytes]] = ()) -> Path:
    """A PNG of [row, column] or [row, column, sample] of 8 or 16 bits, with further chunks before its pixels."""
    rows = picture.astype(picture.dtype.newbyteorder(">"))
    header = struct.pack(
        ">IIBBBBB", picture.shape[1], picture.shape[0], 8 * picture.dtype.itemsize, colour_type, 0, 0, 0
    )
    content = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    out = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), *chunks, (b"IDAT", content), (b"IEND", b"")):
        out += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(out)
    return path


def write_nifti(
    path: Path,
    values: NDArray[Any],
    voxel_size: tuple[float, float, float],
    sform: NDArray[np.float64] | None = None,
    sform_code: int = 0,
    qform_offset: tuple[float, float, float] = (0.0, 0.0, 0.0),
    qform_code: int = 0,
    order: str = "<",
) -> Path:
    """A NIfTI-1 single file of [z, y, x]; `sform` is (3, 4), RAS mm; the qform is turned half round z, as scanners' are, at its offset."""
    header = bytearray(352)
    struct.pack_into(order + "i", header, 0, 348)
    struct.pack_into(order + "8h", header, 40, 3, *values.shape[::-1], 1, 1, 1, 1)
    code = {"u1": 2, "i2": 4, "f4": 16}[values.dtype.str[1:]]
    struct.pack_into(order + "2h", header, 70, code, 8 * values.dtype.itemsize)
    struct.pack_into(order + "8f", header, 76, 1.0, *voxel_size, 1, 1, 1, 1)
    struct.pack_into(order + "3f", header, 108, 352, 1.0, 0.0)
    header[123] = 2  # mm
    struct.pack_into(order + "2h", header, 252, qform_code, sform_code)
    struct.pack_into(order + "6f", header, 256, 0.0, 0.0, 1.0, *qform_offset)
    if sform is not None:
        struct.pack_into(order + "12f", header, 280, *sform.ravel())
    header[344:348] = b"n+1\0"
    path.write_bytes(bytes(header) + values.astype(values.dtype.newbyteorder(order)).tobytes())
    return path
