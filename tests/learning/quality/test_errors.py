import numpy as np
import pytest

from palirs.learning.quality.errors import Parity, above, standard_error


def parity(reference, predicted, molecule, origin="md", stretch=None):
    count = len(reference)
    stretch = np.arange(count) if stretch is None else stretch
    return Parity(
        reference,
        predicted,
        *(np.broadcast_to(what, count).astype(str) for what in (molecule, origin, stretch)),
    )


def test_errors_by_molecule_are_those_of_its_values_alone():
    rng = np.random.default_rng(0)
    reference, noise = rng.normal(size=60), rng.normal(size=60)
    names = np.repeat(["ethanol", "methanol"], [20, 40])
    all_of_them = parity(reference, reference + noise, names)
    found = all_of_them.by(all_of_them.molecule, "forces", "meV_per_A")
    assert list(found) == ["ethanol", "methanol"]
    assert found["ethanol"]["forces.mae_meV_per_A"] == pytest.approx(np.abs(noise[:20]).mean())
    assert found["methanol"]["forces.rmse_meV_per_A"] == pytest.approx(
        np.sqrt((noise[20:] ** 2).mean())
    )
    whole = all_of_them.metrics("forces", "meV_per_A")["forces.mae_meV_per_A"]
    parts = [found[name]["forces.mae_meV_per_A"] * all_of_them.count(name) for name in found]
    assert whole == pytest.approx(sum(parts) / 60)


def test_energies_above_the_optimum_keep_their_errors():
    energies = parity(np.array([1000.0, 5000.0]), np.array([1010.0, 5030.0]), np.array(["a", "b"]))
    moved = above(energies, {"a": 1.0, "b": 4.0})
    np.testing.assert_allclose(moved.reference, [0.0, 1000.0])
    assert moved.metrics("energy", "meV") == energies.metrics("energy", "meV")


def test_the_standard_error_covers_the_truth():
    """Two times the error holds the true mean in about 95 of 100 repeats.

    Although neighbours are alike.
    """
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(40), 5)
    inside = alone = 0
    for _ in range(400):
        values = np.repeat(rng.exponential(size=40), 5) * rng.uniform(0.9, 1.1, size=200)
        off = abs(values.mean() - 1.0)
        inside += off < 2 * standard_error(values, group)
        alone += off < 2 * standard_error(values, np.arange(200))
    assert 0.90 < inside / 400 < 0.98
    assert alone / 400 < 0.75, "as if neighbours were independent"


def test_one_group_has_no_standard_error():
    values = parity(np.zeros(3), np.ones(3), "a", stretch="same")
    assert set(values.metrics("forces", "x")) == {"forces.mae_x", "forces.rmse_x"}
