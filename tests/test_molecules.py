import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from palirs import keys
from palirs.geometry.electrons import Electrons
from palirs.molecules import Molecules, groups, table
from palirs.recipes import PalirsError


def test_groups_have_the_protocols_sizes():
    assert {name: len(members) for name, members in groups().items()} == {
        "organics24": 24,
        "transfer8": 8,
    }


def test_table_agrees_with_the_reference_geometries(shared):
    for name, atoms in table().items():
        given = ase.io.read(shared / "molecules" / f"{name}.xyz", format="xyz")
        assert atoms.get_chemical_symbols() == given.get_chemical_symbols()
        np.testing.assert_allclose(atoms.positions, given.positions, atol=1e-7)


def test_all_shipped_molecules_pass_the_checks():
    assert len(Molecules(names=("organics24", "transfer8")).load()) == 32


def test_g2_names_and_files(tmp_path):
    ase.io.write(tmp_path / "mine.xyz", molecule("H2O"))
    loaded = Molecules(names=("NH3",), files=(str(tmp_path / "mine.xyz"),)).load()
    assert [atoms.info[keys.MOLECULE] for atoms in loaded] == ["NH3", "mine"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("methanl",), "did you mean methanol"),
        (("methanol", "methanol"), "two molecules are called 'methanol'"),
        (("H",), "no vibrations"),
        (("[Na+]",), "at least two are needed"),
        ((), "list is empty"),
    ],
)
def test_bad_names_are_explained(names, message):
    with pytest.raises(PalirsError, match=message):
        Molecules(names=names).load()


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.1]]), "on top of each other"),
        (Atoms("H2", [[0, 0, 0], [0, 0, np.nan]]), "not finite"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], cell=[5, 5, 5], pbc=True), "periodic"),
    ],
)
def test_bad_structures_are_explained(atoms, message, tmp_path):
    ase.io.write(tmp_path / "bad.xyz", atoms, format="extxyz")
    with pytest.raises(PalirsError, match=message):
        Molecules(files=(str(tmp_path / "bad.xyz"),)).load()


def test_radicals_come_by_name_and_ions_by_file(tmp_path):
    atoms = molecule("H2O")
    atoms.info["charge"] = 2
    ase.io.write(tmp_path / "ion.xyz", atoms, format="extxyz")
    loaded = Molecules(names=("CH3", "O2"), files=(str(tmp_path / "ion.xyz"),)).load()
    states = [(Electrons.of(each).charge, Electrons.of(each).multiplicity) for each in loaded]
    assert states == [(0, 2), (0, 3), (2, 1)]


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "x.xyz").write_text("not a structure")
    with pytest.raises(PalirsError, match=r"x\.xyz"):
        Molecules(files=(str(tmp_path / "x.xyz"),)).load()
    with pytest.raises(PalirsError, match="no file"):
        Molecules(files=(str(tmp_path / "absent.xyz"),)).load()
