from typing import ClassVar

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.db import connect

from palirs import keys
from palirs.engines import EngineFailure, TBLite
from palirs.engines.base import Engine
from palirs.executors import SerialExecutor
from palirs.labels import Labeller, LabelStore, on_grid, structure_key
from palirs.recipes import PalirsError, recipe


class Springs(Calculator):
    """Harmonic about the origin; fails on command. ``calls`` counts, over all instances."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "dipole"]
    calls = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        type(self).calls += 1
        if abs(self.atoms.positions).max() > 50:
            raise RuntimeError("SCF not converged")
        x = self.atoms.positions
        self.results = {"energy": 0.5 * (x**2).sum(), "forces": -x, "dipole": x.sum(axis=0)}


@recipe
class SpringEngine(Engine):
    stiffness: float = 1.0

    @property
    def settings(self):
        return {"stiffness": self.stiffness}

    @property
    def elements(self):
        return frozenset(range(1, 10))

    def calculator(self):
        return Springs()


@pytest.fixture
def structures():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(5):
        atoms = molecule("CH3OH")
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
        atoms.info[keys.MOLECULE] = "methanol"
        found.append(atoms)
    return found


def labeller(path, engine=None):
    Springs.calls = 0
    return Labeller(engine or SpringEngine(), LabelStore(path), SerialExecutor())


def test_a_label_is_paid_for_once(tmp_path, structures):
    first = labeller(tmp_path / "labels.db").label(structures, title="")
    assert Springs.calls == 5
    again = labeller(tmp_path / "labels.db").label([*structures, structures[0]], title="")
    assert Springs.calls == 0
    assert len(again) == 6
    np.testing.assert_array_equal(first[2].arrays[keys.FORCES], again[2].arrays[keys.FORCES])
    assert first[2].info[keys.ENERGY] == again[2].info[keys.ENERGY]


def test_duplicates_in_one_call_are_paid_for_once(tmp_path, structures):
    labeller(tmp_path / "labels.db").label([structures[0]] * 4, title="")
    assert Springs.calls == 1


def test_another_engine_setting_is_another_label(tmp_path, structures):
    labeller(tmp_path / "labels.db").label(structures, title="")
    labeller(tmp_path / "labels.db", SpringEngine(stiffness=2.0)).label(structures, title="")
    assert Springs.calls == 5


def test_a_structure_that_went_through_a_file_is_the_same(tmp_path, structures):
    original = [on_grid(atoms) for atoms in structures]
    ase.io.write(tmp_path / "frames.xyz", original, format="extxyz")
    assert [structure_key(atoms) for atoms in ase.io.read(tmp_path / "frames.xyz", index=":")] == [structure_key(a) for a in original]


def test_a_failure_is_recorded_with_its_reason_and_costs_nothing_again(tmp_path, structures):
    structures[1].positions[0, 0] = 100.0
    labelled = labeller(tmp_path / "labels.db").label(structures, title="")
    assert len(labelled) == 4
    with pytest.raises(EngineFailure, match="SCF not converged"):
        labeller(tmp_path / "labels.db").calculate(structures)
    assert Springs.calls == 0
    assert connect(tmp_path / "labels.db").count("failure") == 1


def test_labels_are_durable_when_they_arrive(tmp_path, structures):
    work = labeller(tmp_path / "labels.db")
    seen = []
    put = work.store.put
    work.store.put = lambda *a: (put(*a), seen.append(len(connect(tmp_path / "labels.db"))))
    work.label(structures, title="")
    assert seen == [1, 2, 3, 4, 5]


def test_a_lock_left_by_a_killed_process_stops_nobody(tmp_path, structures):
    (tmp_path / "labels.db.lock").touch()
    assert len(labeller(tmp_path / "labels.db").label(structures, title="")) == 5


def test_the_store_is_an_ase_database(tmp_path, structures):
    labelled = labeller(tmp_path / "labels.db", TBLite()).label(structures[:1], title="")
    row = connect(tmp_path / "labels.db").get(molecule="methanol")
    assert row.energy == labelled[0].info[keys.ENERGY]
    np.testing.assert_array_equal(row.dipole, labelled[0].info[keys.DIPOLE])


def test_a_foreign_file_is_refused(tmp_path):
    (tmp_path / "labels.db").write_text("this is not a database")
    with pytest.raises(PalirsError, match="not a readable ASE database"):
        LabelStore(tmp_path / "labels.db")
