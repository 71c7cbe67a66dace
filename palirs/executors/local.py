"""Executors on this machine, without a scheduler: this process, or worker processes."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from pathlib import Path
from queue import SimpleQueue

from threadpoolctl import threadpool_limits

from palirs import threads as process_threads
from palirs.executors.base import OnThisMachine, WorkerLost
from palirs.recipes import Count, recipe

PRELOADED = ["__main__"]
"""Modules that workers have from their start, see :func:`preload`."""
GPUS = ("/dev/nvidiactl", "/dev/kfd")
"""Files that tell of a GPU's driver, NVIDIA's and AMD's."""


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
    """Worker processes that may die or be stopped one by one: their call fails, the pool goes on.

    (``ProcessPoolExecutor`` is broken for good when a worker dies and cannot stop a call that has
    begun; pools that can share queues and their locks between workers, and one that is killed with
    the lock in hand stops the others.) Here each worker has a pipe and a thread of this process to
    itself, and nothing is shared. A worker starts when there is a first call for it.

    Parameters
    ----------
    workers, threads : int
        Processes, and threads of each.
    time_limit : float or None
        Of each call [s]; the worker that takes longer is killed, and the future raises
        ``TimeoutError``.
    """

    def __init__(self, workers: int, threads: int, time_limit: float | None = None):
        self.workers = workers
        self._threads, self._time_limit = threads, time_limit
        self._calls: SimpleQueue = SimpleQueue()
        self._alive: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = self._cancelled = False
        self._attendants = [
            threading.Thread(target=self._attend, daemon=True) for _ in range(workers)
        ]
        for attendant in self._attendants:
            attendant.start()

    def submit(self, fn, /, *args, **kwargs) -> Future:
        """Queue a call; a worker that dies makes its future raise :class:`WorkerLost`."""
        if self._closed:
            raise RuntimeError("the pool is closed")
        future: Future = Future()
        self._calls.put((future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers: at once with ``cancel_futures``, otherwise after what is queued."""
        with self._lock:
            self._closed, self._cancelled = True, cancel_futures
            for worker in list(self._alive) if cancel_futures else ():
                if worker.busy:
                    worker.kill()
        for _ in self._attendants:
            self._calls.put(None)
        if wait:
            for attendant in self._attendants:
                attendant.join()

    def _start(self) -> "_Worker":
        """Start a worker; none that :meth:`shutdown` would not know of."""
        with self._lock:
            if self._cancelled:
                raise WorkerLost("the pool was closed")
            worker = _Worker(self._threads)
            worker.busy = True
            self._alive.add(worker)
            return worker

    def _attend(self) -> None:
        """Pass calls to one worker, and replace it when it dies."""
        worker: _Worker | None = None
        while (item := self._calls.get()) is not None:
            future, call = item
            if self._cancelled:
                future.cancel()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if worker is None or not worker.alive:
                    worker = self._start()
                result = worker.run(call, self._time_limit)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            if worker is not None and not worker.alive:
                self._alive.discard(worker)
        if worker is not None:
            worker.end()
            self._alive.discard(worker)


def _context() -> ForkServerContext | SpawnContext:
    """Return how workers start.

    torch does not survive the fork of a process that has used it. They are forked from a server
    that has imported what they need and done nothing else, so seven seconds of importing are paid
    once; beside a GPU, whose driver an import may have woken, they start afresh.
    """
    if not sys.platform.startswith("linux") or any(Path(device).exists() for device in GPUS):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)  # nothing changes for a server that runs already
    return context


def preload(*modules: str) -> None:
    """Name modules that workers import at their start; one that cannot be imported is left out."""
    PRELOADED.extend(name for name in modules if name not in PRELOADED)


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, threads: int):
        context = _context()
        self._connection, other_end = context.Pipe()
        self._process = context.Process(target=_work, args=(other_end, threads))
        self._process.start()
        other_end.close()  # so that the pipe ends when the worker does
        self.busy = False
        self._end = Finalize(self, _kill, args=(self._process, self._connection), exitpriority=100)

    @property
    def alive(self) -> bool:
        """Whether it can take calls."""
        return self._end.still_active() and self._process.is_alive()

    def run(self, call: Callable, time_limit: float | None):
        """Run a call there and return its result, or raise its error."""
        message = pickle.dumps(call)
        self.busy = True
        try:
            self._connection.send_bytes(message)
            if not self._connection.poll(time_limit):
                self.kill()
                raise TimeoutError(f"took longer than {time_limit:g} s")
            success, value = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            self._process.join(5)
            code = self._process.exitcode
            self.kill()
            raise WorkerLost(
                "the worker process died (exit code "
                f"{code}{', killed' if code == -signal.SIGKILL else ''})"
            ) from error
        finally:
            self.busy = False
        if success:
            return value
        raise value

    def end(self) -> None:
        """Let the process end by itself, so that it cleans up; kill it if it does not."""
        self._connection.close()
        self._process.join(5)
        self.kill()

    def kill(self) -> None:
        """End the process at once."""
        self._end()


def _kill(process: BaseProcess, connection: Connection) -> None:
    process.kill()
    process.join()
    with suppress(OSError):
        connection.close()


def _work(connection: Connection, threads: int) -> None:
    """Be a worker: run what comes through the pipe, until it ends."""
    for number in (
        signal.SIGINT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    ):  # Ctrl-C, Slurm near the walltime: for the study to answer
        signal.signal(number, signal.SIG_IGN)
    start_worker(threads)
    while True:
        try:
            message = connection.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            reply = pickle.dumps((True, pickle.loads(message)()))
        except BaseException as error:
            reply = _packed(error)
        connection.send_bytes(reply)


def _packed(error: BaseException) -> bytes:
    """Pickle an error with its traceback; as text if it cannot be pickled or read again."""
    trace = "".join(traceback.format_exception(error))
    with suppress(Exception):
        error.add_note(f"In a worker process:\n{trace}")
        packed = pickle.dumps((False, error))
        pickle.loads(packed)
        return packed
    return pickle.dumps((False, RuntimeError(f"in a worker process:\n{trace}")))


@recipe
class Serial:
    """In this process, one call after the other: for calculations of a millisecond, and debugging.

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
class Processes(OnThisMachine):
    """Worker processes on this machine, without a scheduler; see :class:`OnThisMachine`."""

    @contextmanager
    def open(self) -> Iterator[Executor]:
        """Open the pool; workers start when the first call is submitted."""
        pool = WorkerPool(self.count, self.threads, self.time_limit)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def start_worker(threads: int) -> None:
    """Prepare a worker process: it ends with its parent, its programs with it; set its threads."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _end_programs_with_me()
    process_threads.limit(threads, whole_process=True)


def _end_programs_with_me() -> None:
    """Have the programs that this worker starts (aims, orca) killed when it is killed.

    A shell in another process group waits for the end of a pipe that only this process holds open.
    """
    if os.name != "posix":
        return
    os.setpgrp()
    group = os.getpid()
    _guards.append(
        subprocess.Popen(
            ["/bin/sh", "-c", f"read _; kill -9 -{group} 2>/dev/null"],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
    )


_guards: list[subprocess.Popen] = []


def _end_with_parent() -> None:
    """End this worker when the study is killed; else it works on beside the one that goes on."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
