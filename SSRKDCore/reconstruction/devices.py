"""Where to compute, and what to do when memory runs out there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from SSRKDCore.errors import InputError

DEVICE_NAMES = ("auto", "cpu", "cuda", "mps")
#: The second attempt after running out of memory uses blocks smaller by this factor.
SMALLER = 8

Result = TypeVar("Result")


def available_devices() -> list[str]:
    """The devices of this machine, best first; "cpu" is always last."""
    found = []
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto" takes the best there is.

    Raises InputError for an unknown name and for a device that this machine or this torch does not have.
    """
    if name not in DEVICE_NAMES:
        raise InputError(f"There is no device '{name}': use one of {', '.join(DEVICE_NAMES)}.")
    available = available_devices()
    if name == "auto":
        return torch.device(available[0])
    if name not in available:
        raise InputError(
            f"The device '{name}' is not available (this torch {torch.__version__} sees {', '.join(available)}): "
            "use --device auto, or install a torch build for it."
        )
    return torch.device(name)


def synchronise(device: torch.device) -> None:
    """Wait until a device has done all that it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in words or "can't allocate memory" in words)


def with_less_memory(
    job: Callable[[torch.device, int], Result], device: torch.device, say: Callable[[str], None]
) -> tuple[Result, torch.device]:
    """Run a job, and again with less memory when that runs out: smaller blocks first, then the CPU.

    Parameters
    ----------
    job: called with a device and the factor by which its blocks should be smaller (1 at first).
    device: where to begin.
    say: receives one sentence before each further attempt.

    Returns what the job returned, and where. Raises InputError when memory is short on the CPU as well; other errors
    pass through.
    """
    attempts = [(device, 1), (device, SMALLER)]
    if device.type != "cpu":
        attempts.append((torch.device("cpu"), 1))
    for number, (place, smaller) in enumerate(attempts):
        try:
            return job(place, smaller), place
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler: the error's traceback would keep the tensors alive.
        _release(place)
        if number + 1 < len(attempts):
            following, factor = attempts[number + 1]
            how = f"with blocks {factor} times smaller" if factor > 1 else f"on the {following.type} device"
            say(f"Out of memory on the {place.type} device: trying again {how}.")
    raise InputError(
        "There is not enough memory for this reconstruction: close other programs, or use a lower --resolution."
    )


def _release(device: torch.device) -> None:
    """Give cached memory back, so that the next attempt can have it."""
    if device.type == "cuda" and torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif device.type == "mps" and torch.backends.mps.is_available():
        torch.mps.empty_cache()
