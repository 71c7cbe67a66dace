"""Results on their way into the label store, and who calculates what: files beside the database.

Everything here survives SIGKILL and works on a shared file system, where SQLite's own means do not:
each file of results has one writer that appends lines, and structures are claimed
(:mod:`palirs.claims`).
"""

import logging
import os
import socket
import uuid
import weakref
from contextlib import suppress
from pathlib import Path

from palirs import heartbeat
from palirs.claims import Claims, write_whole
from palirs.engines import Properties
from palirs.labels.record import Record
from palirs.labels.retry import is_transient, retry

log = logging.getLogger(__name__)


class PendingResults:
    """The directory ``labels.db.spool``: results that are not in the database yet, and claims.

    ``KEY.claim`` is held by the process that calculates a structure, ``SESSION.HOST-PID.jsonl``
    holds results of one of its workers.

    Parameters
    ----------
    directory : path
        Made when it is first needed, removed when nothing is left in it.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self._claims = Claims(directory)
        self._collected: dict[Path, int] = {}
        weakref.finalize(self, _close, directory, self._claims)

    def begin(self) -> None:
        """Show others that this process lives, so that they leave alone what it has claimed."""
        retry(self._claims.begin, f"{self.directory}: no room to begin")

    def claim(self, key: str) -> bool:
        """Claim a structure; return ``False`` if another living process has it."""
        message = f"{self.directory}: no room to go on"
        return retry(lambda: self._claims.take(f"{key}.claim"), message) is None

    def release(self, key: str) -> None:
        """Give up the claim on a structure."""
        self._claims.release(f"{key}.claim")

    @property
    def prefix(self) -> str:
        """How the paths begin of the files in which the workers of this process write results."""
        return str(self.directory.resolve() / f"{self._claims.session}")

    def written(self) -> dict[str, Record]:
        """Return what the workers of this process wrote since :meth:`clear`, by key.

        A label comes before a failure, then the last attempt counts.
        """
        files = self.directory.glob(f"{self._claims.session}.*.jsonl")
        records = [record for file in files for record in _records(file)]
        records.sort(key=lambda record: (isinstance(record.result, Properties), record.attempts))
        return {record.key: record for record in records}

    def clear(self) -> None:
        """Remove those files: everything in them is in the store and no worker is busy."""
        for file in self.directory.glob(f"{self._claims.session}.*.jsonl"):
            file.unlink(missing_ok=True)

    def collect_orphans(self) -> list[Record]:
        """Return the results of processes that are dead now.

        A worker that still writes begins a new file.
        """
        records: list[Record] = []
        for file in sorted(self.directory.glob("*.jsonl")):
            session = file.name.partition(".")[0]
            if session == self._claims.session or self._is_alive(session):
                continue
            moved = file.with_name(f"{session}.{uuid.uuid4().hex}.jsonl")
            with suppress(FileNotFoundError):  # another process is collecting it
                file.rename(moved)
                self._collected[moved] = moved.stat().st_size
                records += _records(moved)
        return records

    def remove_orphans(self) -> None:
        """Remove the files that :meth:`collect_orphans` returned, and claims of dead processes."""
        for file, size in self._collected.items():
            with suppress(FileNotFoundError):
                if file.stat().st_size == size:
                    file.unlink()
        self._collected = {}
        was_idle = not self._claims.session
        for file in (*self.directory.glob("*.claim*"), *self.directory.glob("*.session*")):
            owner = heartbeat.read(file)
            if owner is not None and not self._claims.is_alive(owner, file):
                self._claims.remove_dead(file, owner)
        if was_idle:
            self._claims.end()
        with suppress(OSError):
            self.directory.rmdir()

    def check_writable(self) -> None:
        """Raise :class:`OSError` if no file can be made here, unless the disk is merely full."""
        try:
            probe = self.directory / f"{uuid.uuid4().hex}.probe"
            write_whole(probe, "")
            probe.unlink()
        except OSError as error:
            if not is_transient(error):
                raise

    def _is_alive(self, session: str) -> bool:
        file = self.directory / f"{session}.session"
        owner = heartbeat.read(file)
        return owner is not None and self._claims.is_alive(owner, file)


def append(prefix: str, record: Record) -> None:
    """Add one result to the file of this process; called where the calculation ran.

    Parameters
    ----------
    prefix : str
        :attr:`PendingResults.prefix` of the process that submitted the calculation.
    record : Record
        The result.
    """
    try:
        with open(f"{prefix}.{socket.gethostname()}-{os.getpid()}.jsonl", "a") as stream:
            # a line that was cut off by a full disk must not spoil the next
            stream.write(f"\n{record.line()}\n")
    except OSError as error:  # the result also goes back to the caller
        log.warning(
            "%s: a result is only in memory until it is in the database (%s)", prefix, error
        )


def _records(file: Path) -> list[Record]:
    """Return the records of a file; lines that were cut off are left out."""
    records = []
    for line in filter(None, file.read_text().split("\n")):
        try:
            records.append(Record.read(line))
        except (ValueError, KeyError):
            log.warning(
                "%s: one result was only half written, by a full disk or a kill; it is calculated "
                "again",
                file,
            )
    return records


def _close(directory: Path, claims: Claims) -> None:
    """End the heartbeat; results that are not in the database stay for who opens it next."""
    claims.end()
    with suppress(OSError):
        directory.rmdir()
