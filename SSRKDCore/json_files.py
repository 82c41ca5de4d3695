"""JSON in and out: readers with a size limit and clear errors, writers that never leave half a file."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from SSRKDCore.errors import InputError

DEFAULT_MAXIMUM_BYTES = 16 * 1024 * 1024


def read_json(path: str | Path, what: str, max_bytes: int = DEFAULT_MAXIMUM_BYTES) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    path: the file.
    what: what the file should be, for messages ("a rig file").
    max_bytes: larger files are refused unread.

    Raises InputError when the file is missing, too large, not JSON, or not an object.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} cannot be read as {what} ({error.strerror}): check the path.") from error
    if path.is_dir():
        raise InputError(f"{path} is a folder, not {what}: name the file itself.")
    if size > max_bytes:
        raise InputError(f"{path} is {size} bytes, too large for {what}: at most {max_bytes} bytes are read.")
    try:
        value = json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read as {what} ({error.strerror}): check the path and permissions."
        ) from error
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not {what}: it is not valid JSON ({error}).") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} is not {what}: it holds no JSON object.")
    return value


def _plain(value: Any) -> Any:
    """Turn numpy scalars and arrays, paths and non-finite floats into what JSON can hold (non-finite becomes null)."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def to_json_text(value: Any, ascii_only: bool = False) -> str:
    """Indented JSON text of plain values, numpy values and paths; NaN and infinities become null.

    `ascii_only` escapes other letters, for terminals and pipes of any encoding.
    """
    return json.dumps(_plain(value), indent=1, ensure_ascii=ascii_only, allow_nan=False) + "\n"


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON beside the target and rename, so that readers see the old file or the whole new one."""
    path = Path(path)
    beside = path.with_name(path.name + ".part")
    # Paths may hold bytes that are no UTF-8: as \udcXX they are JSON, and are read back as the same path.
    try:
        beside.write_text(to_json_text(value), encoding="utf-8", errors="backslashreplace")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
