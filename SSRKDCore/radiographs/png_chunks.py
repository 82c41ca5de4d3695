"""The chunks of a PNG file beside its pixels: what ITK's reader does not hand on."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

_GREY, _GREY_AND_ALPHA = 0, 4


def chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of each chunk of a PNG file but those of its pixels (IDAT), as far as the file goes."""
    with path.open("rb") as stream:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"IDAT":
                stream.seek(length + 4, io.SEEK_CUR)
                continue
            yield kind, stream.read(length)
            stream.seek(4, io.SEEK_CUR)


def is_transparent_grey(path: Path) -> bool:
    """Whether a PNG file holds greyscale with transparency, by a second value a pixel or by a grey value that counts as transparent."""
    colour_type = None
    for kind, content in chunks(path):
        if kind == b"IHDR" and len(content) >= 10:
            colour_type = content[9]
        if colour_type == _GREY_AND_ALPHA or (colour_type == _GREY and kind == b"tRNS"):
            return True
    return False
