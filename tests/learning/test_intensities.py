"""Harmonic intensities of two sources, mode by mode."""

import numpy as np
import pytest
from ase.build import molecule

from palirs import keys
from palirs.engines import TBLite
from palirs.learning.frequencies import IntensityComparison, _intensities, overlap
from palirs.vibrations import minimum


@pytest.fixture(scope="module")
def water():
    atoms = molecule("H2O")
    atoms.info[keys.MOLECULE] = "water"
    return minimum(atoms, TBLite())


def test_a_source_has_its_own_intensities(water):
    np.testing.assert_allclose(_intensities(water, TBLite()), water.intensities, rtol=1e-3, atol=0.02)
    np.testing.assert_allclose(overlap(water, water), np.eye(3), atol=1e-9)


def test_another_source_has_others_in_the_order_of_the_first(water):
    """GFN1 against GFN2: the bend stays the strongest mode, its intensity does not."""
    theirs = _intensities(water, TBLite(method="GFN1-xTB"))
    assert theirs.argmax() == water.intensities.argmax()
    assert abs(theirs.max() / water.intensities.max() - 1) > 0.02


def test_errors_by_molecule_and_of_strong_modes():
    found = IntensityComparison(
        {"a": np.array([100.0, 1.0]), "b": np.array([50.0])}, {"a": np.array([90.0, 3.0]), "b": np.array([55.0])}
    ).metrics()
    assert found["harmonic.intensity_mae_km_per_mol"] == pytest.approx(17 / 3)
    assert found["harmonic.intensity_relative"] == pytest.approx(0.1)
    assert found["harmonic.intensity_mae_km_per_mol.a"] == pytest.approx(6)
    assert IntensityComparison().metrics() == {}
