"""MetaImage files (.mha, .mhd): what SimpleITK does not hand on, or does not look at."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from SSRKDCore.errors import InputError

_HEADS = (b"ObjectType", b"NDims", b"Comment")
_HEADER_BYTES = 65536
_PART_BYTES = 4 * 1024 * 1024
_SPACING = re.compile(rb"^\s*Element(Spacing|Size)\s*=", re.MULTILINE)
_COMPRESSED = re.compile(rb"^\s*CompressedData\s*=\s*(True|1)", re.MULTILINE | re.IGNORECASE)
_LOCAL_DATA = re.compile(rb"^\s*ElementDataFile\s*=\s*LOCAL\s*?\n", re.MULTILINE | re.IGNORECASE)


def is_meta_image(path: Path) -> bool:
    """Whether a file begins as MetaImage headers do."""
    return _head(path).startswith(_HEADS)


def states_meta_spacing(path: Path) -> bool:
    """Whether a MetaImage header says how far apart samples are: SimpleITK takes 1 mm where it does not."""
    return _SPACING.search(_head(path).partition(b"ElementDataFile")[0]) is not None


def refuse_damaged_meta_data(path: Path) -> None:
    """Raise InputError for a MetaImage file whose compressed values are damaged: SimpleITK makes noise of them. Other files pass."""
    head = _head(path)
    data = _LOCAL_DATA.search(head) if head.startswith(_HEADS) else None
    if data is None or not _COMPRESSED.search(head[: data.start()]):
        return
    inflating = zlib.decompressobj(wbits=47)  # zlib or gzip, whichever it is
    try:
        with path.open("rb") as stream:
            stream.seek(data.end())
            while not inflating.eof and (part := stream.read(_PART_BYTES)):
                while part:
                    inflating.decompress(part, _PART_BYTES)
                    part = inflating.unconsumed_tail
    except zlib.error as error:
        raise InputError(f"{path} is a damaged MetaImage file: export it again.") from error
    if not inflating.eof:
        raise InputError(f"{path} is a truncated MetaImage file: export it again.")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_HEADER_BYTES)
    except OSError:  # Whoever reads the image says what is wrong with its file.
        return b""
