"""Rearrangements: bonds that are broken or made between two geometries of a molecule."""

import numpy as np
from ase import Atoms

from palirs.geometry.bonds import BONDED, relative_distances
from palirs.geometry.embedding import canonical_of

LOOSE = 1.4
"""Atoms further apart than this times the sum of their covalent radii are not bonded; between
:data:`BONDED` and this, a bond is neither broken nor made."""


def changed_bonds(
    before: Atoms, after: Atoms
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the bonds that are broken and those that are made, as pairs of atoms.

    A bond is broken if its relative length goes from below :data:`BONDED` to above :data:`LOOSE`,
    and made the other way round.
    """
    old, new = relative_distances(before), relative_distances(after)
    broken = np.argwhere(np.triu((old < BONDED) & (new > LOOSE)))
    made = np.argwhere(np.triu((old > LOOSE) & (new < BONDED)))
    return [(int(i), int(j)) for i, j in broken], [(int(i), int(j)) for i, j in made]


def rearrangement(before: Atoms, after: Atoms) -> str:
    """Describe how the bonds of a molecule have changed, with SMILES where RDKit finds them.

    Empty if they have not changed.
    """
    broken, made = changed_bonds(before, after)
    if not broken and not made:
        return ""
    changes = ((broken, "broken"), (made, "made"))
    parts = [f"{_listed(before, pairs)} {verb}" for pairs, verb in changes if pairs]
    description = "bonds have changed: " + ", ".join(parts)
    names = [canonical_of(atoms) for atoms in (before, after)]
    if None not in names and names[0] != names[1]:
        description += f"; {names[0]} has become {names[1]}"
    return description


def _listed(atoms: Atoms, pairs: list[tuple[int, int]]) -> str:
    return ", ".join(f"{atoms.symbols[i]}{i}–{atoms.symbols[j]}{j}" for i, j in pairs)
