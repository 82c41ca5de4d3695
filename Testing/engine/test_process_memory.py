"""Memory: what stays with a process, and large zeros that are what `torch.zeros` gives."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from SSRKDCore.process_memory import give_back_freed_memory, keep_freed_memory
from SSRKDCore.reconstruction.large_arrays import zeros

_PROGRAM = """
import resource, sys, threading
from SSRKDCore.process_memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "keep":
    assert keep_freed_memory()

def take():
    block = b"x" * (48 << 20)
    del block

for turn in range(3):
    before = faults()
    if sys.argv[2] == "main":
        take()
    else:
        # A thread of its own every time, as `side_by_side` has.
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
@pytest.mark.parametrize("thread", ["main", "other"])
def test_freed_memory_is_used_again_without_asking_the_system(thread: str) -> None:
    """Pages that the third of three equal blocks has to be given by the system."""
    asked = {
        how: int(
            subprocess.run(
                [sys.executable, "-c", _PROGRAM, how, thread], capture_output=True, text=True, check=True
            ).stdout
        )
        for how in ("keep", "return")
    }
    # A thread's own stack is new.
    assert asked["keep"] <= (2 if thread == "main" else 12) < 20 <= asked["return"]


_RESIDENT = """
from pathlib import Path
from SSRKDCore.process_memory import give_back_freed_memory, keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

assert keep_freed_memory()
block = b"x" * (48 << 20)
del block
print(resident())
assert give_back_freed_memory()
print(resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_kept_memory_can_be_given_back() -> None:
    ended = subprocess.run([sys.executable, "-c", _RESIDENT], capture_output=True, text=True, check=True)
    kept, given_back = (int(line) for line in ended.stdout.split())
    assert kept - given_back > 40 << 20


def test_other_systems_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert keep_freed_memory() is give_back_freed_memory() is False


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float32])
@pytest.mark.parametrize("shape", [(0,), (7,), (3, 5, 4)])
def test_large_zeros_are_zeros(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    found = zeros(shape, dtype, torch.device("cpu"))
    assert torch.equal(found, torch.zeros(shape, dtype=dtype)) and found.dtype == dtype
    found.view(-1)[:1] = 1
    assert found.sum() == min(1, found.numel())
    assert zeros(shape, dtype, torch.device("meta")).device.type == "meta"
