"""Files beside the label store: results on their way into it, and who is working on what.

Everything here survives SIGKILL and works on a shared file system, where SQLite's own means do not: lines are appended by one writer,
claims are made by exclusive creation, and whoever is alive touches a file.
"""

import json
import os
import socket
import threading
import time
import uuid
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palirs.labels.store import Record

BEAT = 10.0
"""Seconds between two signs of life of a labelling process."""
LEASE = 120.0
"""Seconds without one after which a process on another machine counts as dead; on this machine it is looked up."""


class Spool:
    """The directory ``labels.db.spool``.

    Parameters
    ----------
    directory : path
        Made when it is first needed, removed when nothing is left in it.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self.session: str | None = None

    def begin(self) -> None:
        """Be known to others as alive from here to the end of this process, so that they leave alone what it has claimed."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.session is not None:
            return
        self.session = uuid.uuid4().hex[:12]
        sign = self.directory / f"{self.session}.session"
        sign.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}))
        stop = threading.Event()
        threading.Thread(target=_beat, args=(sign, stop), daemon=True).start()
        weakref.finalize(self, _end, self.directory, self.session, stop)  # runs at the latest when the interpreter ends

    def claim(self, key: str) -> bool:
        """Take a structure on; ``False`` if another living process has it."""
        file = self.directory / f"{key}.claim"
        for _ in range(2):
            try:
                with open(file, "x") as stream:
                    stream.write(self.session or "")
                return True
            except FileExistsError:
                owner = _text(file)
                if owner == self.session or (owner is not None and self._alive(owner)):
                    return owner == self.session
                with suppress(OSError):  # of two who find it dead, one succeeds in moving it away
                    stale = file.with_suffix(f".{self.session}.stale")
                    file.rename(stale)
                    stale.unlink()
        return False

    def release(self, key: str) -> None:
        """Let go of a structure."""
        (self.directory / f"{key}.claim").unlink(missing_ok=True)

    @property
    def journal(self) -> str:
        """Path, without its end, of the files in which the workers of this process write their results."""
        return str(self.directory.resolve() / f"{self.session}")

    def written(self) -> dict[str, "Record"]:
        """Return what the workers of this process wrote since :meth:`empty`, by key; the last attempt counts."""
        from palirs.labels.store import Record

        files = self.directory.glob(f"{self.session}.*.jsonl")
        return {record.key: record for file in files for record in map(Record.read, _complete_lines(file))}

    def empty(self) -> None:
        """Remove those files; everything in them is in the store and no worker is at work."""
        for file in self.directory.glob(f"{self.session}.*.jsonl"):
            file.unlink(missing_ok=True)

    def leftovers(self) -> list["Record"]:
        """Return the results that processes left behind that are dead now, and forget their claims."""
        from palirs.labels.store import Record

        found: list[Record] = []
        for file in sorted(self.directory.glob("*.jsonl")):
            if not self._alive(file.name.partition(".")[0]):
                found += [Record.read(line) for line in _complete_lines(file)]
        return found

    def forget(self) -> None:
        """Remove what dead processes left; their results are in the store by now."""
        owners = {file.name.partition(".")[0] for file in (*self.directory.glob("*.session"), *self.directory.glob("*.jsonl"))}
        for owner in owners - {self.session}:
            if not self._alive(owner):
                _clear(self.directory, owner)
        for file in self.directory.glob("*.claim"):
            owner = _text(file)
            if owner is not None and owner != self.session and not self._alive(owner):
                file.unlink(missing_ok=True)
        with suppress(OSError):
            self.directory.rmdir()

    def check_writable(self) -> None:
        """Raise :class:`OSError` if no file can be made here."""
        self.directory.mkdir(parents=True, exist_ok=True)
        probe = self.directory / f"{uuid.uuid4().hex}.probe"
        probe.touch()
        probe.unlink()

    def _alive(self, session: str) -> bool:
        if session == self.session:
            return True
        sign = self.directory / f"{session}.session"
        try:
            who, beat = json.loads(sign.read_text()), sign.stat().st_mtime
        except (OSError, ValueError):
            return False
        if who["host"] == socket.gethostname():
            return _started(int(who["pid"])) == who["started"]
        return time.time() - beat < LEASE


def append(journal: str, line: str) -> None:
    """Add one result to the file of this process; called where the calculation ran."""
    with suppress(OSError), open(f"{journal}.{socket.gethostname()}-{os.getpid()}.jsonl", "a") as stream:
        stream.write(line + "\n")  # a full disk must not lose the result, which also goes back to the caller


def _complete_lines(file: Path) -> list[str]:
    lines = file.read_text().split("\n")
    return [line for line in lines[:-1] if line]  # the last one is empty, or was cut off


def _beat(sign: Path, stop: threading.Event) -> None:
    while not stop.wait(BEAT):
        with suppress(OSError):
            os.utime(sign)


def _started(pid: int) -> str | None:
    """Return when a process of this machine started, ``None`` if there is none; numbers of dead processes are given out again."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text()
    except ProcessLookupError:
        return None
    except (PermissionError, FileNotFoundError):
        return "unknown"
    return stat.rpartition(")")[2].split()[19]


def _clear(directory: Path, session: str) -> None:
    for file in directory.glob(f"{session}.*"):
        file.unlink(missing_ok=True)


def _end(directory: Path, session: str, stop: threading.Event) -> None:
    """Say good-bye; results that did not get into the database stay for whoever opens the store next."""
    stop.set()
    (directory / f"{session}.session").unlink(missing_ok=True)
    with suppress(OSError):
        directory.rmdir()


def _text(file: Path) -> str | None:
    try:
        return file.read_text()
    except OSError:
        return None
