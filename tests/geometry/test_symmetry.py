"""Orders of point groups."""

import numpy as np
import pytest
from ase.build import molecule

from palirs.geometry.symmetry import symmetry_order


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("H2O", 4),
        ("NH3", 6),
        ("CH4", 24),
        ("C2H6", 12),
        ("C2H4", 8),
        ("C6H6", 24),
        ("CH3OH", 2),
        ("H2O2", 2),
        ("C3H4_D2d", 8),
        ("C60", 120),
    ],
)
def test_orders_are_those_of_the_point_groups(name, order):
    """C2v, C3v, Td, D3d, D2h, D6h, Cs, C2, D2d, Ih.

    Turned and shaken by a hundredth of an ångström.
    """
    atoms = molecule(name)
    atoms.rotate(37, (1, 2, 3))
    atoms.positions += np.random.default_rng(1).uniform(-0.01, 0.01, atoms.positions.shape)
    assert symmetry_order(atoms) == order


def test_isotopes_break_the_symmetry():
    water = molecule("H2O")
    water.set_masses([15.999, 1.008, 2.014])
    assert symmetry_order(water) == 2, "the plane is left"
