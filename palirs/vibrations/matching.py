"""Minima and normal modes of a molecule by two potentials: whether and how they belong together."""

from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from scipy.optimize import linear_sum_assignment

from palirs.vibrations.analysis import Harmonic

ELSEWHERE = 0.3
"""With an atom further than this from the optimum of another potential [Å] a molecule is in another
minimum, which has other modes."""


def in_order_of(reference: Harmonic, own: Harmonic) -> Harmonic:
    """Return vibrations with each mode in the place of the reference's that it overlaps with."""
    _, order = linear_sum_assignment(-overlap(reference, own))
    intensities = None if own.intensities is None else own.intensities[order]
    derivatives = None if own.dipole_derivatives is None else own.dipole_derivatives[order]
    return replace(
        own,
        frequencies=own.frequencies[order],
        modes=own.modes[order],
        intensities=intensities,
        dipole_derivatives=derivatives,
    )


def displacement(atoms: Atoms, target: Atoms) -> float:
    """Return the largest displacement of an atom between two superposed molecules [Å]."""
    moved = atoms.copy()
    minimize_rotation_and_translation(target, moved)
    return float(np.linalg.norm(moved.positions - target.positions, axis=1).max())


def overlap(a: Harmonic, b: Harmonic) -> np.ndarray:
    """Return the squared overlap of mass-weighted modes in one orientation, ``[modes, modes]``."""
    roots = np.sqrt(a.atoms.get_masses())[None, :, None]
    first, second = ((each.modes * roots).reshape(len(each.modes), -1) for each in (a, b))
    return (first @ second.T) ** 2
