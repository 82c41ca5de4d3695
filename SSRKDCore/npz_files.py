"""Files of named arrays (.npz) of our own making: written beside and renamed, read without pickles and within a limit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name. Raises InputError when the file cannot be written; nothing half-written is left."""
    beside = path.with_name(f".{path.name}.part{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(beside, **dict(arrays))  # type: ignore[arg-type]
        beside.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): choose another file.") from error
    finally:
        beside.unlink(missing_ok=True)


def read_arrays(path: Path, what: str, advice: str, maximum_bytes: int) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name.

    what: what the file should be, with its article ("a shape model"). advice: how to get one, the end of each message.
    Raises InputError when the file is missing, larger than `maximum_bytes`, or damaged.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: {advice}.")
    if path.stat().st_size > maximum_bytes:
        raise InputError(f"{path} is larger than {maximum_bytes // 1024**2} MiB, too large for {what}: {advice}.")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # A damaged archive fails in any way that reading can fail; each means the same here.
        raise InputError(f"{path} is damaged or not {what}: {advice}.") from error
