"""The journal of a study, ``journal.jsonl``: programs, commands, and how long each stage took.

A stage is written down when it ends, also by an error or by Ctrl-C; of a program that was killed
outright only its beginning is known.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from palirs import provenance
from palirs.version import VERSION

log = logging.getLogger(__name__)

LOOK = 2.0
"""Seconds between two looks at how much memory is in use."""


@dataclass(frozen=True)
class Journal:
    """The journal of a study.

    Attributes
    ----------
    directory : Path
        Of the study.
    writes : bool
        Not for a program that only reads what another one is making.
    listeners : sequence of callable
        Called with name, seconds, memory and counts of each stage that has ended well.
    """

    directory: Path
    writes: bool = True
    listeners: Sequence[Callable[[str, Mapping[str, float]], None]] = ()

    @property
    def file(self) -> Path:
        """Where it is."""
        return self.directory / "journal.jsonl"

    def program(self, task: str) -> None:
        """Record that this program begins a task."""
        commit = provenance.commit()
        source = {"commit": commit[0], "changed": commit[1]} if commit is not None else {}
        program = {
            "task": task,
            "command": provenance.command(),
            "version": VERSION,
            "processor": provenance.processor(),
        }
        self._append({"kind": "program", **program, **source})

    @contextmanager
    def stage(self, name: str, **counters: Callable[[], float]) -> Iterator[dict[str, float]]:
        """Log and record how long a stage takes, and the largest memory of its processes here.

        Gives a dictionary that the stage may add counts to; afterwards it holds ``seconds``,
        ``memory_MiB`` and how far each counter went, ``{"labels": 39}``.
        """
        done: dict[str, float] = {}
        before = {key: count() for key, count in counters.items()}
        words = name.replace("_", " ")
        log.info("%s: begins", words)
        started, complete = time.perf_counter(), False
        with largest_memory() as memory:
            try:
                yield done
                complete = True
            finally:
                done |= {key: count() - before[key] for key, count in counters.items()}
                done |= {"seconds": time.perf_counter() - started, "memory_MiB": round(max(memory))}
                ended = "done" if complete else "ended early"
                log.info("%s: %s after %.1f s", words, ended, done["seconds"])
                numbers = {**done, "seconds": round(done["seconds"], 2)}
                self._append({"kind": "stage", "stage": name, "complete": complete, **numbers})
        for listener in self.listeners:
            try:
                listener(name, done)
            except Exception as error:  # rates and tracking are no reason to end a study
                log.warning("%s: what it took was not kept (%s)", words, error)

    def _append(self, entry: dict[str, Any]) -> None:
        if not self.writes:
            return
        line = json.dumps({"time": time.strftime("%Y-%m-%d %H:%M:%S"), **entry}, ensure_ascii=False)
        ends = (
            not self.file.exists()
            or not self.file.stat().st_size
            or self.file.read_bytes().endswith(b"\n")
        )
        with self.file.open("a", encoding="utf-8") as file:
            file.write(f"{'' if ends else chr(10)}{line}\n")

    def read(self) -> list[dict[str, Any]]:
        """Return its entries; a line that a program died over is left out."""
        entries = []
        text = self.file.read_text(encoding="utf-8") if self.file.exists() else ""
        for line in text.splitlines():
            with suppress(json.JSONDecodeError):
                entries.append(json.loads(line))
        return entries

    def programs(self) -> list[dict[str, Any]]:
        """Return the entries of programs, the first one first."""
        return [entry for entry in self.read() if entry.get("kind") == "program"]

    def stages(self) -> dict[str, dict[str, float]]:
        """Return seconds, largest memory [MiB] and counts of each stage, of all programs."""
        totals: dict[str, dict[str, float]] = {}
        for entry in (entry for entry in self.read() if entry.get("kind") == "stage"):
            before = totals.setdefault(entry["stage"], {})
            for key, value in entry.items():
                if key == "memory_MiB":
                    before[key] = max(before.get(key, 0.0), value)
                elif isinstance(value, int | float) and not isinstance(value, bool):
                    before[key] = before.get(key, 0.0) + value
        return totals


@contextmanager
def largest_memory() -> Iterator[list[float]]:
    """Give a list that a thread fills with the memory [MiB] of this program and its workers."""
    samples, ended = [_memory()], threading.Event()

    def look() -> None:
        while not ended.wait(LOOK):
            samples.append(_memory())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield samples
    finally:
        ended.set()
        watcher.join()
        samples.append(_memory())


def _memory() -> float:
    """Return the memory of this program and its workers [MiB]; what several share counts once."""
    program = psutil.Process()
    return sum(map(_share, (program, *program.children(recursive=True)))) / 2**20


def _share(process: psutil.Process) -> float:
    try:
        memory = process.memory_full_info()
    except psutil.Error:  # it has ended, or is somebody else's
        return 0.0
    return float(getattr(memory, "pss", memory.uss))
