"""Result folders that appear only when they are complete."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from SSRKDCore.errors import InputError
from SSRKDCore.file_names import plain_name

_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}
_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}


def _explain(error: OSError, path: Path) -> InputError:
    if error.errno in _FULL_DISK:
        return InputError(f"The disk is full, nothing was written to {path}: free some space or choose another folder.")
    if error.errno in _READ_ONLY:
        return InputError(f"{path} cannot be written ({error.strerror}): choose a folder that you may write to.")
    return InputError(f"{path} cannot be written ({error.strerror or error}): choose another output folder.")


def check_output_folder(path: str | Path, overwrite: bool = False) -> None:
    """Refuse an output folder early, before any long work.

    Raises InputError when it exists (unless `overwrite`), is a file, or its parent cannot be written.
    """
    path = Path(path)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise InputError(f"{path} exists and is not a folder: choose another output folder.")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already: choose another output folder, or add --overwrite to replace it.")
    kept = (Path.cwd().resolve(), Path.home().resolve(), Path(path.resolve().anchor))
    if path.exists() and any(folder.is_relative_to(path.resolve()) for folder in kept):
        raise InputError(
            f"{path} is or holds the current, home or root folder and is never replaced: choose a folder inside it."
        )
    plain_name(path)
    ancestor = path.parent
    while not ancestor.exists():
        ancestor = ancestor.parent
    if not ancestor.is_dir():
        raise InputError(f"{ancestor} is not a folder, so {path} cannot be made: choose another output folder.")
    if not os.access(ancestor, os.W_OK | os.X_OK):
        raise InputError(f"{ancestor} is read-only: choose an output folder that you may write to.")


def check_nothing_read_inside(path: str | Path, words: Iterable[str | Path]) -> None:
    """Refuse to replace a folder that holds what a job reads, as that would vanish with it.

    words: of a command: files and folders, also as NAME=FILE; others name nothing and do not count.

    Raises InputError.
    """
    folder = Path(path)
    if not folder.is_dir():
        return
    for word in words:
        for name in (str(word), str(word).partition("=")[2]):
            # Of a word that is longer than any name, Path.exists would raise.
            if name and os.path.exists(name) and Path(name).resolve().is_relative_to(folder.resolve()):  # noqa: PTH110
                raise InputError(
                    f"{name} lies in {path}, which --overwrite would replace as a whole: choose another output folder."
                )


@contextmanager
def complete_folder(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `path`; on success it becomes `path`, on any error it vanishes.

    With `overwrite` the old folder is replaced only after the new one is complete. Raises InputError when the target exists
    (and `overwrite` is false), cannot be written, or the disk fills up.
    """
    path = Path(path)
    check_output_folder(path, overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}-", dir=path.parent))
    except OSError as error:
        raise _explain(error, path) from error
    try:
        # mkdtemp makes the folder private; results take the permissions any new folder would have.
        umask = os.umask(0)
        os.umask(umask)
        beside.chmod(0o777 & ~umask)
        yield beside
        _move_into_place(beside, path, overwrite)
    except OSError as error:
        raise _explain(error, path) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _move_into_place(beside: Path, path: Path, overwrite: bool) -> None:
    if path.exists():
        if not overwrite:
            raise InputError(f"{path} appeared while the results were computed: choose another output folder.")
        old = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}-old-", dir=path.parent))
        try:
            os.rename(path, old / "old")
            os.rename(beside, path)
        finally:
            # Whatever ended this, an interrupt between the two included: the old one goes only when one of both is in its place.
            if not path.exists():
                os.rename(old / "old", path)
            shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(beside, path)
