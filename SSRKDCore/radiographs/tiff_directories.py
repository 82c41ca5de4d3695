"""The directories of a TIFF file, one a page: the tags that say how its values are laid out. EXIF data are such a directory too.

TIFF 6.0 and BigTIFF. ITK's reader hands none of this on, takes the first page's layout for all pages, and what it does not know for
what it knows; see `tiff_checks`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

SUBFILE_TYPE, WIDTH, LENGTH, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES, SAMPLE_FORMAT = 254, 256, 257, 258, 262, 274, 277, 339  # fmt: skip
_WANTED = {SUBFILE_TYPE, WIDTH, LENGTH, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES, SAMPLE_FORMAT}
# Field type -> struct code: byte, short, long, and BigTIFF's long8.
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MOST_ENTRIES = 4096

Directory = dict[int, int]


def read_directories(stream: BinaryIO, most: int) -> list[Directory]:
    """Up to so many directories of a TIFF stream that begins at its current place: tag -> first value, of the wanted tags that are there.

    Raises ValueError or struct.error where the stream is no TIFF, is cut off, or its directories go round in a circle.
    """
    start = stream.tell()
    head = stream.read(16)
    orders = {b"II": "<", b"MM": ">"}
    if head[:2] not in orders:
        raise ValueError("no TIFF")
    order = orders[head[:2]]
    version = struct.unpack_from(order + "H", head, 2)[0]
    if version not in (42, 43):
        raise ValueError("no TIFF")
    big = version == 43
    place = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)[0]
    found: list[Directory] = []
    seen: set[int] = set()
    while place and len(found) < most:
        if place in seen:
            raise ValueError("the directories go round in a circle")
        seen.add(place)
        stream.seek(start + place)
        count = struct.unpack(order + ("Q" if big else "H"), stream.read(8 if big else 2))[0]
        if count > _MOST_ENTRIES:
            raise ValueError("a directory is damaged")
        size = 20 if big else 12
        block = stream.read(count * size + (8 if big else 4))
        found.append(dict(_entries(stream, start, block, count, order, big)))
        place = struct.unpack_from(order + ("Q" if big else "I"), block, count * size)[0]
    return found


def _entries(
    stream: BinaryIO, start: int, block: bytes, count: int, order: str, big: bool
) -> Iterator[tuple[int, int]]:
    layout, inline = (order + "HHQ", 8) if big else (order + "HHI", 4)
    for number in range(count):
        place = number * (20 if big else 12)
        tag, kind, values = struct.unpack_from(layout, block, place)
        if tag not in _WANTED or kind not in _TYPES or not values:
            continue
        field = block[place + struct.calcsize(layout) :][:inline]
        code = order + _TYPES[kind]
        if values * struct.calcsize(code) > inline:
            stream.seek(start + struct.unpack(order + ("Q" if big else "I"), field)[0])
            field = stream.read(8)
        yield tag, struct.unpack_from(code, field)[0]
