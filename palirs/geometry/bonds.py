"""Bonds between atoms, by their distances."""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

BONDED = 1.25
"""Atoms nearer than this times the sum of their covalent radii are bonded."""


def relative_distances(atoms: Atoms) -> np.ndarray:
    """Return distances over sums of covalent radii, ``[N, N]``, with an infinite diagonal."""
    radii = covalent_radii[atoms.numbers]
    lengths = atoms.get_all_distances() + np.diag(np.full(len(atoms), np.inf))
    return lengths / (radii[:, None] + radii[None, :])


def bonded(atoms: Atoms) -> np.ndarray:
    """Return which atoms are bonded, ``[N, N]`` booleans."""
    return relative_distances(atoms) < BONDED
