"""What is kept of one calculation, and under which key."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.engines import Engine, EngineFailure, Properties
from palirs.geometry.electrons import Electrons
from palirs.molecules import DECIMALS


def structure_key(atoms: Atoms) -> str:
    """Return a digest of elements, positions (to 1e-8 Å), and charge and spin if there are any."""
    digest = hashlib.sha256(np.asarray(atoms.numbers, dtype=np.int64).tobytes())
    digest.update(np.rint(atoms.positions * 10**DECIMALS).astype(np.int64).tobytes())
    digest.update(str(Electrons.of(atoms).info or "").encode())
    return digest.hexdigest()[:32]


def label_key(engine: Engine, atoms: Atoms) -> str:
    """Return the key of a structure calculated with an engine."""
    return f"{engine.fingerprint_for(atoms)}-{structure_key(atoms)}"


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
            else {
                "energy": result.energy,
                "forces": _plain(result.forces),
                "dipole": _plain(result.dipole),
            }
        )
        info = {
            name: str(self.atoms.info[name])
            for name in (keys.MOLECULE, keys.ORIGIN)
            if name in self.atoms.info
        } | Electrons.of(self.atoms).info
        structure = {
            "numbers": self.atoms.numbers.tolist(),
            "positions": self.atoms.positions.tolist(),
            "info": info,
        }
        return json.dumps({"key": self.key, **structure, "settings": self.settings, **outcome})

    @classmethod
    def read(cls, line: str) -> "Record":
        """Read the line that :meth:`line` wrote."""
        entry = json.loads(line)
        atoms = Atoms(entry["numbers"], positions=entry["positions"], info=entry["info"])
        if "failure" in entry:
            failure = EngineFailure(entry["failure"], entry["final"])
            return cls(entry["key"], atoms, entry["settings"], failure, entry["attempts"])
        dipole = None if entry["dipole"] is None else np.array(entry["dipole"])
        label = Properties(entry["energy"], np.array(entry["forces"]), dipole)
        return cls(entry["key"], atoms, entry["settings"], label)


def _plain(array: np.ndarray | None) -> list | None:
    return None if array is None else np.asarray(array).tolist()
