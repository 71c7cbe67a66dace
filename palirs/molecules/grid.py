"""Rounding of positions to the precision of files, so that structures survive them unchanged."""

import numpy as np
from ase import Atoms

DECIMALS = 8
"""Decimals of positions [Å], the precision of extended XYZ files."""


def on_grid(atoms: Atoms) -> Atoms:
    """Return a copy with positions rounded to :data:`DECIMALS`.

    It keeps ``info`` and masses of isotopes, but neither calculator nor velocities.
    """
    positions = np.round(atoms.positions, DECIMALS) + 0.0
    rounded = Atoms(atoms.numbers, positions=positions, info=dict(atoms.info))
    keep_masses(atoms, rounded)
    return rounded


def keep_masses(old: Atoms, new: Atoms) -> None:
    """Copy the masses of isotopes [amu] from one structure to another, if it has any."""
    if old.has("masses"):
        new.set_masses(old.get_masses())
