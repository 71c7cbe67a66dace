"""Where work runs: recipes that open a :class:`concurrent.futures.Executor`.

The caller does not know which.
"""

from palirs.executors.base import ExecutorRecipe, LazyExecutor, WorkerLost, cores, shares
from palirs.executors.dask import Dask
from palirs.executors.local import Processes, Serial, SerialExecutor, preload
from palirs.executors.slurm import Slurm

__all__ = [
    "Dask",
    "ExecutorRecipe",
    "LazyExecutor",
    "Processes",
    "Serial",
    "SerialExecutor",
    "Slurm",
    "WorkerLost",
    "cores",
    "preload",
    "shares",
]
