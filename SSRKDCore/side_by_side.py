"""Jobs that do not depend on one another, each on a thread of its own: numpy, torch and file reading let other threads run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def side_by_side(jobs: Sequence[Callable[[], Result]], threads: int | None = None) -> list[Result]:
    """What the jobs return, in their order; raises what the first that fails raises.

    threads: at most so many at a time; None takes one a job. With one they take turns in the caller's own thread. Torch's threads, where
    it is in use, are shared among them: with all of them for every job cores would be asked for twice.
    """
    threads = len(jobs) if threads is None else min(threads, len(jobs))
    if threads <= 1:
        return [job() for job in jobs]
    torch = sys.modules.get("torch")
    if torch is None:
        with ThreadPoolExecutor(threads) as pool:
            return [job.result() for job in [pool.submit(job) for job in jobs]]
    all_of_torch = torch.get_num_threads()
    share = max(all_of_torch // threads, 1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(share,)) as pool:
            return [job.result() for job in [pool.submit(job) for job in jobs]]
    finally:
        # Of some libraries below torch the number is not each thread's own.
        torch.set_num_threads(all_of_torch)
