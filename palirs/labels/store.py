"""The label store: an ASE database that several studies may write at a time."""

import hashlib
import json
import logging
import os
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.db.core import now
from ase.db.row import AtomsRow

from palirs import keys
from palirs.engines import Engine, EngineFailure, Properties
from palirs.labels.spool import Spool
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)

DECIMALS = 8
"""Positions are kept on a grid of 1e-8 Å, the precision of the extended XYZ file, so that a structure that went through a file
is still the same structure."""

PATIENCE = 900.0
"""Seconds that finished labels wait in memory for a full disk or a locked database before the study ends with an error."""


def on_grid(atoms: Atoms) -> Atoms:
    """Return a copy with positions rounded to the grid of the files; no calculator, velocities or constraints."""
    positions = np.round(atoms.positions, DECIMALS) + 0.0
    return Atoms(atoms.numbers, positions=positions, info=dict(atoms.info))


def structure_key(atoms: Atoms) -> str:
    """Return a digest of elements and positions (to 1e-8 Å)."""
    digest = hashlib.sha256(np.asarray(atoms.numbers, dtype=np.int64).tobytes())
    digest.update(np.rint(atoms.positions * 10**DECIMALS).astype(np.int64).tobytes())
    return digest.hexdigest()[:32]


def label_key(engine: Engine, atoms: Atoms) -> str:
    """Return the key of a structure calculated with an engine."""
    return f"{engine.fingerprint}-{structure_key(atoms)}"


@dataclass(frozen=True)
class Record:
    """One calculation: what was asked, and what came of it.

    Attributes
    ----------
    key : str
        Of engine and structure.
    atoms : Atoms
        The structure; ``info`` names the molecule and the origin.
    settings : dict
        Of the engine.
    result : Properties or EngineFailure
        The label, or why there is none.
    attempts : int
        Calculations so far, of a failure.
    """

    key: str
    atoms: Atoms
    settings: dict
    result: Properties | EngineFailure
    attempts: int = 1

    def line(self) -> str:
        """Return the record as one line of JSON."""
        result = self.result
        outcome = (
            {"failure": str(result), "final": result.final, "attempts": self.attempts}
            if isinstance(result, EngineFailure)
            else {"energy": result.energy, "forces": _plain(result.forces), "dipole": _plain(result.dipole)}
        )
        info = {name: str(self.atoms.info[name]) for name in (keys.MOLECULE, keys.ORIGIN) if name in self.atoms.info}
        structure = {"numbers": self.atoms.numbers.tolist(), "positions": self.atoms.positions.tolist(), "info": info}
        return json.dumps({"key": self.key, **structure, "settings": self.settings, **outcome})

    @classmethod
    def read(cls, line: str) -> "Record":
        """Read the line that :meth:`line` wrote."""
        found = json.loads(line)
        atoms = Atoms(found["numbers"], positions=found["positions"], info=found["info"])
        if "failure" in found:
            return cls(found["key"], atoms, found["settings"], EngineFailure(found["failure"], found["final"]), found["attempts"])
        dipole = None if found["dipole"] is None else np.array(found["dipole"])
        return cls(found["key"], atoms, found["settings"], Properties(found["energy"], np.array(found["forces"]), dipole))


