"""The text at the beginning of a NRRD file: what SimpleITK does not hand on, or cannot bear."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from SSRKDCore.errors import InputError

_HEADER_BYTES = 16 * 1024 * 1024
_LINE_BYTES = 1024 * 1024
# SimpleITK writes a line that it cannot read into a message of a fixed length, and beyond its end.
_LONGEST_FIELD = 900
_MILLIMETRES = {"mm", "millimeter", "millimeters", "millimetre", "millimetres", "", "none", "???"}


def check_nrrd_header(path: Path) -> None:
    """Raise InputError for a NRRD file whose header is damaged, or whose lengths are not in millimetres. Files of other kinds pass."""
    for line in _field_lines(path):
        if len(line) > _LONGEST_FIELD and not line.startswith(("content:", "sample units:")):
            raise InputError(f"{path} is a NRRD file with a damaged header: export it again.")
    units = nrrd_fields(path).get("space units", "")
    for unit in units.split('"')[1::2]:
        if unit.strip().lower() not in _MILLIMETRES:
            raise InputError(f"{path} states its lengths in '{unit}', and mm are needed: convert it to mm.")


def nrrd_fields(path: Path) -> dict[str, str]:
    """Field -> value of a NRRD header, both as written, fields in small letters; empty for files of other kinds."""
    fields = {}
    for line in _field_lines(path):
        name, colon, value = line.partition(":")
        if colon:
            fields[name.strip().lower()] = value.strip()
    return fields


def states_spacing(path: Path) -> bool:
    """Whether a NRRD header says how far apart samples are: SimpleITK takes 1 mm where it does not."""
    fields = nrrd_fields(path)
    words = fields.get("spacings", "") + " " + fields.get("space directions", "")
    return any(word.lower() not in ("nan", "none") for word in words.split())


def _field_lines(path: Path) -> Iterator[str]:
    """The lines of a NRRD header up to the empty one that ends it, without comments and without the free text of other programs."""
    try:
        with path.open("rb") as stream:
            if not stream.readline(_LINE_BYTES).startswith(b"NRRD"):
                return
            while (line := stream.readline(_LINE_BYTES).decode("latin-1")).strip() and stream.tell() < _HEADER_BYTES:
                # "key:=value" is free text, "field: value" the format's own.
                value = line.partition(":")[2]
                if not line.startswith("#") and not value.startswith("="):
                    yield line
    except OSError:  # Whoever reads the image says what is wrong with its file.
        return
