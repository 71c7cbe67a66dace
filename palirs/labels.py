"""The label store, and labelling: frames × engine × executor -> labelled frames. A label is paid for once."""

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from tqdm import tqdm

from palirs import keys
from palirs.engines import Engine, EngineFailure, Properties
from palirs.recipes import PalirsError

DECIMALS = 8
"""Positions are kept on a grid of 1e-8 Å, the precision of the extended XYZ file, so that a structure that went through a file
is still the same structure."""


def on_grid(atoms: Atoms) -> Atoms:
    """Return a copy with positions rounded to the grid of the files; no calculator, velocities or constraints."""
    positions = np.round(atoms.positions, DECIMALS) + 0.0
    return Atoms(atoms.numbers, positions=positions, info=dict(atoms.info))


def structure_key(atoms: Atoms) -> str:
    """Return a digest of elements and positions (to 1e-8 Å)."""
    digest = hashlib.sha256(np.asarray(atoms.numbers, dtype=np.int64).tobytes())
    digest.update(np.rint(atoms.positions * 10**DECIMALS).astype(np.int64).tobytes())
    return digest.hexdigest()[:32]


class LabelStore:
    """Labels in an ASE database (SQLite), keyed by engine fingerprint and structure.

    Each result is committed when it arrives. A failed calculation is a record too, with its reason. The file opens with
    ``ase db labels.db``.

    Parameters
    ----------
    path : path
        The database; made if it does not exist.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite locks by itself; ASE's own lock file would be left behind by a killed process and stop every later one.
        self._database = connect(str(self.path), type="db", append=True, use_lock_file=False)
        try:
            self._rows = {row.label_key: row.id for row in self._database.select(columns=["id", "key_value_pairs"])}
        except Exception as error:
            raise PalirsError(f"label store {self.path}: not a readable ASE database with labels ({error})") from error

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, engine: Engine, atoms: Atoms) -> str:
        """Return the key of a structure calculated with an engine."""
        return f"{engine.fingerprint}-{structure_key(atoms)}"

    def has(self, engine: Engine, atoms: Atoms) -> bool:
        """Tell whether the structure was calculated before, with or without success."""
        return self.key(engine, atoms) in self._rows

    def get(self, engine: Engine, atoms: Atoms) -> "Properties | EngineFailure | None":
        """Return the stored label, the recorded failure, or ``None`` if it was never calculated."""
        number = self._rows.get(self.key(engine, atoms))
        if number is None:
            return None
        row = self._database.get(id=number)
        if row.get("failure"):
            return EngineFailure(row.failure)
        return Properties(energy=row.energy, forces=row.forces, dipole=row.dipole)

    def put(self, engine: Engine, atoms: Atoms, label: Properties | EngineFailure) -> None:
        """Write one label or failure, durable when this returns."""
        pairs = {
            "label_key": self.key(engine, atoms),
            "engine": engine.fingerprint,
            "molecule": str(atoms.info.get(keys.MOLECULE, "unnamed")),
            "origin": str(atoms.info.get(keys.ORIGIN, "unknown")),
        }
        pairs = {key: value for key, value in pairs.items() if not _is_number(value)}  # ASE refuses text that reads as a number
        record = Atoms(atoms.numbers, positions=atoms.positions)
        if isinstance(label, Properties):
            record.calc = SinglePointCalculator(record, energy=label.energy, forces=label.forces, dipole=label.dipole)
        else:
            pairs["failure"] = str(label) or "unknown reason"
        number = self._database.write(record, data={"settings": engine.settings}, **pairs)
        self._rows[pairs["label_key"]] = number


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass
class Labeller:
    """An engine whose every result goes through the label store.

    Attributes
    ----------
    engine : Engine
        What calculates.
    store : LabelStore
        Where results are looked up and kept.
    executor : concurrent.futures.Executor
        Where calculations run.
    computed, failed : int
        Labels calculated and failed since this object was made; those found in the store do not count.
    """

    engine: Engine
    store: LabelStore
    executor: Executor
    computed: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)

    def label(self, frames: Sequence[Atoms], title: str = "labels") -> list[Atoms]:
        """Return the frames with reference energy, forces and dipole, in order; frames whose calculation failed are left out.

        Parameters
        ----------
        frames : sequence of Atoms
            Structures; positions are rounded to 1e-8 Å.
        title : str
            Written beside the progress bar.
        """
        started = time.perf_counter()
        frames = [on_grid(atoms) for atoms in frames]
        self._pay(frames, title)
        labelled = []
        for atoms in frames:
            label = self.store.get(self.engine, atoms)
            if isinstance(label, Properties):
                labelled.append(attach(atoms, label))
        self.seconds += time.perf_counter() - started
        return labelled

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Like :meth:`Engine.calculate`, through the store: every frame must succeed.

        Raises
        ------
        EngineFailure
            For the first frame whose calculation failed, now or in an earlier run.
        """
        frames = [on_grid(atoms) for atoms in frames]
        self._pay(frames, title="")
        labels = []
        for atoms in frames:
            label = self.store.get(self.engine, atoms)
            if not isinstance(label, Properties):
                raise EngineFailure(f"{atoms.info.get(keys.MOLECULE, atoms.symbols)}: {label}")
            labels.append(label)
        return labels

    def _pay(self, frames: Sequence[Atoms], title: str) -> None:
        missing = {self.store.key(self.engine, atoms): atoms for atoms in frames if not self.store.has(self.engine, atoms)}
        running = {self.executor.submit(_calculate, self.engine, atoms): atoms for atoms in missing.values()}
        bar = tqdm(as_completed(running), total=len(running), desc=title, unit="label", disable=not title or not running)
        for future in bar:
            label = future.result()
            self.store.put(self.engine, running[future], label)
            self.computed += isinstance(label, Properties)
            self.failed += isinstance(label, EngineFailure)


def attach(atoms: Atoms, label: Properties) -> Atoms:
    """Return a copy of the frame that carries its label under the project's keys."""
    labelled = atoms.copy()
    labelled.info[keys.ENERGY] = label.energy
    labelled.info[keys.DIPOLE] = np.asarray(label.dipole)
    labelled.arrays[keys.FORCES] = np.asarray(label.forces)
    return labelled


def _calculate(engine: Engine, atoms: Atoms) -> Properties | EngineFailure:
    """Run in the worker; a failure is a result, since it is recorded as one."""
    try:
        return engine.calculate([atoms])[0]
    except EngineFailure as failure:
        return failure
