"""The grid of positions on which a structure stays the same through files."""

import numpy as np
from ase import Atoms

DECIMALS = 8
"""Positions are kept on a grid of 1e-8 Å, the precision of the extended XYZ file, so that a
structure that went through a file is still the same structure."""


def on_grid(atoms: Atoms) -> Atoms:
    """Return a copy with positions rounded to the grid of the files.

    Masses of isotopes stay, calculator and velocities do not.
    """
    positions = np.round(atoms.positions, DECIMALS) + 0.0
    rounded = Atoms(atoms.numbers, positions=positions, info=dict(atoms.info))
    keep_masses(atoms, rounded)
    return rounded


def keep_masses(old: Atoms, new: Atoms) -> None:
    """Give a structure the masses of isotopes that another has, if it has any [amu]."""
    if old.has("masses"):
        new.set_masses(old.get_masses())
