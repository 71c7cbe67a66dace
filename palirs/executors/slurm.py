"""Workers in Slurm jobs, through dask-jobqueue."""

import logging
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from palirs.executors.base import gigabytes
from palirs.executors.dask import FAILURES, DaskExecutor, needs, settings, worker_variables
from palirs.recipes import Count, PalirsError, Seconds, recipe

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds; the queue is looked at every half of it."""


OPTIONS = {
    r"-p|--partition": "partition",
    r"-A|--account": "account",
    r"-c|--cpus-per-task": "cores",
    r"--mem|--mem-per-cpu|--mem-per-gpu": "memory",
    r"-t|--time": "walltime",
    r"--gres|--gpus|--gpus-per-node": "gpus",
}
"""Options of sbatch that settings stand for: the last one counts, and some exclude each other."""


@recipe
class Slurm:
    """Slurm jobs with Dask workers that ask the scheduler in this process for work.

    Jobs that end (walltime, cancelled, node lost) are replaced while there is work, and their calls
    run again elsewhere.

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
        Network interface of the scheduler and the workers, ``ib0``; where the scheduler's host has
        several.
    scratch : str or None
        Fast directory on the nodes for Dask's files.
    python : str or None
        Interpreter of the workers; this one if ``None``.
    logs : str
        Directory of the jobs' output.
    time_limit : float or None
        Of each call [s]; one that takes longer is stopped and has failed.
    """

    jobs: Count = 4
    partition: str | None = None
    account: str | None = None
    cores: Count = 4
    workers_per_job: Count = 1
    memory: Annotated[str, Field(pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$")] = "8GB"
    walltime: Annotated[str, Field(pattern=r"^(\d+-)?\d{1,3}:\d{2}:\d{2}$")] = "04:00:00"
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    prologue: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()
    interface: str | None = None
    scratch: str | None = None
    python: str | None = None
    logs: str = "slurm-logs"
    time_limit: Seconds | None = None

    def __post_init__(self):
        needs("dask_jobqueue")
        if self.cores % self.workers_per_job:
            raise PalirsError(
                f"executor: {self.cores} cores cannot be shared evenly by "
                f"workers_per_job={self.workers_per_job}"
            )
        if self.time_limit is not None and self.time_limit > seconds(self.walltime):
            raise PalirsError(
                f"executor: time_limit={self.time_limit:g} s of a call is longer than "
                f"walltime={self.walltime} of its job, which would end first, and begin the call "
                "again; give a longer walltime or less"
            )
        for directive in self.directives:
            for option, field in OPTIONS.items():
                if re.match(rf"({option})(?![\w-])", directive.strip()) and getattr(self, field):
                    raise PalirsError(
                        f"executor: {directive} among directives and "
                        f"{field}={getattr(self, field)} are about the same; give {field} only"
                    )

    @property
    def memory_of_worker(self) -> float:
        """[GB]."""
        return gigabytes(self.memory) / self.workers_per_job

    @property
    def with_gpus(self) -> bool:
        """Whether the jobs ask for GPUs."""
        asked = any(re.match(r"(--gres|--gpus)", line.strip()) for line in self.directives)
        return self.gpus > 0 or asked

    @property
    def script(self) -> str:
        """The job script that is submitted."""
        from dask_jobqueue.slurm import SLURMJob

        return SLURMJob(
            scheduler="tcp://<scheduler>:<port>", name="palirs", **self._options()
        ).job_script()

    def _options(self) -> dict[str, Any]:
        variables = worker_variables(self.cores // self.workers_per_job)
        return {
            "queue": self.partition,
            "account": self.account,
            "cores": self.workers_per_job,  # Dask's threads; one call at a time each
            "job_cpu": self.cores,
            "processes": self.workers_per_job,
            "memory": self.memory,
            "walltime": self.walltime,
            "job_extra_directives": [
                *([f"--gres=gpu:{self.gpus}"] if self.gpus else []),
                *self.directives,
            ],
            "job_script_prologue": [
                *self.prologue,
                *(f"export {key}={shlex.quote(value)}" for key, value in variables.items()),
            ],
            "interface": self.interface,
            "local_directory": self.scratch,
            "python": self.python or sys.executable,
            "log_directory": self.logs,
        }

    def check(self) -> None:
        """Raise :class:`PalirsError` where no jobs can be submitted."""
        if not shutil.which("sbatch"):
            raise PalirsError(
                "executor: there is no sbatch command here; start this on a machine that submits "
                "Slurm jobs"
            )

    @contextmanager
    def open(self) -> Iterator[Executor]:
        """Open the scheduler and submit the jobs; leaving the context cancels them."""
        self.check()
        from dask_jobqueue import SLURMCluster
        from distributed import Client

        Path(self.logs).mkdir(parents=True, exist_ok=True)
        dashboard = {"dashboard_address": ":0"}
        with (
            settings(),
            SLURMCluster(
                **self._options(), scheduler_options=dashboard, silence_logs=logging.ERROR
            ) as cluster,
            Client(cluster) as client,
        ):
            executor = DaskExecutor(client, self.jobs * self.workers_per_job, self.time_limit)
            with _Watch(cluster, self.jobs, executor, self.logs).running():
                yield executor


def seconds(walltime: str) -> int:
    """Return ``HH:MM:SS`` or ``D-HH:MM:SS`` in seconds."""
    days, _, clock = walltime.rpartition("-")
    hours, minutes, rest = map(int, clock.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + rest


class _Watch:
    """Submits Slurm jobs, and again for those that end while there is work, unless none do any.

    Parameters
    ----------
    cluster : dask_jobqueue.SLURMCluster
        The scheduler; it submits and knows the jobs, but does not replace those that end.
    jobs : int
        Jobs to keep.
    executor : DaskExecutor
        Its calls fail when jobs do no work.
    logs : str
        Directory of the jobs' output, for the message.
    """

    def __init__(self, cluster, jobs: int, executor: DaskExecutor, logs: str):
        self.cluster, self.jobs, self.executor, self.logs = cluster, jobs, executor, logs
        self.rounds = self.finished = 0
        self.reason = "they ended"
        self.unsubmitted: set = set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Look at the queue from time to time, in a thread."""
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.cluster.sync(_forget_unsubmitted, self.cluster)

    def _run(self, stop: threading.Event) -> None:
        self._submit(set())
        while not stop.wait(PATIENCE / 2):
            try:
                self._look()
            except (
                Exception
            ) as error:  # of Slurm's commands or of Dask; the queue is looked at again
                log.warning("cannot look at the Slurm queue: %s", error)

    def _look(self) -> None:
        if self.executor.finished > self.finished:
            self.rounds, self.finished = 0, self.executor.finished
        if not self.executor.waiting:
            return  # jobs that end now are not needed, and their end is no sign of trouble
        lost = self._lost()
        if lost and self.rounds >= FAILURES:
            text = (
                f"executor: Slurm jobs do no work, {self.rounds} rounds of them ({self.reason}); "
                f"see their output in {self.logs}/"
            )
            self.executor.give_up(PalirsError(text))
        elif lost:
            self.rounds += 1
            log.warning(
                "%d Slurm job(s) ended or could not be submitted, submitting again", len(lost)
            )
            self._submit(lost)

    def _lost(self) -> set:
        """Return the names of jobs that have left the queue, or twice in a row were not in it."""
        command = ["squeue", "--me", "--noheader", "--format=%i"]
        queue = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True
        ).stdout.split()
        jobs = dict(self.cluster.workers)
        numbers = {name: getattr(job, "job_id", None) for name, job in jobs.items()}
        gone = {
            name
            for name, number in numbers.items()
            if number is not None and str(number) not in queue
        }
        unsubmitted = {name for name, number in numbers.items() if number is None} | (
            set(self.cluster.worker_spec) - set(jobs)
        )
        twice, self.unsubmitted = unsubmitted & self.unsubmitted, unsubmitted
        return gone | twice

    def _submit(self, lost: set) -> None:
        """Have Dask submit what is missing."""
        try:
            while len(self.cluster.worker_spec) < self.jobs:
                self.cluster.worker_spec.update(self.cluster.new_worker_spec())
            self.cluster.sync(_replace, self.cluster, lost)
        except Exception as error:  # sbatch's message is in it
            self.reason = str(error).strip().replace("\n", " ")[-500:]
            log.warning("Slurm job not submitted: %s", self.reason)


async def _forget_unsubmitted(cluster) -> None:
    for name in [
        name for name, job in cluster.workers.items() if getattr(job, "job_id", None) is None
    ]:
        _drop(cluster, name)
        cluster.worker_spec.pop(name, None)


async def _replace(cluster, lost: set) -> None:
    for name in lost:
        _drop(cluster, name)
    await cluster._correct_state()


def _drop(cluster, name) -> None:
    """Have Dask forget a job that ended, or that Slurm never took, without closing it."""
    from distributed.core import Status

    job = cluster.workers.pop(name, None)
    if job is not None:
        job.status = Status.failed
