"""TIFF files that ITK would read as something else: found by their tags before it reads them."""

from __future__ import annotations

import struct
from pathlib import Path

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs import tiff_directories as tiff

MAXIMUM_PAGES = 10_000
_REDUCED, _PAGE, _MASK = 1, 2, 4
_FLOATING = 3
_WHITE_IS_ZERO = 0
#: Orientations that ITK heeds itself: rows downwards, and rows upwards.
_UPRIGHT, _UPWARDS = 1, 4
_ONE_LAYOUT = (tiff.WIDTH, tiff.LENGTH, tiff.BITS, tiff.SAMPLES, tiff.SAMPLE_FORMAT, tiff.PHOTOMETRIC)
#: What holds where a tag is absent.
_SILENT = {tiff.BITS: 1, tiff.SAMPLES: 1, tiff.SAMPLE_FORMAT: 1}


def check_tiff(path: Path) -> tuple[bool, list[str]]:
    """Whether a TIFF file states that white is 0, and what to tell the user of its orientation.

    Raises InputError for damaged directories, for pages of different sizes or kinds (ITK gives every page the first one's, and writes
    beyond its memory where only some are marked as pages), for values in other than whole bytes, of half or double precision, with
    transparency, and for turned or mirrored pages, which ITK would read as colour.
    """
    try:
        with path.open("rb") as stream:
            directories = tiff.read_directories(stream, MAXIMUM_PAGES)
    except (OSError, ValueError, struct.error, OverflowError) as error:
        raise InputError(f"{path} is a damaged or truncated TIFF file: export it again.") from error
    if not directories:
        raise InputError(f"{path} is a TIFF file without an image: export it again.")
    kinds = [directory.get(tiff.SUBFILE_TYPE, 0) for directory in directories]
    pages = [page for page, kind in zip(directories, kinds, strict=True) if not kind & (_REDUCED | _MASK)]
    marked = {kind & _PAGE for kind in kinds if not kind & (_REDUCED | _MASK)}
    if kinds[0] & (_REDUCED | _MASK) or len(marked) > 1 or len({_layout(page) for page in pages}) > 1:
        raise InputError(
            f"{path} holds images of different sizes or kinds (a preview beside the radiograph, perhaps): save the radiograph alone."
        )
    page = pages[0]
    _check_values(path, page)
    orientation = _orientation(page)
    if orientation not in (_UPRIGHT, _UPWARDS):
        raise InputError(
            f"{path} is stored turned or mirrored (TIFF orientation {orientation}), which the reader cannot undo: save it upright."
        )
    upwards = [
        "The file's orientation tag (4) says that its rows run upwards, so the picture was turned upside down, as viewers show it."
    ]
    return page.get(tiff.PHOTOMETRIC) == _WHITE_IS_ZERO, upwards if orientation == _UPWARDS else []


def _orientation(page: tiff.Directory) -> int:
    value = page.get(tiff.ORIENTATION, _UPRIGHT)
    return value if 1 <= value <= 8 else _UPRIGHT


def _layout(page: tiff.Directory) -> tuple[int | None, ...]:
    return (*(page.get(tag, _SILENT.get(tag)) for tag in _ONE_LAYOUT), _orientation(page))


def _check_values(path: Path, page: tiff.Directory) -> None:
    bits, samples, values = (page.get(tag, _SILENT[tag]) for tag in (tiff.BITS, tiff.SAMPLES, tiff.SAMPLE_FORMAT))
    if samples == 2:
        raise InputError(f"{path} has transparency (a second value a pixel): save it as greyscale without.")
    if samples == 1 and (bits not in (8, 16, 32) or (values == _FLOATING and bits != 32)):
        raise InputError(
            f"{path} stores {bits} bits a pixel{' in floating point' if values == _FLOATING else ''}, and the reader knows 8, 16 and 32 "
            "bits, 32 in floating point: save it so."
        )
