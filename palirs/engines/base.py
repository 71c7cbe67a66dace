"""What every reference engine is: a recipe with a fingerprint, and a calculator made where it is used."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from palirs import keys
from palirs.recipes import PalirsError, recipe


class EngineFailure(Exception):
    """One calculation failed; the message is the reason that goes into the label store."""


@dataclass(frozen=True)
class Properties:
    """What a calculation gives for one structure.

    Attributes
    ----------
    energy : float
        Total energy [eV].
    forces : numpy.ndarray
        Shape ``[atoms, 3]`` [eV/Å].
    dipole : numpy.ndarray or None
        Shape ``[3]`` [e·Å]; ``None`` where the source has no dipole.
    """

    energy: float
    forces: np.ndarray
    dipole: np.ndarray | None = None


@recipe
class Engine(ABC):
    """A reference method. Subclasses name their settings as fields and make the calculator."""

    @property
    @abstractmethod
    def settings(self) -> dict:
        """Everything that changes a number: method, basis, grids, thresholds, library version."""

    @property
    @abstractmethod
    def elements(self) -> frozenset[int]:
        """Atomic numbers that the method covers."""

    @property
    def name(self) -> str:
        """Name of the method, for figures and reports."""
        return type(self).__name__

    @abstractmethod
    def calculator(self) -> Calculator:
        """Make a fresh ASE calculator that gives energy [eV], forces [eV/Å] and dipole [e·Å]."""

    @property
    def fingerprint(self) -> str:
        """Short digest of :attr:`settings`; labels of different fingerprints never mix."""
        text = json.dumps({"engine": type(self).__name__, **self.settings}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def check(self, atoms: Atoms) -> None:
        """Raise :class:`PalirsError` if the method cannot treat this molecule."""
        unknown = sorted(set(atoms.symbols[[number not in self.elements for number in atoms.numbers]]))
        if unknown:
            raise PalirsError(
                f"molecule {atoms.info.get(keys.MOLECULE)!r}: {type(self).__name__} has no parameters for "
                f"{', '.join(map(str, unknown))}; use another engine or leave the molecule out"
            )

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Calculate frames one after the other, here, outside any label store.

        Raises
        ------
        EngineFailure
            If a calculation does not converge or gives numbers that are not finite.
        """
        calculator = self.calculator()
        return [evaluate(calculator, atoms) for atoms in frames]


def evaluate(calculator: Calculator, atoms: Atoms) -> Properties:
    """Run one calculation and check that what comes back are finite numbers of the right shape."""
    work = Atoms(atoms.numbers, positions=atoms.positions)
    try:
        calculator.calculate(work, ["energy", "forces", "dipole"], ["positions", "numbers", "cell", "pbc"])
        found = calculator.results
        properties = Properties(
            energy=float(found["energy"]),
            forces=np.array(found["forces"], dtype=float).reshape(len(atoms), 3),
            dipole=np.array(found["dipole"], dtype=float).reshape(3),
        )
    except Exception as error:  # every library raises its own; the reason is kept with the frame
        raise EngineFailure(f"{type(error).__name__}: {error}") from error
    if not all(np.isfinite(value).all() for value in vars(properties).values()):
        raise EngineFailure("energy, forces or dipole are not finite numbers")
    return properties
