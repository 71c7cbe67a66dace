"""What executors have in common: recipes, lazy opening, dividing work, sizes of memory."""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from typing import Annotated, Protocol, TypeVar

from pydantic import Field

from palirs.recipes import Count, PalirsError, Seconds, recipe

T = TypeVar("T")


class WorkerLost(Exception):
    """The worker died before it gave an answer: killed, out of memory, or its job ended."""


class ExecutorRecipe(Protocol):
    """A recipe that opens an executor."""

    def open(self) -> AbstractContextManager[Executor]:
        """Open it; leaving the context ends its workers."""
        ...


class LazyExecutor(Executor):
    """An executor that opens when it is first used: a task that needs no Slurm jobs submits none.

    Parameters
    ----------
    recipe : ExecutorRecipe
        What to open.
    stack : ExitStack
        What closes it.
    """

    def __init__(self, recipe: ExecutorRecipe, stack: ExitStack):
        self._recipe, self._stack = recipe, stack

    @cached_property
    def _opened(self) -> Executor:
        return self._stack.enter_context(self._recipe.open())

    @property
    def workers(self) -> int:
        """How many calls run at a time."""
        return getattr(self._opened, "workers", 1)

    def submit(self, fn, /, *args, **kwargs) -> Future:
        """Queue a call."""
        return self._opened.submit(fn, *args, **kwargs)


def shares(
    items: Sequence[T], executor: Executor, cost: Callable[[T], float] = lambda item: 1.0
) -> list[list[T]]:
    """Divide a list among the workers of an executor so that they finish at about the same time.

    The dearest item goes first, each to the worker that has least to do until then (Graham 1969,
    doi:10.1137/0117039: at most a third longer than the best there is). A share keeps the order of
    the list.

    Parameters
    ----------
    items : sequence
        What is to be done.
    executor : Executor
        Where; one without ``workers`` has one.
    cost : callable
        Of an item, in any unit.
    """
    workers = min(getattr(executor, "workers", 1), len(items)) or 1
    costs, loads = [cost(item) for item in items], [0.0] * workers
    chosen: list[list[int]] = [[] for _ in range(workers)]
    for number in sorted(range(len(items)), key=lambda number: -costs[number]):
        worker = min(range(workers), key=lambda worker: (loads[worker], len(chosen[worker])))
        loads[worker] += costs[number]
        chosen[worker].append(number)
    return [[items[number] for number in sorted(share)] for share in chosen]


def cores() -> int:
    """Return the number of cores this process may use."""
    return (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    )


def gigabytes(text: str) -> float:
    """Return a size of memory, ``4GB``, ``512 MiB``, in GB."""
    number, unit = re.fullmatch(r"([\d.]+) ?(\w+)", text).groups()  # type: ignore[union-attr]
    return float(number) * (1024 if "i" in unit else 1000) ** ("KMGT".index(unit[0]) + 1) / 1e9


@recipe
class OnThisMachine:
    """Worker processes on this machine.

    Parameters
    ----------
    workers : int
        Processes; 0 takes as many as there are cores for ``threads`` each.
    threads : int
        Threads of each worker, which runs one call at a time. ``workers × threads`` may not exceed
        the cores of the machine.
    time_limit : float or None
        Of each call [s]; one that takes longer is stopped and has failed. Meant for labels: a
        training is one call.
    """

    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    threads: Count = 1
    time_limit: Seconds | None = None

    def __post_init__(self):
        if max(self.workers, 1) * self.threads > cores():
            raise PalirsError(
                f"executor: {self.workers} workers × {self.threads} threads are more than the "
                f"{cores()} cores of this machine; "
                f"lower executor.*.workers or executor.*.threads"
            )

    @property
    def count(self) -> int:
        """How many processes that are."""
        return self.workers or max(1, cores() // self.threads)
