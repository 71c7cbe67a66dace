"""Files beside the label store: results on their way into it, and who is working on what.

Everything here survives SIGKILL and works on a shared file system, where SQLite's own means do not:
lines are appended by one writer, claims are links to the file of the process that makes them, and
whoever is alive touches that file.
"""

import json
import logging
import os
import socket
import threading
import uuid
import weakref
from contextlib import suppress
from pathlib import Path

from palirs import presence
from palirs.engines import Properties
from palirs.labels.patience import passing, patiently
from palirs.labels.record import Record

log = logging.getLogger(__name__)


class Spool:
    """The directory ``labels.db.spool``.

    ``SESSION.session`` says where a labelling process runs, ``KEY.claim`` is a link to the one that
    calculates a structure, and ``SESSION.HOST-PID.jsonl`` holds results of one of its workers.

    Parameters
    ----------
    directory : path
        Made when it is first needed, removed when nothing is left in it.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self.session: str | None = None
        self._taken: dict[Path, int] = {}

    def begin(self) -> None:
        """Be known to others as alive from here to the end of this process, so that they leave alone what it has claimed."""
        if self.session is None:
            session = uuid.uuid4().hex[:12]
            patiently(lambda: _sign(self.directory, session), f"{self.directory}: no room to begin")
            stop = threading.Event()
            threading.Thread(
                target=_beat, args=(self.directory, session, stop), daemon=True
            ).start()
            weakref.finalize(
                self, _end, self.directory, session, stop
            )  # runs at the latest when the interpreter ends
            self.session = session

    def claim(self, key: str) -> bool:
        """Take a structure on; ``False`` if another living process has it."""
        return patiently(lambda: self._claim(key), f"{self.directory}: no room to go on")

    def _claim(self, key: str) -> bool:
        file, sign = self.directory / f"{key}.claim", self.directory / f"{self.session}.session"
        for _ in range(3):
            try:
                presence.link(sign, file)
                return True
            except FileNotFoundError:  # somebody took this process for dead
                _sign(self.directory, str(self.session))
            except FileExistsError:
                owner = presence.read(file)
                if owner is None:
                    continue  # let go of at this moment
                if owner["session"] == self.session or self._lives(owner):
                    return owner["session"] == self.session
                self._remove_stale(file, owner["session"])
        return False

    def _remove_stale(self, file: Path, owner: str) -> None:
        """Of several who find a claim stale, one moves it away; who moved a fresh one by then puts it back."""
        moved = file.with_suffix(f".{self.session}.stale")
        with suppress(OSError):
            file.rename(moved)
            found = presence.read(moved)
            if found is not None and found["session"] != owner:
                os.link(moved, file)
            moved.unlink()

    def release(self, key: str) -> None:
        """Let go of a structure."""
        (self.directory / f"{key}.claim").unlink(missing_ok=True)

    @property
    def journal(self) -> str:
        """Path, without its end, of the files in which the workers of this process write their results."""
        return str(self.directory.resolve() / f"{self.session}")

    def written(self) -> dict[str, Record]:
        """Return what the workers of this process wrote since :meth:`empty`, by key; a label before a failure, then the last attempt."""
        files = self.directory.glob(f"{self.session}.*.jsonl")
        records = [record for file in files for record in _records(file)]
        records.sort(key=lambda record: (isinstance(record.result, Properties), record.attempts))
        return {record.key: record for record in records}

    def empty(self) -> None:
        """Remove those files; everything in them is in the store and no worker is at work."""
        for file in self.directory.glob(f"{self.session}.*.jsonl"):
            file.unlink(missing_ok=True)

    def leftovers(self) -> list[Record]:
        """Return the results of processes that are dead now.

        A worker that still writes begins a new file.
        """
        found: list[Record] = []
        for file in sorted(self.directory.glob("*.jsonl")):
            session = file.name.partition(".")[0]
            if session == self.session or self._alive(session):
                continue
            taken = file.with_name(f"{session}.{uuid.uuid4().hex}.jsonl")
            with suppress(FileNotFoundError):  # another process is taking it
                file.rename(taken)
                self._taken[taken] = taken.stat().st_size
                found += _records(taken)
        return found

    def forget(self) -> None:
        """Remove the files that :meth:`leftovers` returned, which are in the store by now, and what else dead processes left."""
        for file, size in self._taken.items():
            with suppress(FileNotFoundError):
                if file.stat().st_size == size:
                    file.unlink()
        self._taken = {}
        for file in (*self.directory.glob("*.claim"), *self.directory.glob("*.session")):
            owner = presence.read(file)
            if owner is not None and owner["session"] != self.session and not self._lives(owner):
                file.unlink(missing_ok=True)
        with suppress(OSError):
            self.directory.rmdir()

    def check_writable(self) -> None:
        """Raise :class:`OSError` if no file can be made here; not for a full disk, which is waited out."""
        try:
            name = f"{uuid.uuid4().hex}.probe"
            _make(self.directory, name, "")
            (self.directory / name).unlink()
        except OSError as error:
            if not passing(error):
                raise

    def _alive(self, session: str) -> bool:
        owner = presence.read(self.directory / f"{session}.session")
        return owner is not None and self._lives(owner)

    def _lives(self, owner: dict) -> bool:
        """Tell whether the process lives that made a claim or a session."""
        return presence.lives(owner, self.directory / f"{owner['session']}.session")


def append(journal: str, record: Record) -> None:
    """Add one result to the file of this process; called where the calculation ran."""
    try:
        with open(f"{journal}.{socket.gethostname()}-{os.getpid()}.jsonl", "a") as stream:
            stream.write(
                f"\n{record.line()}\n"
            )  # a line that was cut off by a full disk must not spoil the next
    except OSError as error:  # the result also goes back to the caller
        log.warning(
            "%s: a result is only in memory until it is in the database (%s)", journal, error
        )


def _records(file: Path) -> list[Record]:
    """Return the records of a file; lines that were cut off are left out."""
    found = []
    for line in file.read_text().split("\n"):
        if line:
            try:
                found.append(Record.read(line))
            except (ValueError, KeyError):
                log.warning(
                    "%s: one result was only half written, by a full disk or a kill; it is calculated again",
                    file,
                )
    return found


def _sign(directory: Path, session: str) -> None:
    """Make the file that says where this process runs; it appears with its content."""
    _make(directory, f"{session}.session", json.dumps(presence.me(session)))


def _make(directory: Path, name: str, content: str) -> None:
    """Make a file that appears with its content, in a directory that others may be removing because it is empty."""
    for _ in range(100):
        directory.mkdir(parents=True, exist_ok=True)
        part = directory / f"{uuid.uuid4().hex}.part"
        try:
            part.write_text(content)
            part.rename(directory / name)
            return
        except FileNotFoundError:
            continue
    raise FileNotFoundError(f"{directory} is removed again and again")


def _beat(directory: Path, session: str, stop: threading.Event) -> None:
    while not stop.wait(presence.BEAT):
        try:
            os.utime(directory / f"{session}.session")
        except FileNotFoundError:  # somebody took this process for dead, after a suspension perhaps
            with suppress(OSError):
                _sign(directory, session)
        except OSError:
            continue


def _end(directory: Path, session: str, stop: threading.Event) -> None:
    """Say good-bye; results that did not get into the database stay for whoever opens the store next."""
    stop.set()
    (directory / f"{session}.session").unlink(missing_ok=True)
    with suppress(OSError):
        directory.rmdir()
