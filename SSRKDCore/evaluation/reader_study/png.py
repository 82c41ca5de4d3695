"""PNG files without a word about where they come from, and all of one length (PNG specification, W3C 2003)."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EMPTY_CHUNK_BYTES = 12
# Ancillary, private, safe to copy: readers skip it.
_FILLER = b"spAc"


def grey_png(picture: NDArray[np.uint8]) -> bytes:
    """A picture [row, column] as an 8-bit grey PNG: header, pixels, end, nothing else."""
    rows, columns = picture.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    lines = np.zeros((rows, columns + 1), dtype=np.uint8)
    # Filter 1: each pixel as the difference to its left neighbour, which packs shaded surfaces well.
    lines[:, 0] = 1
    lines[:, 1] = picture[:, 0]
    lines[:, 2:] = picture[:, 1:] - picture[:, :-1]
    return (
        _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)) + _chunk(b"IEND", b"")
    )


def padded(png: bytes, length: int) -> bytes:
    """The same picture in a file of `length` bytes. Raises ValueError when that is too short."""
    missing = length - len(png)
    if missing == 0:
        return png
    if missing < _EMPTY_CHUNK_BYTES:
        raise ValueError(f"{length} bytes do not hold a PNG of {len(png)} bytes and its filling")
    end = len(png) - _EMPTY_CHUNK_BYTES
    return png[:end] + _chunk(_FILLER, bytes(missing - _EMPTY_CHUNK_BYTES)) + png[end:]


def of_one_length(pngs: list[bytes]) -> list[bytes]:
    """The pictures in files of one length, so that no length tells which is which."""
    # Room for a filler in each, the longest included, so that none stands out by lacking one.
    length = max(len(png) for png in pngs) + _EMPTY_CHUNK_BYTES
    return [padded(png, length) for png in pngs]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
