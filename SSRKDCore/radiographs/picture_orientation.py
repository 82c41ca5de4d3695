"""How a JPEG or PNG picture has to be turned to stand upright, as cameras and phones write it: EXIF orientation, 1 to 8.

Viewers heed it and ITK does not. A mirrored or turned radiograph gives a bone of the other side, so that what is seen must be what is read.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.radiographs.jpeg_markers import segments
from SSRKDCore.radiographs.png_chunks import chunks
from SSRKDCore.radiographs.tiff_directories import ORIENTATION, read_directories

Turn = Callable[[NDArray[Any]], NDArray[Any]]

# EXIF 2.3, Orientation: which sides of the scene row 0 and column 0 of the stored picture are.
_TURNS: dict[int, tuple[Turn, str]] = {
    2: (np.fliplr, "mirrored left to right"),
    3: (lambda picture: np.rot90(picture, 2), "turned by 180 degrees"),
    4: (np.flipud, "mirrored top to bottom"),
    5: (np.transpose, "turned by 90 degrees clockwise and mirrored left to right"),
    6: (lambda picture: np.rot90(picture, -1), "turned by 90 degrees clockwise"),
    7: (
        lambda picture: np.rot90(picture, 2).T,
        "turned by 90 degrees anticlockwise and mirrored left to right",
    ),
    8: (np.rot90, "turned by 90 degrees anticlockwise"),
}
_APPLICATION_1 = 0xE1
_EXIF = b"Exif\x00\x00"


def turned_upright(picture: NDArray[Any], orientation: int) -> tuple[NDArray[Any], str | None]:
    """A picture [row, column] as its EXIF orientation shows it, and what was done to it, or None where it stands upright."""
    if orientation not in _TURNS:
        return picture, None
    turn, words = _TURNS[orientation]
    return turn(picture), words


def jpeg_orientation(content: bytes) -> int:
    """EXIF orientation of a JPEG stream; 1 (upright) where it states none."""
    for marker, payload in segments(content):
        if marker == _APPLICATION_1 and payload.startswith(_EXIF):
            return _exif_orientation(payload[len(_EXIF) :])
    return 1


def png_orientation(path: Path) -> int:
    """EXIF orientation of a PNG file (its chunk eXIf); 1 (upright) where it states none."""
    exif = next((content for kind, content in chunks(path) if kind == b"eXIf"), None)
    return 1 if exif is None else _exif_orientation(exif)


def _exif_orientation(exif: bytes) -> int:
    try:
        first = read_directories(io.BytesIO(exif), 1)
    except (ValueError, struct.error, OverflowError):
        return 1  # Viewers pass over damaged EXIF data as well.
    value = first[0].get(ORIENTATION, 1) if first else 1
    return value if value in _TURNS else 1
