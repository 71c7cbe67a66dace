"""Slurm jobs as an executor: a Dask client and what its scheduler and workers are set to."""

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError
from contextlib import suppress
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

from palirs import threads
from palirs.executors.base import WorkerLost
from palirs.executors.local import WorkerPool
from palirs.recipes import PalirsError, recipe

FAILURES = 3
"""Workers that a call may lose before it counts as failed."""


@recipe
class Dask:
    """The Dask workers on this machine that earlier versions had: refused, with what to use."""

    workers: Any = 0
    threads: Any = 1
    memory: Any = None
    dashboard: Any = None
    time_limit: Any = None

    def __post_init__(self):
        raise PalirsError(
            "executor: there are no Dask workers on this machine any more; executor=laptop (or "
            "workers@executor.labels=processes) has worker processes, which do the same and faster"
        )


class DaskExecutor(Executor):
    """A Dask client as an executor: it limits the time of calls and reports lost workers."""

    def __init__(self, client, workers: int, time_limit: float | None = None):
        self.workers = workers
        self.finished = 0
        self._inner = client.get_executor(pure=False)
        self._time_limit = time_limit
        self._open: set[Future] = set()
        self._fatal: Exception | None = None

    @property
    def waiting(self) -> int:
        """Calls that are not finished."""
        return len(self._open)

    def submit(self, fn, /, *args, **kwargs) -> Future:
        """Queue a call."""
        if self._fatal is not None:
            raise self._fatal
        call = partial(fn, *args, **kwargs)
        inner = self._inner.submit(outcome, call, self._time_limit)
        outer: Future = Future()
        self._open.add(outer)
        inner.add_done_callback(lambda done: self._pass_on(done, outer))
        outer.add_done_callback(lambda done: inner.cancel() if done.cancelled() else None)
        return outer

    def give_up(self, error: Exception) -> None:
        """Fail every call that is not finished, and every later one."""
        self._fatal = error
        for future in list(self._open):
            with suppress(InvalidStateError):  # it was finished or cancelled by now
                future.set_exception(error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to do: cluster and client are closed by the recipe that opened them."""

    def _pass_on(self, inner: Future, outer: Future) -> None:
        self._open.discard(outer)
        self.finished += 1
        with suppress(InvalidStateError):  # the caller may have cancelled it by now
            if inner.cancelled():
                outer.cancel()
                return
            error = inner.exception()
            if type(error).__name__ == "KilledWorker":
                outer.set_exception(
                    WorkerLost(
                        f"{FAILURES + 1} workers died or were cancelled while they worked on it"
                    )
                )
                return
            result, error = (None, error) if error is not None else inner.result()
            if error is not None:
                outer.set_exception(error)
            else:
                outer.set_result(result)


def outcome(call: Callable[[], Any], seconds: float | None) -> tuple[Any, Exception | None]:
    """Run a call in the worker and return its result or error, which Dask would else print."""
    try:
        return (within(seconds, call) if seconds else call()), None
    except Exception as error:
        return None, error


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """Run a call in a process of its own, which is kept, and killed when a call takes longer."""
    return _helper(seconds).submit(call).result()


@cache
def _helper(seconds: float) -> WorkerPool:
    return WorkerPool(1, int(os.environ.get("OMP_NUM_THREADS", "1")), seconds)


SETTINGS = {
    "distributed.scheduler.allowed-failures": FAILURES,
    "distributed.worker.daemon": False,  # with a time limit a worker has a child
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.log-format": "%(message)s",
}
"""Of scheduler and workers; Dask's own profiler and monitors take a twentieth of each core."""

MEMORY = {"MALLOC_TRIM_THRESHOLD_": "67108864", "MALLOC_MMAP_THRESHOLD_": "33554432"}
"""When workers return memory (glibc): Dask has them do so at once, and they fetch the same pages
again in the next update of a training."""


def settings():
    """Return a context with Dask's settings as palirs needs them."""
    import dask

    return dask.config.set(
        {
            **SETTINGS,
            **{
                f"distributed.nanny.pre-spawn-environ.{key}": value for key, value in MEMORY.items()
            },
        }
    )


def worker_variables(count: int) -> dict[str, str]:
    """Return the environment of workers that do not inherit :func:`settings`.

    Parameters
    ----------
    count : int
        Threads of each.
    """
    own = {
        f"DASK_{key.replace('.', '__').replace('-', '_').upper()}": str(value)
        for key, value in SETTINGS.items()
    }
    return {**threads.variables(count), **MEMORY, **own}


def needs(package: str) -> None:
    """Raise :class:`PalirsError` if a package is not installed."""
    if find_spec(package) is None:
        raise PalirsError(
            f"executor: {package} is not installed here; pip install 'palirs[cluster]'"
        )
