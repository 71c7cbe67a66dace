"""With what a result was made: the command, the version, the git commit, the processor."""

import json
import os
import platform
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

HERE = Path(__file__).parents[1]


COMMAND_LINE = "PALIRS_COMMAND_LINE"
"""Variable in which the jobs of a sweep, which may run in other programs, find the program and
the arguments that were typed."""


def _typed() -> list[str]:
    return json.loads(os.environ[COMMAND_LINE]) if COMMAND_LINE in os.environ else sys.argv


def arguments() -> list[str]:
    """Return what was asked for on the command line, in the jobs of a sweep too."""
    return _typed()[1:]


def program() -> str:
    """Return the name of this program."""
    return Path(_typed()[0]).name


def command() -> str:
    """Return the command line of this program, quoted for a shell."""
    return shlex.join([program(), *arguments()])[:5000]


@cache
def commit() -> tuple[str, bool] | None:
    """Return the git commit of palirs and whether files were changed since; ``None`` where it is not a checkout, or git is missing."""
    if not (HERE / ".git").exists():
        return None
    try:
        found, changed = (
            subprocess.run(
                ["git", *what], cwd=HERE, capture_output=True, text=True, timeout=20, check=True
            ).stdout.strip()
            for what in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found, bool(changed)


@cache
def processor() -> str:
    """Return the name of the processor, and how many of its cores this program may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    name = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name
    )
    return f"{name}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"
