"""Whether a molecule has become another one: bonds that are broken or made between two geometries."""

import numpy as np
from ase import Atoms

from palirs.geometry.bonds import BONDED, relative_distances
from palirs.geometry.embedding import canonical_of

LOOSE = 1.4
"""Atoms further apart than this times the sum of their covalent radii are not bonded; between
:data:`BONDED` and this, a bond that was there is only stretched, and one that was not is not
made."""


def changed_bonds(
    before: Atoms, after: Atoms
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return which bonds are broken and which are made, as pairs of atoms.

    A bond is broken if it goes from below :data:`BONDED` to above :data:`LOOSE`, and made the other
    way.
    """
    old, new = relative_distances(before), relative_distances(after)
    broken = np.argwhere(np.triu((old < BONDED) & (new > LOOSE)))
    made = np.argwhere(np.triu((old > LOOSE) & (new < BONDED)))
    return [(int(i), int(j)) for i, j in broken], [(int(i), int(j)) for i, j in made]


def rearrangement(before: Atoms, after: Atoms) -> str:
    """Say what became of a molecule whose bonds have changed; empty if they have not.

    With the SMILES before and after where RDKit can tell them.
    """
    broken, made = changed_bonds(before, after)
    if not broken and not made:
        return ""
    parts = [
        f"{_listed(before, pairs)} {what}"
        for pairs, what in ((broken, "broken"), (made, "made"))
        if pairs
    ]
    said = "bonds have changed: " + ", ".join(parts)
    names = [canonical_of(atoms) for atoms in (before, after)]
    if None not in names and names[0] != names[1]:
        said += f"; {names[0]} has become {names[1]}"
    return said


def _listed(atoms: Atoms, pairs: list[tuple[int, int]]) -> str:
    return ", ".join(f"{atoms.symbols[i]}{i}–{atoms.symbols[j]}{j}" for i, j in pairs)
