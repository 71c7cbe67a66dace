import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from palirs.descriptors import mbtr


def test_a_structure_turned_and_renumbered_is_the_same():
    one = molecule("CH3OH")
    other = one[[0, 1, 2, 5, 3, 4]]
    other.rotate(40, (1, 2, 3))
    other.translate([3.0, -1.0, 2.0])
    mirrored = one.copy()
    mirrored.positions[:, 2] *= -1
    rows = mbtr([one, other, mirrored])
    np.testing.assert_allclose(rows[1:], rows[[0, 0]], atol=1e-12)


def test_it_changes_with_the_structure_and_more_with_more():
    rng = np.random.default_rng(0)
    start, step = molecule("CH3CONH2"), rng.normal(size=(9, 3))
    rows = mbtr(
        [Atoms(start.numbers, start.positions + size * step) for size in (0.0, 0.01, 0.03, 0.1)]
    )
    far = np.linalg.norm(rows - rows[0], axis=1)
    assert (np.diff(far) > 0).all()


def test_each_term_has_length_one_and_two_atoms_have_no_angle():
    rows = mbtr([molecule("H2O"), molecule("CO2")])
    assert np.isfinite(rows).all()
    np.testing.assert_allclose((rows**2).sum(axis=1), 2.0)
    diatomic = mbtr([molecule("N2")])
    assert np.isfinite(diatomic).all()
    assert (diatomic**2).sum() == pytest.approx(1.0)


def test_the_peak_of_a_diatomic_is_at_its_inverse_distance():
    row = mbtr([Atoms("N2", [[0, 0, 0], [0, 0, 1.25]])])[0]
    grid = np.linspace(0.0, 1.2, 100)
    assert grid[row[:100].argmax()] == pytest.approx(1 / 1.25, abs=0.01)
