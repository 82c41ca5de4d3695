"""What a file is, from its first bytes: names lie, and PACS exports often have none."""

from __future__ import annotations

import gzip
import stat
import struct
import zlib
from pathlib import Path

from SSRKDCore.errors import InputError

HEAD_BYTES = 1024
TAIL_BYTES = 65536
SURFACES = (".stl", ".ply", ".obj", ".vtk", ".vtp")


def file_kind(path: Path) -> str:
    """ "dicom", "png", "tiff", "jpeg", "nrrd", "nifti" or "meta".

    Raises InputError for a missing, unreadable, empty or cut-off file, a folder, and everything that is no image.
    """
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise InputError(f"{path} is a folder: give the radiograph's file.")
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
            size = stream.seek(0, 2)
            stream.seek(max(0, size - TAIL_BYTES))
            tail = stream.read()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: check the path.") from error
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{path} cannot be read ({reason}): check the path and its permissions.") from error
    if size == 0:
        raise InputError(f"{path} is empty: copy or export the radiograph again.")
    kind = _kind_of(head, path)
    if kind is None:
        hint = (
            "it is a surface, not a radiograph"
            if path.suffix.lower() in SURFACES
            else "it is no image that can be read"
        )
        raise InputError(f"{path}: {hint}; give DICOM, PNG, TIFF, JPEG, NRRD, NIfTI or MHA.")
    # The decoder fills what is missing with grey and calls it a success; JPEG files are looked at in `image_reader`.
    if kind == "png" and b"IEND" not in tail:
        raise InputError(f"{path} is a truncated PNG file: copy or export it again.")
    return kind


def _kind_of(head: bytes, path: Path) -> str | None:
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return "tiff"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"NRRD0"):
        return "nrrd"
    if head.startswith(b"\x1f\x8b"):
        head = _unzipped_head(path)
    if (len(head) >= 348 and head[344:347] in (b"n+1", b"n+2")) or head[4:7] == b"n+2":
        return "nifti"
    if head.startswith((b"ObjectType", b"NDims", b"Comment")) and b"NDims" in head:
        return "meta"
    return "dicom" if _is_bare_dicom(head) else None


def _unzipped_head(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as stream:
            return stream.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""


def _is_bare_dicom(head: bytes) -> bool:
    """A data set without the preamble starts with a low group of even number and a plausible first element."""
    if len(head) < 16:
        return False
    for order in ("<", ">"):
        group, element = struct.unpack(f"{order}HH", head[:4])
        if group in (0x0002, 0x0008) and element <= 0x0100:
            length = struct.unpack(f"{order}I", head[4:8])[0]
            explicit = head[4:6].isalpha() and head[4:6].isupper()
            if explicit or length <= 256:
                return True
    return False
