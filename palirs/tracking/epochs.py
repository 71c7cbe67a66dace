"""Epochs of trainings that run, on their way to the tracker: a thread reads the logs that trainings write, now and then."""

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from palirs.tracking.base import Tracker

log = logging.getLogger(__name__)

PAUSE = 5.0
"""Seconds between two looks at the logs."""


@contextmanager
def following(directory: Path, tracker: Tracker) -> Iterator[None]:
    """Log the epochs of every training below a study directory while, and as soon as, they are there.

    Metrics are named ``training.<iteration>.<member>.<quantity>`` and
    ``training.dipole-<iteration>.<quantity>`` (``training.<iteration>.dipole-<member>.<quantity>``
    where every iteration has dipole models), with the epoch as step.
    """
    done, seen = threading.Event(), dict[Path, int]()

    def look() -> None:
        for file in sorted(
            [
                *directory.glob("iterations/*/potential-*.jsonl"),
                *directory.glob("iterations/*/dipole-*.jsonl"),
                *directory.glob("dipole-*.jsonl"),
            ]
        ):
            try:
                _log(file, tracker, seen)
            except OSError:  # renamed or cut at this moment: the next look finds it
                continue
            except (
                Exception
            ) as error:  # an edge: whatever is wrong with a log, the training goes on
                log.warning(
                    "tracking: %s cannot be followed (%s: %s)", file, type(error).__name__, error
                )
                seen[file] = file.stat().st_size if file.exists() else 0

    def run() -> None:
        if (
            sys.platform == "linux"
        ):  # elsewhere this would be the priority of the whole program; trainings come first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        while not done.wait(PAUSE):
            look()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        look()


def _log(file: Path, tracker: Tracker, seen: dict[Path, int]) -> None:
    size = file.stat().st_size
    if seen.get(file) == size:
        return
    complete = [line for line in file.read_text().split("\n")[:-1] if line]
    name, entries = _name(file), [json.loads(line) for line in complete]
    left_out = ("epoch", "updates", "seconds")
    steps = [
        (
            int(e["epoch"]),
            {f"{name}.{key}": value for key, value in e.items() if key not in left_out},
        )
        for e in entries
    ]
    if tracker.series(steps):
        seen[file] = size


def _name(file: Path) -> str:
    iteration = re.sub(r"\.partial$", "", file.parent.name)
    if file.stem.startswith("dipole"):
        return (
            f"training.{iteration}.{file.stem}"
            if file.parent.parent.name == "iterations"
            else f"training.{file.stem}"
        )
    return f"training.{iteration}.{file.stem.rpartition('-')[2]}"
