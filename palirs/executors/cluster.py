"""Executors with a Dask scheduler in this process: its workers run on this machine or in Slurm jobs."""

import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from palirs.executors.base import WorkerLost, cores
from palirs.executors.local import WorkerPool
from palirs.recipes import Count, PalirsError, Positive, recipe

log = logging.getLogger(__name__)

FAILURES = 3
"""Workers that a call may lose before it counts as failed."""
PATIENCE = 60.0
"""Seconds that a finished job may be gone from the queue before it is replaced, and between two looks at the queue half of that."""


@recipe
class Dask:
    """Workers on this machine under a Dask scheduler: like ``Processes``, with Dask's dashboard.

    Parameters
    ----------
    workers : int
        Processes; 0 takes as many as there are cores for ``threads`` each.
    threads : int
        Threads of each worker; a worker runs one call at a time.
    memory : str
        Of each worker, ``4GB``; one that takes more is restarted.
    dashboard : str or None
        Address of the dashboard, ``:8787``.
    time_limit : float or None
        Of each call [s]; one that takes longer is stopped and has failed.
    """

    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    threads: Count = 1
    memory: Annotated[str, Field(pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$")] = "4GB"
    dashboard: str | None = None
    time_limit: Positive | None = None

    def __post_init__(self):
        _needs("distributed")
        if max(self.workers, 1) * self.threads > cores():
            raise PalirsError(
                f"executor: {self.workers} workers × {self.threads} threads are more than the {cores()} cores of this machine; "
                f"lower executor.*.workers or executor.*.threads"
            )

    @contextmanager
    def open(self) -> Iterator[Executor]:
        """Open scheduler and workers."""
        from distributed import Client, LocalCluster

        workers = self.workers or max(1, cores() // self.threads)
        with (
            _settings(),
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=self.memory,
                dashboard_address=self.dashboard or ":0",
                env=_thread_variables(self.threads),
                silence_logs=logging.ERROR,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield DaskExecutor(client, workers, self.time_limit)


@recipe
class Slurm:
    """Slurm jobs, each with Dask workers that ask the scheduler in this process for work (dask-jobqueue).

    Jobs that end (walltime, cancelled, node lost) are replaced while there is work, and their calls run again elsewhere.

    Parameters
    ----------
    jobs : int
        Jobs at a time.
    partition, account : str or None
        ``#SBATCH -p`` and ``-A``.
    cores : int
        Of each job.
    workers_per_job : int
        Each runs one call at a time on its share of the cores.
    memory : str
        Of each job, ``16GB``.
    walltime : str
        Of each job, ``HH:MM:SS`` or ``D-HH:MM:SS``.
    gpus : int
        Of each job, ``--gres=gpu:N``.
    prologue : tuple of str
        Shell lines before the worker starts: ``module load …``, ``ulimit -s unlimited``.
    directives : tuple of str
        Further ``#SBATCH`` options, ``--constraint=…``.
    interface : str or None
        Network interface of the scheduler and the workers, ``ib0``; where the scheduler's host has several.
    scratch : str or None
        Fast directory on the nodes for Dask's files.
    python : str or None
        Interpreter of the workers; this one if ``None``.
    logs : str
        Directory of the jobs' output.
    time_limit : float or None
        Of each call [s]; one that takes longer is stopped and has failed.
    """

    jobs: Count = 1
    partition: str | None = None
    account: str | None = None
    cores: Count = 1
    workers_per_job: Count = 1
    memory: Annotated[str, Field(pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$")] = "4GB"
    walltime: Annotated[str, Field(pattern=r"^(\d+-)?\d{1,3}:\d{2}:\d{2}$")] = "01:00:00"
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    prologue: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()
    interface: str | None = None
    scratch: str | None = None
    python: str | None = None
    logs: str = "slurm-logs"
    time_limit: Positive | None = None

    def __post_init__(self):
        _needs("dask_jobqueue")
        if self.cores % self.workers_per_job:
            raise PalirsError(f"executor: {self.cores} cores cannot be shared evenly by workers_per_job={self.workers_per_job}")

    @property
    def script(self) -> str:
        """The job script that is submitted."""
        from dask_jobqueue.slurm import SLURMJob

        return SLURMJob(scheduler="tcp://<scheduler>:<port>", name="palirs", **self._options()).job_script()

    def _options(self) -> dict[str, Any]:
        variables = {**_thread_variables(self.cores // self.workers_per_job), "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
        return {
            "queue": self.partition,
            "account": self.account,
            "cores": self.workers_per_job,  # Dask's threads; one call at a time each
            "job_cpu": self.cores,
            "processes": self.workers_per_job,
            "memory": self.memory,
            "walltime": self.walltime,
            "job_extra_directives": [*([f"--gres=gpu:{self.gpus}"] if self.gpus else []), *self.directives],
            "job_script_prologue": [*self.prologue, *(f"export {key}={value}" for key, value in variables.items())],
            "interface": self.interface,
            "local_directory": self.scratch,
            "python": self.python or sys.executable,
            "log_directory": self.logs,
        }

    def check(self) -> None:
        """Raise :class:`PalirsError` where no jobs can be submitted."""
        if not shutil.which("sbatch"):
            raise PalirsError("executor: there is no sbatch command here; start this on a machine that submits Slurm jobs")

    @contextmanager
    def open(self) -> Iterator[Executor]:
        """Open the scheduler and submit the jobs; leaving the context cancels them."""
        self.check()
        from dask_jobqueue import SLURMCluster
        from distributed import Client

        Path(self.logs).mkdir(parents=True, exist_ok=True)
        dashboard = {"dashboard_address": ":0"}
        with (
            _settings(),
            SLURMCluster(**self._options(), scheduler_options=dashboard, silence_logs=logging.ERROR) as cluster,
            Client(cluster) as client,
        ):
            executor = DaskExecutor(client, self.jobs * self.workers_per_job, self.time_limit)
            with _kept_alive(cluster, self.jobs, executor, self.logs):
                yield executor


class DaskExecutor(Executor):
    """A Dask client as an executor that knows its workers, limits the time of calls and says when a worker was lost."""

    def __init__(self, client, workers: int, time_limit: float | None = None):
        self.workers = workers
        self.finished = 0
        self._inner = client.get_executor(pure=False)
        self._time_limit = time_limit
        self._open: set[Future] = set()

    def submit(self, fn, /, *args, **kwargs) -> Future:
        """Queue a call."""
        call = partial(fn, *args, **kwargs)
        inner = self._inner.submit(outcome, call, self._time_limit)
        outer: Future = Future()
        self._open.add(outer)
        inner.add_done_callback(lambda done: self._pass_on(done, outer))
        outer.add_done_callback(lambda done: inner.cancel() if done.cancelled() else None)
        return outer

    def give_up(self, error: Exception) -> None:
        """Fail every call that is not finished."""
        for future in list(self._open):
            with suppress(Exception):
                future.set_exception(error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to do: cluster and client are closed by the recipe that opened them."""

    def _pass_on(self, inner: Future, outer: Future) -> None:
        self._open.discard(outer)
        self.finished += 1
        with suppress(Exception):  # the caller may have cancelled it by now
            if inner.cancelled():
                outer.cancel()
                return
            error = inner.exception()
            if type(error).__name__ == "KilledWorker":
                outer.set_exception(WorkerLost(f"{FAILURES + 1} workers died or were cancelled while they worked on it"))
                return
            result, error = (None, error) if error is not None else inner.result()
            if error is not None:
                outer.set_exception(error)
            else:
                outer.set_result(result)


def outcome(call: Callable[[], Any], seconds: float | None) -> tuple[Any, Exception | None]:
    """Run in the worker: return result and error, which Dask would otherwise print as if it were its own."""
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


@contextmanager
def _kept_alive(cluster, jobs: int, executor: DaskExecutor, logs: str) -> Iterator[None]:
    """Submit the jobs, and again for every one that ends, as long as work gets done in between."""
    stop = threading.Event()

    def watch() -> None:
        restarts, finished = 0, 0
        while not stop.wait(PATIENCE / 2):
            try:
                lost = _lost_jobs(cluster)
                if executor.finished > finished:
                    restarts, finished = 0, executor.finished
                if lost and restarts >= FAILURES:
                    executor.give_up(
                        PalirsError(
                            f"executor: Slurm jobs end before they do any work, {restarts} rounds of them; see their output in {logs}/"
                        )
                    )
                    return
                if lost:
                    restarts += 1
                    log.warning("%d Slurm job(s) ended, submitting again", len(lost))
                    cluster.sync(_replace, cluster, lost)
            except (OSError, subprocess.SubprocessError, CancelledError) as error:
                log.warning("cannot look at the Slurm queue: %s", error)

    cluster.scale(jobs=jobs)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _lost_jobs(cluster) -> set:
    """Return the names of jobs that were submitted, are gone from the queue, and have no worker."""
    known = {str(job.job_id): name for name, job in dict(cluster.workers).items() if getattr(job, "job_id", None)}
    queue = subprocess.run(
        ["squeue", "--me", "--noheader", "--format=%i"], capture_output=True, text=True, timeout=30, check=True
    ).stdout.split()
    gone = {name for number, name in known.items() if number not in queue}
    return gone | (set(cluster.worker_spec) - set(cluster.workers))


async def _replace(cluster, lost: set) -> None:
    for name in lost:
        cluster.workers.pop(name, None)
    await cluster._correct_state()


def _thread_variables(threads: int) -> dict[str, str]:
    return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))


def _settings():
    import dask

    return dask.config.set(
        {
            "distributed.scheduler.allowed-failures": FAILURES,
            "distributed.worker.daemon": False,  # with a time limit a worker has a child
            "distributed.worker.profile.enabled": False,
            "distributed.admin.log-format": "%(message)s",
        }
    )


def _needs(package: str) -> None:
    if find_spec(package) is None:
        raise PalirsError(f"executor: {package} is not installed here; pip install 'palirs[cluster]'")
