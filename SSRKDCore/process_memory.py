"""What becomes of freed memory of this process.

The C library of Linux gives large freed blocks back to the system at once, and takes others for the next ones, which the system clears page
by page. A reconstruction frees and takes some gigabytes, so this is a good part of it, the more in a virtual machine, whose host
takes free memory away as well. A GPU's memory is kept by torch for the same reason.
"""

from __future__ import annotations

import ctypes
import platform

# mallopt(3): the parameters' numbers in <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """From now on, freed memory stays with the process for what it needs next: for programs that do one job and end, since a process
    is then as large as it ever was. Threads share what is kept: left to themselves each has a store of its own, which it gives back when it
    ends. Returns whether the C library can be told so: glibc can, others are left as they are.
    """
    if not _has_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wishes = {_MMAP_THRESHOLD: _LARGEST, _TRIM_THRESHOLD: _LARGEST, _ARENA_MAX: 1}
    return all(mallopt(parameter, value) == 1 for parameter, value in wishes.items())


def give_back_freed_memory() -> bool:
    """Give what was kept so far back to the system once: before the memory of something else is measured. Returns whether any was."""
    return _has_glibc() and ctypes.CDLL(None).malloc_trim(0) == 1


def _has_glibc() -> bool:
    return platform.system() == "Linux" and platform.libc_ver()[0] == "glibc"