class LabelStore:
    """Labels in an ASE database (SQLite), keyed by engine fingerprint and structure; ``ase db labels.db`` and ``ase gui`` open it.

    A failed calculation is a record too, with its reason and the number of attempts. Several processes may write at a time: SQLite
    locks, and an index allows each key once. Results wait in a *spool* beside the database (see :class:`~palirs.labels.spool.Spool`)
    from the moment a calculation ends until they are in it; opening the store takes in what a killed study left there.

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
        # SQLite locks by itself; ASE's own lock file would be left behind by a killed process and stop every later one.
        self._database: Any = connect(str(self.path), type="db", append=True, use_lock_file=False)
        self._rows: dict[str, int] = {}
        self._failures: dict[str, tuple[EngineFailure, int]] = {}
        self._newest = 0
        self._seen = (0, 0)
        self.spool = Spool(self.path.with_name(self.path.name + ".spool"))
        self.refresh()
        if self.spool.directory.is_dir():
            left = [record for record in self.spool.leftovers() if not self.settled(record.key, record.attempts)]
            if left:
                log.info("label store %s: %d finished labels found that a killed study left behind", self.path, len(left))
            self.take_in(left)
            self.spool.forget()

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, engine: Engine, atoms: Atoms) -> str:
        """Return the key of a structure calculated with an engine."""
        return label_key(engine, atoms)

    def has(self, engine: Engine, atoms: Atoms) -> bool:
        """Tell whether the structure was calculated before, with or without success."""
        return label_key(engine, atoms) in self._rows

    def attempts(self, key: str) -> tuple[int, bool]:
        """Return how often a structure was calculated without success, and whether the engine said that this is final."""
        failure, attempts = self._failures.get(key, (None, 0))
        return attempts, bool(failure and failure.final)

    def settled(self, key: str, attempts: int = 1) -> bool:
        """Tell whether a structure needs no calculation: it has a label, or failed for good or ``attempts`` times."""
        failed, final = self.attempts(key)
        return key in self._rows and (key not in self._failures or final or failed >= attempts)

    def get(self, engine: Engine, atoms: Atoms) -> Properties | EngineFailure | None:
        """Return the stored label, the recorded failure, or ``None`` if it was never calculated."""
        key = label_key(engine, atoms)
        return self.get_many([key]).get(key)

    def get_many(self, wanted: Iterable[str]) -> dict[str, Properties | EngineFailure]:
        """Return what is known of keys; those that were never calculated are left out."""
        known = [key for key in wanted if key in self._rows]
        found: dict[str, Properties | EngineFailure] = {key: self._failures[key][0] for key in known if key in self._failures}
        with self._reading() as connection:
            for key in known:
                if key not in found:
                    row = connection.execute("SELECT energy, forces, dipole FROM systems WHERE id=?", (self._rows[key],)).fetchone()
                    dipole = None if row[2] is None else np.array(self._database.deblob(row[2]), dtype=float)
                    forces = np.array(self._database.deblob(row[1]), dtype=float).reshape(-1, 3)
                    found[key] = Properties(energy=float(row[0]), forces=forces, dipole=dipole)
        return found

    def put(self, engine: Engine, atoms: Atoms, label: Properties | EngineFailure) -> None:
        """Write one label or failure, durable when this returns."""
        key = label_key(engine, atoms)
        self.take_in([Record(key, on_grid(atoms), engine.identity, label, self.attempts(key)[0] + 1)])

    def take_in(self, records: Sequence[Record]) -> None:
        """Write records in one transaction; a key that has a label by now keeps it.

        On a full disk, or while another process holds the database, this waits and says so; nothing is dropped meanwhile.

        Raises
        ------
        PalirsError
            If the database cannot be written at all, or not within a quarter of an hour.
        """
        if not records:
            return None
        deadline, told = time.monotonic() + PATIENCE, False
        while True:
            try:
                return self._write(records)
            except sqlite3.OperationalError as error:
                reason = str(error)
                if not any(word in reason for word in ("full", "locked", "busy", "disk I/O")):
                    raise PalirsError(f"label store {self.path}: cannot be written ({reason}); check its permissions") from error
                if time.monotonic() > deadline:
                    raise PalirsError(
                        f"label store {self.path}: {reason}; {len(records)} finished labels wait in {self.spool.directory}, if they could "
                        f"be written there. Free space (or end the process that holds the database) and run again"
                    ) from error
                if not told:
                    log.warning(
                        "label store %s: %s. %d finished labels wait in memory: free space, the study goes on by itself",
                        self.path,
                        reason,
                        len(records),
                    )
                    told = True
                time.sleep(2)

    def refresh(self, force: bool = True) -> None:
        """Learn of labels that others have written since; without ``force`` only if the file has changed."""
        if not force and self._stamp() == self._seen:
            return
        self._seen = self._stamp()
        with self._reading() as connection:
            rows = connection.execute("SELECT id, value FROM text_key_values WHERE key='label_key' AND id > ?", (self._newest,)).fetchall()
            failed = connection.execute(
                "SELECT id, key_value_pairs FROM systems WHERE id IN (SELECT id FROM keys WHERE key='failure')"
            ).fetchall()
        self._rows.update({key: number for number, key in rows})
        self._newest = max([self._newest, *(number for number, _ in rows)])
        self._failures = {}
        for _, text in failed:
            pairs = json.loads(text)
            self._failures[pairs["label_key"]] = (EngineFailure(pairs["failure"], bool(pairs.get("final"))), int(pairs.get("attempts", 1)))

    def check_writable(self) -> None:
        """Raise :class:`PalirsError`, with what to do, if nothing could be written; before anything is calculated."""
        try:
            with self._database.managed_connection() as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
            self.spool.check_writable()
        except (sqlite3.OperationalError, OSError) as error:
            if "locked" in str(error):
                return
            raise PalirsError(
                f"label store {self.path}: cannot be written ({error}); check the permissions of the file and of its directory, or copy it "
                f"and give labels.store=<copy>"
            ) from error

    def select(self, engine: Engine | None = None) -> Iterator[tuple[Atoms, Properties, str]]:
        """Yield structure, label and engine fingerprint of every label, oldest first."""
        for row in self._database.select(**({"engine": engine.fingerprint} if engine else {})):
            if "label_key" in row and "failure" not in row:
                info = {name: row[name] for name in (keys.MOLECULE, keys.ORIGIN) if name in row}
                dipole = np.array(row.dipole) if "dipole" in row else None
                yield Atoms(row.numbers, positions=row.positions, info=info), Properties(row.energy, row.forces, dipole), row.engine

    def _write(self, records: Sequence[Record]) -> None:
        with self._database as database, database.managed_connection() as connection:
            connection.execute("BEGIN IMMEDIATE")  # between looking and writing nobody else may write
            written = {}
            for record in records:
                known = connection.execute("SELECT id FROM text_key_values WHERE key='label_key' AND value=?", (record.key,)).fetchone()
                if known and connection.execute("SELECT 1 FROM keys WHERE key='failure' AND id=?", known).fetchone() is None:
                    written[record.key] = known[0], None
                    continue
                number = database.write(_row(record), id=known[0] if known else None, data={"settings": record.settings}, **_pairs(record))
                written[record.key] = known[0] if known else number, record
        for key, (number, record) in written.items():
            self._rows[key] = number
            self._failures.pop(key, None)
            if record is not None and isinstance(record.result, EngineFailure):
                self._failures[key] = record.result, record.attempts

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._database.managed_connection() as connection:
            yield connection

    def _make(self) -> None:
        """Make an empty database elsewhere and give it the name; of two who do it at a time, one wins, and nobody sees half of it."""
        part = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}.part")
        try:
            with connect(str(part), type="db", append=True, use_lock_file=False).managed_connection() as connection:
                connection.execute("CREATE UNIQUE INDEX one_label ON text_key_values(value) WHERE key='label_key'")
                connection.commit()
            try:
                os.link(part, self.path)
            except FileExistsError:
                pass
            except OSError:  # a file system without links
                if not self.path.exists():
                    part.rename(self.path)
        except (OSError, sqlite3.OperationalError) as error:
            raise PalirsError(
                f"label store {self.path}: cannot be made ({error}); check the directory or give another labels.store"
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def _stamp(self) -> tuple[int, int]:
        status = self.path.stat()
        return status.st_mtime_ns, status.st_size

    def _refuse_foreign(self) -> None:
        """Raise if the file is there and not a label store."""
        advice = "give another labels.store=<file>, or move this one away"
        connection = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")}
            if "systems" not in tables:
                raise PalirsError(f"label store {self.path}: a SQLite database, but not one of ASE; {advice}")
            labels = connection.execute("SELECT count(*) FROM text_key_values WHERE key='label_key'").fetchone()[0]
            rows = connection.execute("SELECT count(*) FROM systems").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise PalirsError(f"label store {self.path}: not a readable ASE database ({error}); {advice}") from error
        finally:
            connection.close()
        if rows and not labels:
            raise PalirsError(
                f"label store {self.path}: an ASE database of {rows} structures, none of them a label of palirs; to use what is in it, run "
                f"task=import task.file={self.path} with another labels.store"
            )


def _row(record: Record) -> AtomsRow:
    """Return what ASE would make of the atoms with a calculator; made directly it takes a third of the time."""
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
    pairs = {key: value for key, value in pairs.items() if not _is_number(value)}  # ASE refuses text that reads as a number
    if isinstance(record.result, EngineFailure):
        pairs |= {"failure": str(record.result) or "unknown reason", "attempts": record.attempts, "final": int(record.result.final)}
    return pairs


def _is_number(value: str | int) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _plain(array: np.ndarray | None) -> list | None:
    return None if array is None else np.asarray(array).tolist()
