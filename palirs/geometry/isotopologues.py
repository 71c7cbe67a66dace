"""Isotopologues of a molecule: which atoms have which masses, from a SMILES or by atom."""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, chemical_symbols

from palirs import keys
from palirs.geometry import smiles
from palirs.geometry.isotopes import equivalent, special
from palirs.geometry.molfiles import is_isotope, isotope_mass
from palirs.recipes import PalirsError

BY_ATOM = re.compile(r"(.+):(\d+=\d+\.?\d*(?:,\d+=\d+\.?\d*)*)")
"""A molecule, and atoms with their masses."""
EXAMPLES = "a SMILES with isotopes, [2H]OC, or molecule:atom=mass, methanol:5=2"


@dataclass(frozen=True)
class Isotopes:
    """Isotopes that someone asks for.

    Parameters
    ----------
    text : str
        A SMILES with isotopes, ``[2H]OC``, or a molecule and its atoms, numbered from 0, with mass
        numbers or masses [amu], ``methanol:5=2,0=13.003``. After a space a name may follow.

    Raises
    ------
    PalirsError
        If it is neither.
    """

    text: str

    def __post_init__(self):
        if not self.text.strip():
            raise PalirsError(f"an empty text; write {EXAMPLES}")
        if self._told is None and smiles.canonical(self.text) is None:
            raise PalirsError(f"{self.text!r}: RDKit cannot read the SMILES; write {EXAMPLES}")

    @property
    def name(self) -> str:
        """What the isotopologue is to be called; empty if that is left open."""
        return (self.text.split(maxsplit=1)[1:] or [""])[0].strip()

    @cached_property
    def _told(self) -> tuple[str, dict[int, float]] | None:
        """A molecule, and mass numbers or masses [amu] of its atoms; ``None`` for a SMILES."""
        match = BY_ATOM.fullmatch(self.text.split(maxsplit=1)[0])
        if match is None:
            return None
        pairs = (pair.split("=") for pair in match[2].split(","))
        return match[1], {int(atom): float(mass) for atom, mass in pairs}

    def masses(self, atoms: Atoms) -> list[np.ndarray]:
        """Return the masses [amu] of each isotopologue of a molecule that is meant, each ``[N]``.

        Several if different atoms may be meant: the in-plane hydrogen atom of methyl in methanol,
        or one of the others. Those that a rotation or reflection turns into each other are one.
        Atoms of a SMILES without an isotope have the mass of their element. Empty if it is another
        molecule.

        Raises
        ------
        PalirsError
            If an atom does not exist.
        """
        masses = atoms.get_masses()
        if self._told is None:
            isotopes = special(atoms, masses)
            masses[isotopes] = atomic_masses[atoms.numbers[isotopes]]
        found: list[np.ndarray] = []
        for placed in self._placed(atoms):
            own = masses.copy()
            for atom, mass in placed.items():
                own[atom] = self._mass(int(atoms.numbers[atom]), mass)
            if not any(equivalent(atoms, own, other) for other in found):
                found.append(own)
        return found

    def _mass(self, number: int, mass: float) -> float:
        """Return the mass [amu] of a mass number, or the mass itself."""
        if mass == round(mass) and not is_isotope(number, round(mass)):
            raise PalirsError(
                f"{self.text!r}: RDKit knows no isotope {mass:.0f} of {chemical_symbols[number]}; "
                "molecule:atom=mass takes a mass with decimals"
            )
        return isotope_mass(number, mass)

    def _placed(self, atoms: Atoms) -> list[dict[int, float]]:
        """Return mass numbers or masses by atom, for each way to place them."""
        if self._told is None:
            return smiles.isotopes_on(self.text, atoms)
        name, isotopes = self._told
        if name != str(atoms.info.get(keys.MOLECULE)):
            return []
        if max(isotopes) >= len(atoms):
            known = " ".join(f"{symbol}{atom}" for atom, symbol in enumerate(atoms.symbols))
            raise PalirsError(f"{self.text!r}: {name} has no atom {max(isotopes)}, but {known}")
        return [isotopes]
