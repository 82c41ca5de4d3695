"""Batches by step number: what a step sees depends on the seed and on its number alone, so that a resumed run is the same run.

There are no epochs and no state to restore. Cases are dealt like cards: the deck is shuffled anew for each pass, so that
each case comes once a pass, and position p of the endless row of cards belongs to step p // (cards a step).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


@lru_cache(maxsize=16)
def _shuffled(seed: int, stream: int, turn: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, stream, turn]).permutation(count)


class StepDataset(Dataset[dict[str, Tensor]]):
    """The batches of a run: item k is the whole batch of optimiser step k for this process.

    A subclass gives `batch` and `fingerprint`. Whatever it draws comes from `generator` or `torch_generator`.

    Attributes:
        seed: of everything drawn. steps: how many batches there are.
        rank, processes: which share of a step is this process's; `run_stage` sets them.
    """

    def __init__(self, seed: int, steps: int) -> None:
        self.seed = seed
        self.steps = steps
        self.rank = 0
        self.processes = 1

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        return self.batch(step)

    def batch(self, step: int) -> dict[str, Tensor]:
        """The batch of a step for this process."""
        raise NotImplementedError

    def fingerprint(self) -> dict[str, Any]:
        """What the batches are drawn from, as JSON-able values; a run is only resumed on the same."""
        raise NotImplementedError

    def positions(self, step: int, share: int) -> range:
        """The positions in the row of cards of this process in a step, `share` cards for each process.

        One process with twice the share sees the same cards as two processes.
        """
        first = (step * self.processes + self.rank) * share
        return range(first, first + share)

    def deal(self, position: int, count: int, stream: int) -> int:
        """Which of `count` items comes at a position. `stream` tells decks apart (labelled, unlabelled)."""
        return int(_shuffled(self.seed, stream, position // count, count)[position % count])

    def generator(self, *keys: int) -> np.random.Generator:
        """Randomness that depends on the seed and these keys (stream, position, ...)."""
        return np.random.default_rng([self.seed, *keys])

    def torch_generator(self, *keys: int) -> torch.Generator:
        """As `generator`, for torch, on the CPU."""
        return torch.Generator().manual_seed(entropy(self.seed, *keys))


def entropy(*keys: int) -> int:
    """A well mixed seed (below 2^63) from keys."""
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0] >> np.uint64(1))


class _StepsToDo(Sampler[int]):
    """The numbers of the steps that are left; its length is that of the whole run, which is what Lightning counts."""

    def __init__(self, steps: int, done: Callable[[], int]) -> None:
        self.steps = steps
        self.done = done

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.done(), self.steps))


class StepLoader(DataLoader[dict[str, Tensor]]):
    """Loads a StepDataset from the first step that is not done yet.

    `state_dict` and `load_state_dict` tell Lightning that it can be resumed in the middle; the step counter of the
    trainer, which its checkpoint restores, is all the state there is.

    Args:
        batches: the dataset. done: how many steps are done. workers: processes that prepare batches ahead.
        pin: prepare the batches for the copy to a GPU.
    """

    def __init__(self, batches: StepDataset, done: Callable[[], int], workers: int = 0, pin: bool = False) -> None:
        super().__init__(
            batches,
            batch_size=None,
            sampler=_StepsToDo(batches.steps, done),
            num_workers=workers,
            pin_memory=pin,
            worker_init_fn=_leave_signals_to_the_parent if workers else None,
        )
        self._done = done

    def state_dict(self) -> dict[str, int]:
        return {"step": self._done()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        del state


#: How long a worker lives on after a SIGTERM: enough for the training process to finish its step.
_LAST_SECONDS = 60


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C, and the SIGTERM of a cluster's scheduler, reach the whole process group; the training process finishes its step and
    then ends its workers, which would fail it if they went first.
    """
    import signal

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(_LAST_SECONDS) and None)
