"""How many threads this process may use.

A worker is told once; libraries that bring their own thread pool ask here.
"""

import os
import sys

from threadpoolctl import threadpool_limits

_allowed: int | None = None


def limit(threads: int, whole_process: bool = False) -> None:
    """Hold BLAS, OpenMP and torch to ``threads``.

    Parameters
    ----------
    threads : int
        From now on.
    whole_process : bool
        Also for libraries that are loaded later and for programs that are started: right in a
        worker, which is ours alone, and not in the process of a user.
    """
    global _allowed
    _allowed = threads
    if whole_process:
        os.environ.update(variables(threads))
    threadpool_limits(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def variables(threads: int) -> dict[str, str]:
    """Return the environment variables that hold a process, and what it starts, to ``threads``."""
    return dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)
    )


def allowed() -> int | None:
    """Return what :func:`limit` allowed, ``None`` if it never did."""
    return _allowed
