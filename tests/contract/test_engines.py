"""What every reference engine must fulfil."""

import numpy as np
import pytest
from ase import units
from ase.build import molecule

from palirs.engines import EngineFailure, TBLite
from palirs.molecules import Molecules
from palirs.recipes import PalirsError
from tests.test_labels import SpringEngine

ENGINES = {"GFN2": TBLite(), "GFN1": TBLite(method="GFN1-xTB"), "springs": SpringEngine()}


@pytest.fixture(params=ENGINES, ids=str)
def engine(request):
    return ENGINES[request.param]


@pytest.fixture
def bent():
    """A molecule without symmetry."""
    atoms = molecule("CH3OH")
    atoms.positions += np.random.default_rng(3).normal(0, 0.05, atoms.positions.shape)
    return atoms


def displaced(atoms, atom, axis, step):
    moved = atoms.copy()
    moved.positions[atom, axis] += step
    return moved


def test_forces_are_the_derivative_of_the_energy(engine, bent):
    forces = engine.calculate([bent])[0].forces
    step = 1e-3
    for atom, axis in [(0, 0), (1, 2), (4, 1)]:
        up, down = engine.calculate([displaced(bent, atom, axis, step), displaced(bent, atom, axis, -step)])
        assert forces[atom, axis] == pytest.approx(-(up.energy - down.energy) / (2 * step), abs=2e-4)


def test_forces_of_a_molecule_sum_to_zero(bent):
    for engine in (ENGINES["GFN2"], ENGINES["GFN1"]):
        assert abs(engine.calculate([bent])[0].forces.sum(axis=0)).max() < 1e-4


def test_nothing_depends_on_where_the_molecule_is(bent):
    moved = bent.copy()
    moved.translate([3.0, -7.0, 11.0])
    for engine in (ENGINES["GFN2"], ENGINES["GFN1"]):
        here, there = engine.calculate([bent, moved])
        assert there.energy == pytest.approx(here.energy, abs=1e-6)
        np.testing.assert_allclose(there.forces, here.forces, atol=2e-5)
        np.testing.assert_allclose(there.dipole, here.dipole, atol=1e-5)


def test_vectors_turn_with_the_molecule(engine, bent):
    turned = bent.copy()
    turned.rotate(37, (1, 2, 3))
    rotation = np.linalg.lstsq(bent.positions, turned.positions, rcond=None)[0]
    here, there = engine.calculate([bent, turned])
    assert there.energy == pytest.approx(here.energy, abs=1e-6)
    np.testing.assert_allclose(there.forces, here.forces @ rotation, atol=2e-5)
    np.testing.assert_allclose(there.dipole, here.dipole @ rotation, atol=1e-5)


def test_results_do_not_depend_on_what_was_calculated_before(engine, bent):
    other = displaced(bent, 2, 1, 0.3)
    alone = engine.calculate([bent])[0]
    after = engine.calculate([other, bent])[1]
    assert after.energy == alone.energy
    np.testing.assert_array_equal(after.forces, alone.forces)


def test_units_of_the_dipole():
    dipole = np.linalg.norm(TBLite().calculate([molecule("H2O")])[0].dipole) / units.Debye
    assert 1.5 < dipole < 2.5, "water has about 2 Debye; in atomic units it would read as 4"


def test_the_fingerprint_tells_settings_apart():
    assert TBLite().fingerprint == TBLite().fingerprint
    assert len({engine.fingerprint for engine in [*ENGINES.values(), TBLite(accuracy=1.0)]}) == 4


def test_an_impossible_structure_fails_with_a_reason():
    atoms = molecule("H2O")
    atoms.positions[1] = atoms.positions[0]
    with pytest.raises(EngineFailure):
        TBLite().calculate([atoms])


def test_an_element_without_parameters_is_refused():
    atoms = molecule("H2O")
    atoms.numbers[0] = 92
    with pytest.raises(PalirsError, match="no parameters for U"):
        TBLite().check(atoms)
    for good in Molecules(names=("organics24",)).load():
        TBLite().check(good)
