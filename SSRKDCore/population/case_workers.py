"""The same job for many cases: in this process, in a pool of processes, or on a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from SSRKDCore.errors import InputError

Job = TypeVar("Job")
Result = TypeVar("Result")

_SCHEDULER_TIMEOUT_S = 20
# numba's portable threading layer ends the process when two threads enter it at once, and a Dask worker may have many.
_one_at_a_time = threading.Lock()


def core_count() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int | None = None,
    scheduler: str | None = None,
) -> Generator[tuple[Job, Result | BaseException]]:
    """Do every job somewhere; yields (job, what it returned or raised) in the order in which they end.

    Closing the iterator drops the jobs that have not begun, and waits for those in work on this machine.

    Parameters
    ----------
    function, jobs: picklable.
    workers: processes on this machine (default: one a core); 1 works in this process.
    scheduler: address of a Dask scheduler, which takes the place of the processes.

    Raises InputError when no scheduler answers, or a process was ended from outside.
    """
    if scheduler is not None:
        yield from _on_cluster(function, jobs, scheduler)
        return
    count = max(1, min(workers or core_count(), len(jobs)))
    if count == 1:
        for job in jobs:
            yield job, _attempted(function, job)
    else:
        yield from _in_processes(function, jobs, count)


def _attempted(function: Callable[[Job], Result], job: Job) -> Result | BaseException:
    try:
        return function(job)
    except Exception as error:
        return error


def _in_processes(
    function: Callable[[Job], Result], jobs: Sequence[Job], count: int
) -> Generator[tuple[Job, Result | BaseException]]:
    # Spawned, not forked: threads that VTK, ITK or numba have started do not survive a fork.
    executor = ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(max(1, core_count() // count),),
    )
    try:
        futures: dict[Future[Result], Job] = {executor.submit(function, job): job for job in jobs}
        for future in as_completed(futures):
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                raise InputError(
                    "A worker process was ended from outside, most likely for lack of memory: "
                    "run the same command again with fewer --workers."
                ) from error
            yield futures.pop(future), future.result() if error is None else error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _start_worker(threads: int) -> None:
    """Ctrl-C is the parent's: a worker ends the case in hand. Without its parent it ends at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    limit_threads(threads)


def end_with_parent() -> None:
    """From now on this worker process ends when its parent does, however that ended; else it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def limit_threads(threads: int) -> None:
    """Threads that numba and SimpleITK start from this thread on, so that processes side by side do not crowd one another out."""
    import numba
    import SimpleITK

    launched = int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    numba.set_num_threads(max(1, min(threads, launched)))
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _on_cluster(
    function: Callable[[Job], Result], jobs: Sequence[Job], address: str
) -> Generator[tuple[Job, Result | BaseException]]:
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise InputError("--scheduler needs the Python package 'distributed': install dask[distributed].") from error
    try:
        client = distributed.Client(address, timeout=_SCHEDULER_TIMEOUT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"No Dask scheduler answers at {address} ({error}): check the address, such as tcp://host:8786."
        ) from error
    try:
        try:
            client.wait_for_workers(1, timeout=_SCHEDULER_TIMEOUT_S)
        except TimeoutError as error:
            raise InputError(f"The Dask scheduler at {address} has no workers: start some.") from error
        futures = {client.submit(_cluster_job, function, job, pure=False, retries=0): job for job in jobs}
        try:
            for future in distributed.as_completed(list(futures), loop=client.loop, raise_errors=False):
                failure = future.exception()
                yield futures.pop(future), future.result() if failure is None else failure
        finally:
            client.cancel(list(futures))
    finally:
        client.close()


def _cluster_job(function: Callable[[Job], Result], job: Job) -> Result:
    from distributed import get_worker

    with _one_at_a_time:
        limit_threads(get_worker().state.nthreads)
        return function(job)
