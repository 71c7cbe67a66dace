"""The base class of reference engines, and what a calculation returns or raises."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.metadata import version
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from palirs import keys
from palirs.geometry.electrons import Electrons
from palirs.recipes import PalirsError, recipe

version_of = cache(version)
"""Version of an installed package."""


class EngineFailure(Exception):
    """A calculation that failed; the message is the reason in the label store.

    Parameters
    ----------
    reason : str
        Cause, and the location of its files if there are any.
    final : bool
        Whether a retry would fail again.
    """

    def __init__(self, reason: str, final: bool = False):
        super().__init__(reason, final)  # both, so that it can be unpickled
        self.reason = reason
        self.final = final

    def __str__(self) -> str:
        return self.reason


def _digest(identity: dict) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Properties:
    """Energy, forces and dipole of one structure.

    Attributes
    ----------
    energy : float
        Total energy [eV].
    forces : numpy.ndarray
        Shape ``[atoms, 3]`` [eV/Å].
    dipole : numpy.ndarray or None
        Shape ``[3]`` [e·Å], of an ion about the mean of the positions of its atoms; ``None`` if the
        engine gives no dipole.
    """

    energy: float
    forces: np.ndarray
    dipole: np.ndarray | None = None


@recipe
class Engine(ABC):
    """A reference method; subclasses declare its settings as fields and make the calculator."""

    gives_dipole: ClassVar[bool] = True
    takes_electrons: ClassVar[bool] = False
    """Whether charge and multiplicity may be others than those of a neutral closed shell."""

    @property
    @abstractmethod
    def settings(self) -> dict:
        """Everything that changes results: method, basis, grids, thresholds, library version."""

    @property
    @abstractmethod
    def elements(self) -> frozenset[int]:
        """Atomic numbers that the method covers."""

    @property
    def name(self) -> str:
        """Name of the method, for figures and reports."""
        return type(self).__name__

    @property
    def sources(self) -> tuple[str, ...]:
        """Papers to cite for method and program, with DOIs; empty if unknown."""
        return ()

    @abstractmethod
    def calculator(self) -> Calculator:
        """Make a fresh ASE calculator that gives energy [eV], forces [eV/Å] and dipole [e·Å]."""

    @cached_property
    def identity(self) -> dict:
        """Class and settings; stored with every label."""
        return {"engine": type(self).__name__, **self.settings}

    @cached_property
    def fingerprint(self) -> str:
        """Short digest of :attr:`identity`."""
        return _digest(self.identity)

    def identity_for(self, atoms: Atoms) -> dict:
        """Return the identity without settings that change nothing for such a molecule."""
        return self.identity

    def fingerprint_for(self, atoms: Atoms) -> str:
        """Return a digest of :meth:`identity_for`; labels that differ in it are kept apart."""
        return _digest(self.identity_for(atoms))

    def prepare(self) -> None:
        """Raise :class:`PalirsError` for problems that show before the first calculation."""
        return

    def check(self, atoms: Atoms) -> None:
        """Raise :class:`PalirsError` if the method does not cover a molecule."""
        electrons = Electrons.of(atoms)
        if not electrons.ordinary and not self.takes_electrons:
            raise PalirsError(
                f"molecule {atoms.info.get(keys.MOLECULE)!r} ({electrons}): {type(self).__name__} "
                "calculates neutral closed shells only; GFN2-xTB, GFN1-xTB and PySCF take others "
                "(engine=gfn2 or pyscf_pbe; pretraining=gfn2)"
            )
        missing = sorted(
            set(atoms.symbols[[number not in self.elements for number in atoms.numbers]])
        )
        if missing:
            raise PalirsError(
                f"molecule {atoms.info.get(keys.MOLECULE)!r}: {type(self).__name__} has no "
                f"parameters for {', '.join(map(str, missing))}; use another engine or leave the "
                "molecule out"
            )

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Calculate frames one after the other in this process, without a label store.

        Raises
        ------
        EngineFailure
            If a calculation does not converge or gives NaN or infinite values.
        """
        calculator = self.start()
        return [self.run(calculator, atoms) for atoms in frames]

    def start(self) -> Calculator | None:
        """Return a calculator for many frames; ``None`` if each frame gets its own."""
        return self.calculator()

    def carried(self, calculator: Calculator | None) -> dict[str, np.ndarray]:
        """Return what the calculator carries from frame to frame and may change a number."""
        return {}

    def carry(self, calculator: Calculator | None, values: dict[str, np.ndarray]) -> None:
        """Restore what :meth:`carried` returned, as if the calculator had never stopped."""
        assert not values, "this engine carries nothing"

    def run(self, calculator: Calculator | None, atoms: Atoms) -> Properties:
        """Calculate one frame with the calculator of :meth:`start`; check shapes and finite values.

        Raises
        ------
        EngineFailure
            With the message of the library as the reason.
        """
        electrons = Electrons.of(atoms)
        work = Atoms(atoms.numbers, positions=atoms.positions, info=electrons.info)
        assert calculator is not None
        if self.takes_electrons:
            if not electrons.fit(work):
                raise EngineFailure(f"{work.symbols} cannot be: {electrons}", final=True)
            self.set_electrons(calculator, electrons)
        names = ["energy", "forces", *(["dipole"] if self.gives_dipole else [])]
        try:
            calculator.calculate(work, names, ["positions", "numbers", "cell", "pbc"])
            properties = self.read(calculator.results, len(atoms))
        except (EngineFailure, PalirsError):
            raise
        except Exception as error:  # libraries raise errors of any kind
            raise EngineFailure(f"{type(error).__name__}: {error}") from error
        if electrons.charge and properties.dipole is not None:
            away = atoms.positions.mean(axis=0) - self.origin(work)
            properties = replace(properties, dipole=properties.dipole - electrons.charge * away)
        values = [value for value in vars(properties).values() if value is not None]
        if not all(np.isfinite(value).all() for value in values):
            raise EngineFailure("energy, forces or dipole are not finite numbers")
        return properties

    def origin(self, atoms: Atoms) -> np.ndarray:
        """Return what the calculator's dipole of an ion is about [Å]: the origin of coordinates."""
        return np.zeros(3)

    def set_electrons(self, calculator: Calculator, electrons: Electrons) -> None:
        """Tell the calculator charge and multiplicity of the next frame, if ``info`` does not."""
        return

    def read(self, results: dict, atoms: int) -> Properties:
        """Return the properties of a structure of ``atoms`` atoms from the calculator's results."""
        forces = np.array(results["forces"], dtype=float).reshape(atoms, 3)
        dipole = np.array(results["dipole"], dtype=float).reshape(3) if self.gives_dipole else None
        return Properties(float(results["energy"]), forces, dipole)
