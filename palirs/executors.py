"""Where work runs: recipes that open a :class:`concurrent.futures.Executor`. The caller does not know which."""

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from typing import Annotated, Protocol, TypeVar

from pydantic import Field
from threadpoolctl import threadpool_limits

from palirs.recipes import Count, PalirsError, recipe

T = TypeVar("T")


class ExecutorRecipe(Protocol):
    """A recipe that opens an executor."""

    def open(self) -> AbstractContextManager[Executor]:
        """Open it; leaving the context ends its workers."""
        ...


class SerialExecutor(Executor):
    """Runs each call at once, in this process."""

    workers = 1

    def submit(self, fn, /, *args, **kwargs) -> Future:
        """Run the call and return its finished future."""
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class WorkerPool(ProcessPoolExecutor):
    """A process pool that tells how many workers it has."""

    def __init__(self, workers: int, threads: int):
        spawn = multiprocessing.get_context("spawn")
        super().__init__(workers, mp_context=spawn, initializer=_start_worker, initargs=(threads,))
        self.workers = workers


def shares(items: Sequence[T], executor: Executor) -> list[Sequence[T]]:
    """Cut a list into as many even, contiguous parts as the executor has workers (one if it does not tell)."""
    parts = min(getattr(executor, "workers", 1), len(items)) or 1
    bounds = [round(part * len(items) / parts) for part in range(parts + 1)]
    return [items[start:end] for start, end in pairwise(bounds)]


@recipe
class Serial:
    """In this process, one call after the other: right for calculations of a millisecond.

    Parameters
    ----------
    threads : int
        Threads of BLAS, OpenMP and torch.
    """

    threads: Count = 1

    @contextmanager
    def open(self) -> Iterator[Executor]:
        """Open the executor and hold the threads of this process to ``threads``."""
        with threadpool_limits(self.threads):
            yield SerialExecutor()


@recipe
class Processes:
    """Worker processes on this machine, started with ``spawn`` (torch does not survive ``fork``).

    Parameters
    ----------
    workers : int
        Processes; 0 takes as many as there are cores for ``threads`` each.
    threads : int
        Threads of each worker. ``workers × threads`` may not exceed the cores of the machine.
    """

    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    threads: Count = 1

    def __post_init__(self):
        if max(self.workers, 1) * self.threads > cores():
            raise PalirsError(
                f"executor: {self.workers} workers × {self.threads} threads are more than the {cores()} cores of this machine; "
                f"lower executor.*.workers or executor.*.threads"
            )

    @contextmanager
    def open(self) -> Iterator[Executor]:
        """Open the pool; workers start when the first call is submitted."""
        pool = WorkerPool(self.workers or max(1, cores() // self.threads), self.threads)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _start_worker(threads: int) -> None:
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    threadpool_limits(threads)
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """End this worker when the study is killed; otherwise it would work on beside the study that goes on."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
