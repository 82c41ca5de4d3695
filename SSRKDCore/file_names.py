"""Names of files for libraries that are not Python's own."""

from __future__ import annotations

from pathlib import Path

from SSRKDCore.errors import InputError


def plain_name(path: str | Path) -> str:
    """The path as text. Raises InputError where it is no UTF-8, as of files from another system: SimpleITK ends the whole process then."""
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name} has letters that are no UTF-8: give it another name.") from error
    return name
