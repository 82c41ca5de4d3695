"""The segments of a JPEG, JPEG-LS or JPEG 2000 stream: what decoders keep to themselves."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# Markers of a frame's start: all of C0 to CF but tables (C4), reserved (C8) and arithmetic conditioning (CC); F7 is JPEG-LS's.
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
# In the coded data FF 00 is a byte, FF D0 to FF D7 say where to start anew; JPEG-LS escapes every FF by a following bit that is 0.
_NEXT_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_NEXT_MARKER_LS = re.compile(rb"\xff+([\x80-\xcf\xd8-\xfe])")


def segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, payload) of each segment up to the end of the image, which comes only where the stream is whole."""
    place, following = 2, _NEXT_MARKER
    while place + 2 <= len(content):
        marker = content[place + 1]
        if content[place] != 0xFF or marker in (0x00, 0xFF):
            # Fill bytes may stand before a marker, and decoders pass over whatever else does.
            place = content.find(b"\xff", place + 1)
            if place < 0:
                return
            continue
        if marker == _END_OF_IMAGE:
            yield marker, b""
            return
        place += 2
        if marker in _WITHOUT_LENGTH:
            continue
        if place + 2 > len(content):
            return
        length = struct.unpack_from(">H", content, place)[0]
        if length < 2 or place + length > len(content):
            return
        yield marker, content[place + 2 : place + length]
        place += length
        if marker == 0xF7:
            following = _NEXT_MARKER_LS
        if marker == _START_OF_SCAN:
            found = following.search(content, place)
            if found is None:
                return
            place = found.start()


def is_whole(content: bytes) -> bool:
    """Whether a JPEG stream has its end. A preview inside it has one of its own, which does not count."""
    return any(marker == _END_OF_IMAGE for marker, _ in segments(content))


def stated_size(content: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 stream states, or None where it states none."""
    if content[:4] == b"\xff\x4f\xff\x51" and len(content) >= 24:
        width, height, left, top = struct.unpack_from(">4I", content, 8)
        return height - top, width - left
    if content[:2] != b"\xff\xd8":
        return None
    for marker, payload in segments(content):
        if marker in _FRAMES and len(payload) >= 5:
            rows, columns = struct.unpack_from(">HH", payload, 1)
            return (rows, columns) if rows and columns else None
    return None
