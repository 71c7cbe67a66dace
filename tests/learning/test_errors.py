import csv

import numpy as np
import pytest

from palirs.learning.errors import Parity, above
from palirs.report.page import write_table


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


def test_a_table_comes_back_from_its_file(tmp_path):
    rows = [{"molecule": "methanol", "n": 3, "energy.mae_meV": 1.23456789}, {"molecule": "N,N-x", "n": 4, "energy.mae_meV": 2.0}]
    write_table(tmp_path / "errors.csv", rows)
    with (tmp_path / "errors.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["molecule"] for row in found] == ["methanol", "N,N-x"]
    assert float(found[0]["energy.mae_meV"]) == pytest.approx(1.23456789, rel=1e-5)
