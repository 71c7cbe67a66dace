"""Masses of isotopes in a structure: which atoms have them, and which structures are the same."""

import numpy as np
from ase import Atoms
from ase.data import atomic_masses

from palirs.geometry.distinct import sorted_distances
from palirs.geometry.symmetry import TOLERANCE

NATURAL = 0.01
"""Largest deviation from the mass of the element [amu] that is not an isotope."""
DEFECT = 0.11
"""Larger than the difference of any isotope's mass from its mass number [amu]."""
HYDROGEN = {2: "D", 3: "T"}
"""Symbols of the isotopes of hydrogen, by mass number."""


def special(atoms: Atoms, masses: np.ndarray) -> list[int]:
    """Return the atoms, from 0, with other masses [amu] than their elements."""
    return np.flatnonzero(np.abs(masses - atomic_masses[atoms.numbers]) > NATURAL).tolist()


def label(atoms: Atoms, masses: np.ndarray) -> str:
    """Return the isotopes of a structure and their atoms, from 0: ``D5``, ``13C0-D5``, ``d4``.

    ``d4`` are all hydrogen atoms as deuterium. ``natural`` if there is no isotope.
    """
    symbols = {atom: _symbol(atoms.symbols[atom], masses[atom]) for atom in special(atoms, masses)}
    hydrogen = np.flatnonzero(atoms.numbers == 1).tolist()
    parts = [f"{symbol}{atom}" for atom, symbol in symbols.items() if symbol != "D"]
    deuterium = [atom for atom, symbol in symbols.items() if symbol == "D"]
    if deuterium == hydrogen and len(hydrogen) > 1:
        parts.append(f"d{len(hydrogen)}")
    else:
        parts += [f"D{atom}" for atom in deuterium]
    return "-".join(parts) or "natural"


def _symbol(element: str, mass: float) -> str:
    """Return ``13C`` or ``D``; ``13.5C`` for a mass [amu] that no isotope has."""
    number = round(float(mass))
    if abs(mass - number) > DEFECT:
        return f"{mass:g}{element}"
    return HYDROGEN.get(number, f"{number}H") if element == "H" else f"{number}{element}"


def equivalent(atoms: Atoms, first: np.ndarray, second: np.ndarray) -> bool:
    """Tell whether rotation, reflection and exchange of atoms make two isotopologues one.

    Parameters
    ----------
    atoms : Atoms
        The geometry of both.
    first, second : numpy.ndarray
        Masses, ``[N]`` [amu].
    """
    if not np.allclose(np.sort(first), np.sort(second)):
        return False
    kinds = [np.round(1e3 * masses).astype(int) for masses in (first, second)]
    rows = [sorted_distances(kind, atoms.positions) for kind in kinds]
    return bool(np.abs(rows[0] - rows[1]).max(initial=0.0) < TOLERANCE)
