"""The label store: an ASE database that several studies may write at a time."""

import json
import logging
import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.db.core import now
from ase.db.row import AtomsRow

from palirs import keys
from palirs.engines import Engine, EngineFailure, Properties
from palirs.geometry.electrons import Electrons
from palirs.labels.pending import PendingResults
from palirs.labels.record import Record, label_key
from palirs.labels.retry import retry
from palirs.molecules import on_grid
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)

TOTAL_CHARGE = "total_charge"
"""Column of the charge [e] of an ion; ASE keeps ``charge`` for itself."""


class LabelStore:
    """Labels in an ASE database (SQLite), keyed by engine fingerprint and structure.

    ``ase db labels.db`` and ``ase gui`` open it. A failed calculation is a record too, with its
    reason and the number of attempts. Several processes may write at a time: SQLite locks, and an
    index allows each key once. Results are pending in files beside the database (see
    :class:`~palirs.labels.pending.PendingResults`) from the moment a calculation ends until they
    are in it; opening the store takes in what a killed study left there.

    Parameters
    ----------
    path : path
        The database; made if it does not exist.

    Raises
    ------
    PalirsError
        If the file is something else.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._refuse_foreign()
        else:
            self._make()
        # SQLite locks by itself; ASE's own lock file would be left behind by a killed process and
        # stop every later one.
        self._database: Any = connect(str(self.path), type="db", append=True, use_lock_file=False)
        self._rows: dict[str, int] = {}
        self._failures: dict[str, tuple[EngineFailure, int]] = {}
        self._newest = 0
        self._seen = (0, 0)
        self.pending = PendingResults(self.path.with_name(self.path.name + ".spool"))
        self.refresh()
        self.take_in_orphans()

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, engine: Engine, atoms: Atoms) -> str:
        """Return the key of a structure calculated with an engine."""
        return label_key(engine, atoms)

    def attempts(self, key: str) -> int:
        """Return how often a structure has failed; 0 if it has a label or was never calculated."""
        return self._failures[key][1] if key in self._failures else 0

    def is_done(self, key: str, attempts: int = 1) -> bool:
        """Return whether a structure has a label, or has failed ``attempts`` times."""
        return key in self._rows and (key not in self._failures or self.attempts(key) >= attempts)

    def get(self, engine: Engine, atoms: Atoms) -> Properties | EngineFailure | None:
        """Return the stored label, the recorded failure, or ``None`` if it was never calculated."""
        key = label_key(engine, atoms)
        return self.get_many([key]).get(key)

    def get_many(self, wanted: Iterable[str]) -> dict[str, Properties | EngineFailure]:
        """Return the labels and failures of keys; those never calculated are left out."""
        present = [key for key in wanted if key in self._rows]
        results: dict[str, Properties | EngineFailure] = {
            key: self._failures[key][0] for key in present if key in self._failures
        }
        with self._reading() as connection:
            for key in present:
                if key not in results:
                    row = connection.execute(
                        "SELECT energy, forces, dipole FROM systems WHERE id=?", (self._rows[key],)
                    ).fetchone()
                    dipole = (
                        None
                        if row[2] is None
                        else np.array(self._database.deblob(row[2]), dtype=float)
                    )
                    forces = np.array(self._database.deblob(row[1]), dtype=float).reshape(-1, 3)
                    results[key] = Properties(energy=float(row[0]), forces=forces, dipole=dipole)
        return results

    def put(self, engine: Engine, atoms: Atoms, label: Properties | EngineFailure) -> None:
        """Write one label or failure, durable when this returns."""
        key = label_key(engine, atoms)
        identity, attempts = engine.identity_for(atoms), self.attempts(key) + 1
        self.write([Record(key, on_grid(atoms), identity, label, attempts)])

    def write(self, records: Sequence[Record]) -> None:
        """Write records in one transaction; a key that has a label by now keeps it.

        On a full disk, or while another process holds the database, this waits and says so; nothing
        is dropped meanwhile.

        Raises
        ------
        PalirsError
            If the database cannot be written at all, or not within a quarter of an hour.
        """
        if records:
            what = (
                f"label store {self.path}: {len(records)} finished labels wait in memory and in "
                f"{self.pending.directory}"
            )
            retry(lambda: self._write(records), what)

    def write_now(self, records: Sequence[Record]) -> None:
        """Write records without waiting for a full disk or a held database."""
        if records:
            self._write(records)

    def take_in_orphans(self) -> None:
        """Write to the database what dead processes left pending."""
        if self.pending.directory.is_dir():
            left = self.pending.collect_orphans()
            new = [record for record in left if not self.is_done(record.key, record.attempts)]
            if new:
                log.info(
                    "label store %s: %d finished labels found that a killed study left behind",
                    self.path,
                    len(new),
                )
            self.write(new)
            self.pending.remove_orphans()

    def refresh(self, force: bool = True) -> None:
        """Read what others have written since; without ``force`` only if the file has changed."""
        if not force and self._stamp() == self._seen:
            return
        self._seen = self._stamp()
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT id, value FROM text_key_values WHERE key='label_key' AND id > ?",
                (self._newest,),
            ).fetchall()
            failed = connection.execute(
                "SELECT id, key_value_pairs FROM systems WHERE id IN (SELECT id FROM keys WHERE "
                "key='failure')"
            ).fetchall()
        self._rows.update({key: number for number, key in rows})
        self._newest = max([self._newest, *(number for number, _ in rows)])
        self._failures = {}
        for _, text in failed:
            pairs = json.loads(text)
            self._failures[pairs["label_key"]] = (
                EngineFailure(pairs["failure"], bool(pairs.get("final"))),
                int(pairs.get("attempts", 1)),
            )

    def check_writable(self) -> None:
        """Raise :class:`PalirsError` if nothing could be written, before anything is calculated."""
        try:
            with self._database.managed_connection() as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
            self.pending.check_writable()
        except (sqlite3.OperationalError, OSError) as error:
            if isinstance(error, sqlite3.OperationalError) and "readonly" not in str(error):
                return  # held by another process, or full: writing will wait for it
            raise PalirsError(
                f"label store {self.path}: cannot be written ({error}); check the permissions of "
                "the file and of its directory, or copy it "
                f"and give labels.store=<copy>"
            ) from error

    def select(self, engine: Engine | None = None) -> Iterator[tuple[Atoms, Properties, str]]:
        """Yield structure, label and engine fingerprint of every label, oldest first."""
        for row in self._rows_of(engine):
            if "label_key" in row and "failure" not in row:
                info = {name: row[name] for name in (keys.MOLECULE, keys.ORIGIN) if name in row}
                if TOTAL_CHARGE in row:
                    info |= Electrons(row[TOTAL_CHARGE], row[keys.MULTIPLICITY]).info
                dipole = np.array(row.dipole) if "dipole" in row else None
                yield (
                    Atoms(row.numbers, positions=row.positions, info=info),
                    Properties(row.energy, row.forces, dipole),
                    row.engine,
                )

    def _rows_of(self, engine: Engine | None) -> Iterator[AtomsRow]:
        """Yield the rows of an engine, or all, oldest first."""
        if engine is None:
            yield from self._database.select()
            return
        one, other = engine.fingerprint, engine.fingerprint_for(Atoms())  # with and without states
        if one == other:
            yield from self._database.select(engine=one)
            return
        rows = [*self._database.select(engine=one), *self._database.select(engine=other)]
        for row in sorted(rows, key=lambda row: row.id):
            state = Electrons(row.get(TOTAL_CHARGE, 0), row.get(keys.MULTIPLICITY, 1))
            if row.engine == engine.fingerprint_for(Atoms(row.numbers, info=state.info)):
                yield row

    def _write(self, records: Sequence[Record]) -> None:
        """Write records in one transaction, or none of them."""
        written = {}
        try:
            with self._database as database, database.managed_connection() as connection:
                connection.execute(
                    "BEGIN IMMEDIATE"
                )  # between looking and writing nobody else may write
                for record in records:
                    number, attempts = _stored(connection, record.key)
                    failed = isinstance(record.result, EngineFailure)
                    if number is not None and (
                        attempts == 0 or (failed and record.attempts <= attempts)
                    ):
                        continue  # it has a label, or this failure is an old one
                    row = database.write(
                        _row(record),
                        id=number,
                        data={"settings": record.settings},
                        **_pairs(record),
                    )
                    written[record.key] = row if number is None else number, record
        except (
            BaseException
        ):  # ASE keeps its connection when the commit fails, and stumbles over it the next time
            connection, self._database.connection = self._database.connection, None
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.rollback()
                connection.close()
            raise
        for key, (number, record) in written.items():
            self._rows[key] = number
            self._failures.pop(key, None)
            if isinstance(record.result, EngineFailure):
                self._failures[key] = record.result, record.attempts
        if len(written) < len(records):
            self.refresh()  # others have written some of them

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._database.managed_connection() as connection:
            yield connection

    def _make(self) -> None:
        """Make an empty database under another name, then link it: nobody sees half of it."""
        part = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}.part")
        try:
            with connect(
                str(part), type="db", append=True, use_lock_file=False
            ).managed_connection() as connection:
                connection.execute(
                    "CREATE UNIQUE INDEX one_label ON text_key_values(value) WHERE key='label_key'"
                )
                connection.commit()
            try:
                os.link(part, self.path)
            except FileExistsError:
                pass  # another process made it meanwhile, as good as this one
            except OSError:  # a file system without links
                if not self.path.exists():
                    part.rename(self.path)
        except (OSError, sqlite3.OperationalError) as error:
            raise PalirsError(
                f"label store {self.path}: cannot be made ({error}); check the directory or give "
                "another labels.store"
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def _stamp(self) -> tuple[int, int]:
        status = self.path.stat()
        return status.st_mtime_ns, status.st_size

    def _refuse_foreign(self) -> None:
        """Raise :class:`PalirsError` if the file is not a label store."""
        advice = "give another labels.store=<file>, or move this one away"
        # A writer that was killed leaves a journal that only a connection which may write can roll
        # back.
        mode = (
            "rw" if os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK) else "ro"
        )
        connection = sqlite3.connect(
            f"{self.path.resolve().as_uri()}?mode={mode}", uri=True, timeout=60
        )
        try:
            tables = {
                name
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type='table'"
                )
            }
            if tables and "systems" not in tables:
                raise PalirsError(
                    f"label store {self.path}: a SQLite database, but not one of ASE; {advice}"
                )
            labels = (
                connection.execute(
                    "SELECT count(*) FROM text_key_values WHERE key='label_key'"
                ).fetchone()[0]
                if tables
                else 0
            )
            rows = connection.execute("SELECT count(*) FROM systems").fetchone()[0] if tables else 0
        except sqlite3.OperationalError as error:
            raise PalirsError(
                f"label store {self.path}: cannot be opened now ({error}); another process may "
                "hold it, or its journal cannot be written. "
                "End that process or mend the permissions, and run again; leave "
                f"{self.path.name}-journal where it is"
            ) from error
        except sqlite3.DatabaseError as error:
            raise PalirsError(
                f"label store {self.path}: not a readable ASE database ({error}); {advice}"
            ) from error
        finally:
            connection.close()
        if rows and not labels:
            raise PalirsError(
                f"label store {self.path}: an ASE database of {rows} structures, none of them a "
                "label of palirs; to use what is in it, run "
                f"task=import task.file={self.path} with another labels.store"
            )


def _stored(connection: sqlite3.Connection, key: str) -> tuple[int | None, int]:
    """Return the row of a key (or ``None``) and the attempts of its failure, 0 for a label."""
    row = connection.execute(
        "SELECT id FROM text_key_values WHERE key='label_key' AND value=?", (key,)
    ).fetchone()
    if row is None:
        return None, 0
    if not connection.execute("SELECT 1 FROM keys WHERE key='failure' AND id=?", row).fetchone():
        return row[0], 0
    attempts = connection.execute(
        "SELECT value FROM number_key_values WHERE key='attempts' AND id=?", row
    ).fetchone()
    return row[0], int(attempts[0]) if attempts else 1


def _row(record: Record) -> AtomsRow:
    """Return the row that ASE would make of atoms with a calculator, in a third of the time."""
    row: dict = {
        "unique_id": uuid.uuid4().hex,
        "numbers": record.atoms.numbers,
        "positions": record.atoms.positions,
        "cell": np.zeros((3, 3)),
        "pbc": np.zeros(3, dtype=bool),
        "ctime": now(),
        "mtime": now(),
        "user": os.getenv("USER"),
    }
    if isinstance(record.result, Properties):
        row |= {name: value for name, value in vars(record.result).items() if value is not None}
        row |= {"calculator": "unknown", "calculator_parameters": {}}
    return AtomsRow(row)


def _pairs(record: Record) -> dict[str, str | int]:
    fingerprint = record.key.partition("-")[0]
    pairs: dict[str, str | int] = {
        "label_key": record.key,
        "engine": fingerprint,
        "molecule": str(record.atoms.info.get(keys.MOLECULE, "unnamed")),
        "origin": str(record.atoms.info.get(keys.ORIGIN, "unknown")),
    }
    pairs = {
        key: value for key, value in pairs.items() if not _is_number(value)
    }  # ASE refuses text that reads as a number
    electrons = Electrons.of(record.atoms)
    if not electrons.ordinary:
        pairs |= {TOTAL_CHARGE: electrons.charge, keys.MULTIPLICITY: electrons.multiplicity}
    if isinstance(record.result, EngineFailure):
        pairs |= {
            "failure": str(record.result) or "unknown reason",
            "attempts": record.attempts,
            "final": int(record.result.final),
        }
    return pairs


def _is_number(value: str | int) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
