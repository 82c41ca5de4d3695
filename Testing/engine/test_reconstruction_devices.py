"""Choice of the device, and what happens when its memory runs out."""

from __future__ import annotations

import pytest
import torch

from SSRKDCore.errors import InputError
from SSRKDCore.reconstruction.devices import available_devices, choose_device, is_out_of_memory, with_less_memory


def test_auto_takes_the_best_and_cpu_is_always_there() -> None:
    assert available_devices()[-1] == "cpu"
    assert choose_device("auto").type == available_devices()[0]
    assert choose_device("cpu").type == "cpu"


def test_absent_and_unknown_devices_are_refused() -> None:
    with pytest.raises(InputError, match="no device 'gpu'"):
        choose_device("gpu")
    for name in {"cuda", "mps"} - set(available_devices()):
        with pytest.raises(InputError, match=f"'{name}' is not available"):
            choose_device(name)


def test_what_counts_as_out_of_memory() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_smaller_blocks_first_then_the_cpu() -> None:
    tried: list[tuple[str, int]] = []
    said: list[str] = []

    def job(device: torch.device, smaller: int) -> str:
        tried.append((device.type, smaller))
        if device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"

    result, place = with_less_memory(job, torch.device("cuda"), said.append)
    assert (result, place.type) == ("done", "cpu")
    assert tried == [("cuda", 1), ("cuda", 8), ("cpu", 1)]
    assert len(said) == 2
    assert "smaller" in said[0] and "cpu" in said[1]


def test_success_with_smaller_blocks_stays_on_the_device() -> None:
    def job(device: torch.device, smaller: int) -> int:
        if smaller == 1:
            raise RuntimeError("CUDA out of memory")
        return smaller

    result, place = with_less_memory(job, torch.device("cuda"), lambda words: None)
    assert (result, place.type) == (8, "cuda")


def test_no_memory_anywhere_is_one_clear_sentence() -> None:
    def job(device: torch.device, smaller: int) -> None:
        raise MemoryError

    with pytest.raises(InputError, match="not enough memory"):
        with_less_memory(job, torch.device("cpu"), lambda words: None)


def test_other_errors_pass_through() -> None:
    def job(device: torch.device, smaller: int) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        with_less_memory(job, torch.device("cpu"), lambda words: None)
