"""Opening a foreign PyTorch checkpoint (.pth) without trusting it.

A .pth file is a pickle inside a zip archive. It is only ever read by `torch.load(weights_only=True)`, which makes
tensors and plain containers and refuses everything that could run code.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from SSRKDCore.errors import InputError

#: The largest released file holds two U-Nets in float32, about 250 MB.
MAXIMUM_CHECKPOINT_BYTES = 2 * 1024**3

_ZIP_MAGIC = b"PK\x03\x04"
_ADVICE = "give the .pth file that the authors released"


def read_checkpoint(path: Path, max_bytes: int = MAXIMUM_CHECKPOINT_BYTES) -> Mapping[Any, Any]:
    """The mapping that a checkpoint holds, its tensors on the CPU.

    Raises:
        InputError: the file is missing, too large, damaged, no checkpoint, or holds more than tensors and containers.
    """
    _check_archive(path, max_bytes)
    try:
        with warnings.catch_warnings():
            # Whatever torch has to say of a foreign file, it is refused or accepted as a whole.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is damaged or holds more than plain tensors, which could run code, and was not opened; {_ADVICE}."
        ) from error
    except MemoryError as error:
        raise InputError(f"{path} asks for more memory than there is; {_ADVICE}.") from error
    except Exception as error:  # the unpickler of a damaged file fails in any way that Python knows
        raise InputError(f"{path} is damaged ({type(error).__name__} while reading it); download it again.") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds a {type(content).__name__}, not named tensors; {_ADVICE}.")
    return content


def _check_archive(path: Path, max_bytes: int) -> None:
    """Refuses, before torch sees it, what is no zip archive or would be too large once unpacked."""
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise InputError(f"{path} is a folder, not a checkpoint; {_ADVICE}.")
        if size == 0:
            raise InputError(f"{path} is empty; download it again.")
        if size > max_bytes:
            raise InputError(
                f"{path} is {size} bytes, more than the {max_bytes} of any released checkpoint; {_ADVICE}."
            )
        with path.open("rb") as stream:
            begins_as_zip = stream.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
        if not begins_as_zip:
            # torch would go on to read its oldest format, a bare pickle that can ask for any amount of memory.
            raise InputError(f"{path} is not a PyTorch checkpoint (a zip archive of tensors); {_ADVICE}.")
        with zipfile.ZipFile(path) as archive:
            # A compressed archive could unpack to much more than it weighs.
            unpacked = sum(item.file_size for item in archive.infolist())
    except OSError as error:
        problem = error.strerror or error
        raise InputError(f"{path} cannot be read as a checkpoint ({problem}); check the path.") from error
    except (zipfile.BadZipFile, NotImplementedError, UnicodeError) as error:
        raise InputError(f"{path} is damaged or cut short; download it again.") from error
    if unpacked > max_bytes:
        raise InputError(f"{path} unpacks to more than {max_bytes} bytes; {_ADVICE}.")
