import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.units import Bohr, Debye, Hartree

from palirs.engines import Properties, TBLite
from palirs.engines.consistency import consistency
from palirs.executors import SerialExecutor
from palirs.labels import Labeller, LabelStore
from palirs.labels.exchange import (
    check_labels,
    export_labels,
    import_labels,
    read_labels,
    verify_labels,
)
from palirs.recipes import PalirsError

UNITS = {"energy": "eV", "forces": "eV/Å", "dipole": "e·Å"}
ENGINE = TBLite()


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Twenty distorted waters and methanols, as labelled by palirs."""
    rng = np.random.default_rng(2)
    structures = []
    for number in range(20):
        atoms = molecule(("H2O", "CH3OH")[number % 2])
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        atoms.info["molecule"] = ("water", "methanol")[number % 2]
        structures.append(atoms)
    store = LabelStore(tmp_path_factory.mktemp("labels") / "labels.db")
    return Labeller(ENGINE, store, SerialExecutor()).label(structures, title="")


def read(path, units=UNITS):
    return read_labels(path, "REF_energy", "REF_forces", "REF_dipole", units)


def test_out_and_in_again_is_the_same(tmp_path, labelled):
    one, two = LabelStore(tmp_path / "one.db"), LabelStore(tmp_path / "two.db")
    Labeller(ENGINE, one, SerialExecutor()).label(labelled, title="")
    assert export_labels(one, ENGINE, tmp_path / "labels.xyz") == 20
    labels = read(tmp_path / "labels.xyz")
    check_labels(labels)
    assert "energies within 0" in verify_labels(labels, ENGINE.calculate, 3)
    assert import_labels(two, ENGINE, labels) == 20
    assert import_labels(two, ENGINE, labels) == 0
    for atoms in labelled:
        assert two.get(ENGINE, atoms).energy == pytest.approx(
            one.get(ENGINE, atoms).energy, abs=1e-7
        )
        np.testing.assert_allclose(
            two.get(ENGINE, atoms).forces, one.get(ENGINE, atoms).forces, atol=1e-7
        )
        np.testing.assert_allclose(
            two.get(ENGINE, atoms).dipole, one.get(ENGINE, atoms).dipole, atol=1e-7
        )
    labeller = Labeller(ENGINE, two, SerialExecutor())
    assert len(labeller.label(labelled, title="")) == 20
    assert labeller.computed == 0, "what was imported need not be paid for"


def test_an_ase_database_and_ases_own_results_are_read(tmp_path, labelled):
    database = connect(tmp_path / "theirs.db")
    for atoms in labelled:
        theirs = Atoms(atoms.numbers, positions=atoms.positions)
        theirs.calc = SinglePointCalculator(
            theirs,
            energy=atoms.info["REF_energy"],
            forces=atoms.arrays["REF_forces"],
            dipole=atoms.info["REF_dipole"],
        )
        database.write(theirs, molecule=atoms.info["molecule"])
    labels = read_labels(tmp_path / "theirs.db", None, None, None, UNITS)
    assert len(labels) == 20
    assert labels[1][0].info["molecule"] == "methanol"
    for (_, properties), atoms in zip(labels, labelled, strict=True):
        assert properties.energy == atoms.info["REF_energy"]
        np.testing.assert_array_equal(properties.dipole, atoms.info["REF_dipole"])


def test_other_units_are_converted(tmp_path, labelled):
    theirs = [atoms.copy() for atoms in labelled]
    for atoms in theirs:
        atoms.info["E"] = atoms.info.pop("REF_energy") / Hartree
        atoms.arrays["F"] = atoms.arrays.pop("REF_forces") / (Hartree / Bohr)
        atoms.info["mu"] = atoms.info.pop("REF_dipole") / Debye
    ase.io.write(tmp_path / "theirs.xyz", theirs)
    labels = read_labels(
        tmp_path / "theirs.xyz",
        "E",
        "F",
        "mu",
        {"energy": "Hartree", "forces": "Hartree/Bohr", "dipole": "Debye"},
    )
    check_labels(labels)
    for (_, properties), atoms in zip(labels, labelled, strict=True):
        assert properties.energy == pytest.approx(atoms.info["REF_energy"], abs=1e-5)
        np.testing.assert_allclose(properties.forces, atoms.arrays["REF_forces"], atol=1e-5)
        np.testing.assert_allclose(properties.dipole, atoms.info["REF_dipole"], atol=1e-5)


def wrong(labelled, energy=1.0, forces=1.0, dipole=1.0):
    return [
        (
            atoms,
            Properties(
                atoms.info["REF_energy"] * energy,
                atoms.arrays["REF_forces"] * forces,
                atoms.info["REF_dipole"] * dipole,
            ),
        )
        for atoms in labelled
    ]


def test_right_labels_agree_with_themselves(labelled):
    assert 0.75 < consistency(wrong(labelled)) < 1.3
    rng, near = np.random.default_rng(0), []
    for _ in range(10):
        atoms = molecule("CH3OH")
        atoms.positions += rng.normal(0, 0.005, atoms.positions.shape)
        near.append(atoms)
    assert consistency(list(zip(near, ENGINE.calculate(near), strict=True))) == pytest.approx(
        1.0, abs=0.02
    )


@pytest.mark.parametrize(
    ("factors", "says"),
    [
        ({"energy": 1 / Hartree}, "energies in Hartree"),
        ({"forces": Bohr / Hartree}, "forces in Hartree/Bohr"),
        ({"energy": 23.06}, "energies in kcal/mol"),
        ({"forces": -1.0}, "gradients, with the sign turned"),
        ({"energy": 1 / Hartree, "forces": Bohr / Hartree}, "mend task.units"),
        ({"dipole": 1 / Debye}, "Debye"),
    ],
)
def test_wrong_units_are_recognised(labelled, factors, says):
    with pytest.raises(PalirsError, match=says):
        check_labels(wrong(labelled, **factors))


def test_forces_of_something_else_are_recognised(labelled):
    shifted = [
        (atoms, Properties(p.energy, p.forces + 0.3, p.dipole)) for atoms, p in wrong(labelled)
    ]
    with pytest.raises(PalirsError, match="forces of a frame sum to"):
        check_labels(shifted)


def test_labels_of_another_method_are_recognised(labelled):
    other = TBLite(method="GFN1-xTB")
    with pytest.raises(PalirsError, match="not labels of this engine"):
        verify_labels(wrong(labelled), other.calculate, 2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda atoms: atoms.info.pop("REF_energy"),
            "frame 3 .*no energy under the key 'REF_energy'.*REF_dipole",
        ),
        (lambda atoms: atoms.arrays.pop("REF_forces"), "frame 3 .*no forces"),
        (lambda atoms: atoms.info.update(REF_energy=np.nan), "frame 3 .*not finite"),
        (
            lambda atoms: atoms.info.update(REF_dipole=np.zeros(2)),
            "frame 3 .*2 numbers, it should have 3",
        ),
        (lambda atoms: atoms.set_pbc(True), "frame 3 .*periodic"),
    ],
)
def test_what_is_missing_or_broken_is_named(tmp_path, labelled, change, says):
    theirs = [atoms.copy() for atoms in labelled]
    theirs[3].cell = [9, 9, 9]
    change(theirs[3])
    ase.io.write(tmp_path / "theirs.xyz", theirs)
    with pytest.raises(PalirsError, match=says):
        read(tmp_path / "theirs.xyz")


def test_an_unknown_unit_names_those_that_are_known(tmp_path):
    with pytest.raises(PalirsError, match=r"task.units.energy = 'cal': allowed are eV, Hartree"):
        read(tmp_path / "theirs.xyz", {"energy": "cal"})


def test_dipoles_may_be_missing(tmp_path, labelled):
    theirs = [atoms.copy() for atoms in labelled]
    theirs[0].info.pop("REF_dipole")
    ase.io.write(tmp_path / "theirs.xyz", theirs)
    labels = read(tmp_path / "theirs.xyz")
    assert labels[0][1].dipole is None
    assert "19 of 20 frames have a dipole" in "\n".join(check_labels(labels))
