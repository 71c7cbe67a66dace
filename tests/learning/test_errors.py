import numpy as np
import pytest

from palirs.learning.errors import Parity, above


def test_errors_by_molecule_are_those_of_its_values_alone():
    rng = np.random.default_rng(0)
    reference, noise = rng.normal(size=60), rng.normal(size=60)
    names = np.repeat(["ethanol", "methanol"], [20, 40])
    parity = Parity(reference, reference + noise, names)
    found = parity.by_molecule("forces", "meV_per_A")
    assert list(found) == ["ethanol", "methanol"]
    assert found["ethanol"]["forces.mae_meV_per_A"] == pytest.approx(np.abs(noise[:20]).mean())
    assert found["methanol"]["forces.rmse_meV_per_A"] == pytest.approx(np.sqrt((noise[20:] ** 2).mean()))
    whole = parity.metrics("forces", "meV_per_A")["forces.mae_meV_per_A"]
    parts = [found[name]["forces.mae_meV_per_A"] * parity.count(name) for name in found]
    assert whole == pytest.approx(sum(parts) / 60)


def test_energies_above_the_optimum_keep_their_errors():
    parity = Parity(np.array([1000.0, 5000.0]), np.array([1010.0, 5030.0]), np.array(["a", "b"]))
    moved = above(parity, {"a": 1.0, "b": 4.0})
    np.testing.assert_allclose(moved.reference, [0.0, 1000.0])
    assert moved.metrics("energy", "meV") == parity.metrics("energy", "meV")
