"""What a result was made with: command line, git commit, processor."""

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
"""Environment variable with the program and arguments that were typed, for the jobs of a sweep,
which may run in other programs."""


def _typed() -> list[str]:
    return json.loads(os.environ[COMMAND_LINE]) if COMMAND_LINE in os.environ else sys.argv


def arguments() -> list[str]:
    """Return the arguments of the command line, in the jobs of a sweep too."""
    return _typed()[1:]


def program() -> str:
    """Return the name of this program."""
    return Path(_typed()[0]).name


def command() -> str:
    """Return the command line of this program, quoted for a shell."""
    return shlex.join([program(), *arguments()])[:5000]


@cache
def commit() -> tuple[str, bool] | None:
    """Return the git commit of palirs and whether files differ from it.

    ``None`` outside a checkout, or without git.
    """
    if not (HERE / ".git").exists():
        return None
    try:
        name, changes = (
            subprocess.run(
                ["git", *words], cwd=HERE, capture_output=True, text=True, timeout=20, check=True
            ).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return name, bool(changes)


@cache
def processor() -> str:
    """Return the name of the processor and the number of cores that this program may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    on_linux = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if on_linux else os.cpu_count()
    return f"{next(models, name)}, {cores} cores"
