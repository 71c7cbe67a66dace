"""Executors on this machine, without a scheduler: this process, or worker processes."""

import multiprocessing
import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Annotated

from pebble import ProcessExpired, ProcessPool
from pydantic import Field
from threadpoolctl import threadpool_limits

from palirs import threads as process_threads
from palirs.executors.base import WorkerLost, cores
from palirs.recipes import Count, PalirsError, Positive, recipe

STARTING = 15.0
"""Seconds to wait for workers that are still starting when the pool ends."""


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


class WorkerPool(Executor):
    """Worker processes that may die or be stopped one by one: what they were doing fails, the pool goes on.

    (``ProcessPoolExecutor`` is broken for good when a worker dies, and cannot stop a call that has begun.)

    Parameters
    ----------
    workers, threads : int
        Processes, and threads of each.
    time_limit : float or None
        Of each call [s]; the worker that takes longer is killed and replaced, and the future raises ``TimeoutError``.
    """

    def __init__(self, workers: int, threads: int, time_limit: float | None = None):
        self.workers = workers
        self.time_limit = time_limit
        spawn = multiprocessing.get_context("spawn")  # torch does not survive fork
        self._ready, signal = spawn.Pipe(duplex=False)
        self._used = False
        self._pool = ProcessPool(workers, context=spawn, initializer=start_worker, initargs=(threads, signal))

    def submit(self, fn, /, *args, **kwargs) -> Future:
        """Queue a call; a worker that dies makes its future raise :class:`WorkerLost`."""
        self._used = True
        outer: Future = Future()
        inner = self._pool.schedule(fn, args=args, kwargs=kwargs, timeout=self.time_limit)
        inner.add_done_callback(lambda done: _pass_on(done, outer))
        outer.add_done_callback(lambda done: inner.cancel() if done.cancelled() else None)
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers: at once with ``cancel_futures``, otherwise after what is queued."""
        for _ in range(self.workers if self._used else 0):
            if self._ready.poll(STARTING):  # a worker that is ended while it starts prints a traceback
                self._ready.recv_bytes()
        if cancel_futures:
            self._pool.stop()
        else:
            self._pool.close()
        if wait:
            self._pool.join()


def _pass_on(inner: Future, outer: Future) -> None:
    if inner.cancelled() or not outer.set_running_or_notify_cancel():
        outer.cancel()
        return
    error = inner.exception()
    if isinstance(error, ProcessExpired):
        outer.set_exception(WorkerLost(f"the worker process died ({error.args[0].lower()}, exit code {error.exitcode})"))
    elif error is not None:
        outer.set_exception(error)
    else:
        outer.set_result(inner.result())


@recipe
class Serial:
    """In this process, one call after the other: right for calculations of a millisecond, and to see an error where it happens.

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
            process_threads.limit(self.threads)
            yield SerialExecutor()


@recipe
class Processes:
    """Worker processes on this machine.

    Parameters
    ----------
    workers : int
        Processes; 0 takes as many as there are cores for ``threads`` each.
    threads : int
        Threads of each worker. ``workers × threads`` may not exceed the cores of the machine.
    time_limit : float or None
        Of each call [s]; one that takes longer is stopped and has failed. Meant for labels: a training is one call.
    """

    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    threads: Count = 1
    time_limit: Positive | None = None

    def __post_init__(self):
        if max(self.workers, 1) * self.threads > cores():
            raise PalirsError(
                f"executor: {self.workers} workers × {self.threads} threads are more than the {cores()} cores of this machine; "
                f"lower executor.*.workers or executor.*.threads"
            )

    @contextmanager
    def open(self) -> Iterator[Executor]:
        """Open the pool; workers start when the first call is submitted."""
        pool = WorkerPool(self.workers or max(1, cores() // self.threads), self.threads, self.time_limit)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def start_worker(threads: int, signal: Connection | None = None) -> None:
    """Prepare a fresh worker process: it ends with its parent, its programs end with it, and it keeps to its threads."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _end_programs_with_me()
    process_threads.limit(threads, whole_process=True)
    if signal is not None:
        signal.send_bytes(b".")


def _end_programs_with_me() -> None:
    """Have the programs this worker starts (aims, orca) killed when it is killed, as it is when a time limit passes.

    A shell in another process group waits for the end of a pipe that only this process holds open.
    """
    if os.name != "posix":
        return
    os.setpgrp()
    group = os.getpid()
    _guards.append(
        subprocess.Popen(["/bin/sh", "-c", f"read _; kill -9 -{group} 2>/dev/null"], stdin=subprocess.PIPE, start_new_session=True)
    )


_guards: list[subprocess.Popen] = []


def _end_with_parent() -> None:
    """End this worker when the study is killed; otherwise it would work on beside the study that goes on."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
