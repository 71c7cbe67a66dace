"""Reference engines: recipes with a fingerprint that make a calculator where it is used."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from palirs import keys
from palirs.recipes import PalirsError, recipe

version_of = cache(version)
"""Version of an installed package; looked up once, it takes a millisecond."""


class EngineFailure(Exception):
    """One calculation failed; the message is the reason that goes into the label store.

    Parameters
    ----------
    reason : str
        What happened, and where its files are if there are any.
    final : bool
        The engine has tried everything it knows: calculating again would fail again.
    """

    def __init__(self, reason: str, final: bool = False):
        super().__init__(reason, final)  # both, so that it survives the way back from a worker
        self.reason = reason
        self.final = final

    def __str__(self) -> str:
        return self.reason


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

    gives_dipole: ClassVar[bool] = True

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

    @property
    def sources(self) -> tuple[str, ...]:
        """What to cite for the method and the program, with DOIs; empty where unknown."""
        return ()

    @abstractmethod
    def calculator(self) -> Calculator:
        """Make a fresh ASE calculator that gives energy [eV], forces [eV/Å] and dipole [e·Å]."""

    @cached_property
    def identity(self) -> dict:
        """Class and settings, which are stored with every label."""
        return {"engine": type(self).__name__, **self.settings}

    @cached_property
    def fingerprint(self) -> str:
        """Short digest of :attr:`identity`; labels of different fingerprints never mix."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]

    def prepare(self) -> None:
        """Raise :class:`PalirsError` for what can be checked before the first calculation."""
        return

    def check(self, atoms: Atoms) -> None:
        """Raise :class:`PalirsError` if the method cannot treat this molecule."""
        unknown = sorted(
            set(atoms.symbols[[number not in self.elements for number in atoms.numbers]])
        )
        if unknown:
            raise PalirsError(
                f"molecule {atoms.info.get(keys.MOLECULE)!r}: {type(self).__name__} has no "
                f"parameters for {', '.join(map(str, unknown))}; use another engine or leave the "
                "molecule out"
            )

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Calculate frames one after the other, here, outside any label store.

        Raises
        ------
        EngineFailure
            If a calculation does not converge or gives numbers that are not finite.
        """
        calculator = self.start()
        return [self.run(calculator, atoms) for atoms in frames]

    def start(self) -> Calculator | None:
        """Return a calculator for many frames, or ``None`` where each frame gets its own."""
        return self.calculator()

    def carried(self, calculator: Calculator | None) -> dict[str, np.ndarray]:
        """Return what the calculator carries from frame to frame and may change a number."""
        return {}

    def carry(self, calculator: Calculator | None, values: dict[str, np.ndarray]) -> None:
        """Restore what :meth:`carried` returned, as if the calculator had never stopped."""
        assert not values, "this engine carries nothing"

    def run(self, calculator: Calculator | None, atoms: Atoms) -> Properties:
        """Calculate one frame with what :meth:`start` returned; check shapes and finite numbers.

        Raises
        ------
        EngineFailure
            With the library's own message as the reason.
        """
        work = Atoms(atoms.numbers, positions=atoms.positions)
        assert calculator is not None
        wanted = ["energy", "forces", *(["dipole"] if self.gives_dipole else [])]
        try:
            calculator.calculate(work, wanted, ["positions", "numbers", "cell", "pbc"])
            properties = self.read(calculator.results, len(atoms))
        except (EngineFailure, PalirsError):
            raise
        except Exception as error:  # every library has its own; the reason is kept with the frame
            raise EngineFailure(f"{type(error).__name__}: {error}") from error
        given = [value for value in vars(properties).values() if value is not None]
        if not all(np.isfinite(value).all() for value in given):
            raise EngineFailure("energy, forces or dipole are not finite numbers")
        return properties

    def read(self, results: dict, atoms: int) -> Properties:
        """Return the properties from the results of the calculator for so many ``atoms``."""
        forces = np.array(results["forces"], dtype=float).reshape(atoms, 3)
        dipole = np.array(results["dipole"], dtype=float).reshape(3) if self.gives_dipole else None
        return Properties(float(results["energy"]), forces, dipole)
