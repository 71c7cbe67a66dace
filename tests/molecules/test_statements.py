"""Charges, spins and names, however a file writes them."""

import contextlib
import itertools
import logging

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from palirs import keys
from palirs.geometry.electrons import Electrons
from palirs.molecules import Molecules, check, read_frames
from palirs.recipes import PalirsError

WATER = "O 0.0 0.0 0.119 {}\nH 0.0 0.763 -0.477 {}\nH 0.0 -0.763 -0.477 {}\n"
COLUMNS = "Properties=species:S:1:pos:R:3"


def load(tmp_path, comment, *column):
    (tmp_path / "mine.xyz").write_text(f"3\n{comment}\n{WATER.format(*column or ('', '', ''))}")
    (atoms,) = Molecules(files=(str(tmp_path / "mine.xyz"),)).load()
    return atoms


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("3", "3"),
        ("007", "007"),
        ("3.10", "3.10"),
        ("1e5", "1e5"),
        ("T", "T"),
        ("nan", "nan"),
        ("1,2", "1,2"),
        ("[13CH3]O", "[13CH3]O"),
        ('"a,b(c)[d]+*%"', "a,b(c)[d]+*%"),
        ('"a\\"b"', 'a"b'),
        ("1,3-butadiene", "1,3-butadiene"),
        ("name.", "name."),
        ('""', "mine"),
        ("", "mine"),
    ],
)
def test_names_are_what_the_file_writes(tmp_path, written, name):
    atoms = load(tmp_path, f"{COLUMNS} molecule={written} iteration=1")
    assert atoms.info == {keys.MOLECULE: name}
    ase.io.write(
        tmp_path / "again.xyz", atoms, format="extxyz"
    ) if written != "1,2" else None  # ASE cannot write that one
    frames = read_frames(tmp_path / ("again.xyz" if written != "1,2" else "mine.xyz"))
    assert frames[0].info[keys.MOLECULE] == name


def test_words_of_a_sentence_are_no_metadata(tmp_path):
    assert load(tmp_path, "a molecule of water, charge 0, multiplicity 1").info == {
        keys.MOLECULE: "mine"
    }


@pytest.mark.parametrize(
    "written", ['"1 2 3"', '"a b"', "a/b", "..", ".hidden", '"a\x07b"', "x" * 200, '"_JSON [1]"']
)
def test_names_that_files_cannot_have_are_refused(tmp_path, written):
    with pytest.raises(PalirsError, match="becomes part of file names"):
        load(tmp_path, f"{COLUMNS} molecule={written}")


@pytest.mark.parametrize(
    "stated",
    ["charge=0", "charge=0.0", "charge=-0.0", "singlet multiplicity: 1",
     "charge=neutral multiplicity=singlet", "charge=neutral", 'charge="0 0 0"',
     'charge="-0.3 0.15 0.15"',
     'charge=""', "charge=1e-8", "charge=0.09", "spin=1", "spin=0", "multiplicity=1",
     "multiplicity=singlet", "mult=1", "spin_multiplicity=1", "uhf=0", "0 1", "1 1", "100 1",
     "charge: 0 multiplicity: 1", "energy: -5.07 gnorm: 0.0003 xtb: 6.4.1",
     'config_type="charge 2 scan"', "magmom=0.0", "magmom=1e-4"],
)  # fmt: skip
def test_neutral_closed_shells_add_nothing_to_info(tmp_path, stated):
    assert load(tmp_path, stated).info == {keys.MOLECULE: "mine"}


STATED = {
    (2, 1): [
        "charge=2", "Charge=2", "total_charge=2", "total charge 2", "2 1", "molecule= charge=2",
        "charge=2 spin=0", "charge=1.95", 'charge="1.0 0.5 0.5"', "charge=2 total_charge=2",
    ],
    (-2, 1): ["charge=-2.0", "net_charge=-2", "charge: -2", "-2 1"],
    (1, 2): [
        "charge=1 multiplicity=2", "charge=+1 spin=2", "charge=1 uhf=1", "1 2", "+1 2",
        "charge: 1 multiplicity: 2", 'charge="0.5 0.25 0.25" multiplicity=2', "charge=1 magmom=1.0",
    ],
    (-1, 2): ["charge=-1 mult=2", "-1 2"],
    (0, 3): [
        "spin=3", "multiplicity=3", "mult=3", "uhf=2", "0 3", "magmom=2.0", "multiplicity: 3",
        "spin 3", "Multiplicity=3", "charge=0 spin=3", "uhf=2 multiplicity=3",
    ],
    (0, 5): ["spin_multiplicity=5"],
    (2, 3): ["2 3"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("stated", "electrons"), [(text, pair) for pair, texts in STATED.items() for text in texts]
)
def test_charge_and_spin_are_read_and_written_in_the_words_of_the_project(
    tmp_path, stated, electrons
):
    atoms = load(tmp_path, stated)
    charge, multiplicity = electrons
    assert atoms.info == {
        keys.MOLECULE: "mine",
        keys.CHARGE: charge,
        keys.MULTIPLICITY: multiplicity,
    }
    assert Electrons.of(atoms) == Electrons(charge, multiplicity)
    assert type(atoms.info[keys.CHARGE]) is type(atoms.info[keys.MULTIPLICITY]) is int


REFUSED = {
    r"open shell \(\d+ electrons\); write its multiplicity": [
        "charge=+1", 'charge="0.5 0.25 0.25"', "charge=-1",
    ],
    "statements of the charge differ": ["charge=2 total_charge=-2", "charge=1 Charge=2"],
    "statements of the number of unpaired electrons differ": [
        "multiplicity=1 spin=3", "multiplicity=3 uhf=4", "spin=0 magmom=2.0",
    ],
    "the charge is no whole number": ["charge=0.5", "charge=1.5 multiplicity=2"],
    "the number of unpaired electrons is no whole number": [
        "uhf=1.5", "multiplicity=1.5", "magmom=1.5",
    ],
    r"electrons cannot be charge [+-]\d+, \w+": [
        "charge=1 multiplicity=1", "charge=1 spin=0", "charge=1 spin=3", "charge=12",
        "charge=1 multiplicity=12",
    ],
    r"10 electrons cannot be neutral, (doublet|multiplicity 13)": [
        "multiplicity=2", "uhf=1", "multiplicity=13", "uhf=12",
    ],
    "is no charge": [
        "charge=T", "charge=cation", 'charge="0 0 0 0"', "charge=nan", "charge=inf", "charge=1+",
        "charge=None", 'charge={"a":1}', 'charge="[[1,2],[3]]"',
    ],
    "is no multiplicity": ["spin=T", "multiplicity=triplet", "multiplicity=0", 'mult="1 1"'],
    "is no number of unpaired electrons": ["uhf=none"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("stated", "says"), [(text, says) for says, texts in REFUSED.items() for text in texts]
)
def test_statements_that_cannot_be_are_refused(tmp_path, stated, says):
    with pytest.raises(PalirsError, match=says):
        load(tmp_path, stated)


@pytest.mark.parametrize("column", ["charges", "initial_charges"])
def test_charges_of_atoms_add_up_to_that_of_the_molecule(tmp_path, column, caplog):
    comment = f"{COLUMNS}:{column}:R:1"
    with caplog.at_level(logging.INFO):
        load(tmp_path, comment, -0.30000001, 0.15, 0.15)
        assert "is taken for 0" not in caplog.text
        load(tmp_path, comment, -0.3001, 0.15, 0.15)
    assert "charge -0.0001 e" in caplog.text
    assert Electrons.of(load(tmp_path, comment, 1.7, 0.15, 0.15)) == Electrons(2, 1)
    doublet = load(tmp_path, f"{comment} multiplicity=2", -1.3, 0.15, 0.15)
    assert Electrons.of(doublet) == Electrons(-1, 2)
    with pytest.raises(PalirsError, match=r"open shell \(11 electrons\)"):
        load(tmp_path, comment, -1.3, 0.15, 0.15)
    with pytest.raises(PalirsError, match="no whole number"):
        load(tmp_path, comment, -1.5, 0.5, 0.5)
    with pytest.raises(PalirsError, match="not finite"):
        load(tmp_path, comment, np.nan, 0.15, 0.15)


@pytest.mark.parametrize("column", ["charges", "initial_charges"])
@pytest.mark.parametrize("stated", ["charge=1 multiplicity=2", "charge=0 multiplicity=1"])
def test_a_charge_that_those_of_the_atoms_contradict_is_refused(tmp_path, stated, column):
    with pytest.raises(PalirsError, match="statements of the charge differ"):
        load(tmp_path, f"{COLUMNS}:{column}:R:1 {stated}", 1.7, 0.15, 0.15)


@pytest.mark.parametrize("column", ["charges", "initial_charges"])
def test_a_charge_that_those_of_the_atoms_confirm_passes(tmp_path, column):
    comment = f"{COLUMNS}:{column}:R:1 charge=1 multiplicity=2"
    assert Electrons.of(load(tmp_path, comment, 0.7, 0.15, 0.15)) == Electrons(1, 2)


@pytest.mark.parametrize("column", ["magmoms", "initial_magmoms"])
def test_magnetic_moments_count_unless_they_are_noise(tmp_path, column):
    comment = f"{COLUMNS}:{column}:R:1"
    assert Electrons.of(load(tmp_path, comment, 1e-4, -1e-4, 0.0)) == Electrons()
    assert Electrons.of(load(tmp_path, comment, 1.8, 0.1, 0.1)) == Electrons(0, 3)
    cation = load(tmp_path, f"{comment} charge=1", 0.9, 0.05, 0.05)
    assert Electrons.of(cation) == Electrons(1, 2)
    with pytest.raises(PalirsError, match="10 electrons cannot be neutral, doublet"):
        load(tmp_path, comment, 0.9, 0.05, 0.05)


@pytest.mark.parametrize("column", ["magmoms", "initial_magmoms"])
def test_magnetic_moments_add_up_with_their_signs(tmp_path, column):
    cation = load(tmp_path, f"{COLUMNS}:{column}:R:1 charge=1", 1.2, -0.1, -0.1)
    assert Electrons.of(cation) == Electrons(1, 2)


@pytest.mark.parametrize("column", ["magmoms", "initial_magmoms"])
def test_magnetic_moments_that_cancel_are_refused(tmp_path, column):
    """An open-shell singlet is neither a closed shell nor a triplet."""
    with pytest.raises(PalirsError):
        load(tmp_path, f"{COLUMNS}:{column}:R:1", 1.0, -0.5, -0.5)


@pytest.mark.parametrize("stated", ["multiplicity=-1", "multiplicity=-3", "uhf=-2"])
def test_negative_numbers_of_unpaired_electrons_are_refused(tmp_path, stated):
    with pytest.raises(PalirsError):
        load(tmp_path, stated)


def test_a_total_moment_may_point_down(tmp_path):
    assert Electrons.of(load(tmp_path, "magmom=-2.0")) == Electrons(0, 3)


def test_a_molecule_without_electrons_is_refused(tmp_path):
    with pytest.raises(PalirsError):
        load(tmp_path, "charge=10")


@pytest.mark.parametrize(("stated", "whole"), [("charge=0.09", 0), ("charge=1.95", 2)])
def test_a_charge_that_is_rounded_is_told(tmp_path, stated, whole, caplog):
    with caplog.at_level(logging.INFO):
        load(tmp_path, stated)
    assert f"is taken for {whole}" in caplog.text


@pytest.mark.parametrize(
    "stated",
    [
        "charge=cation",
        "charge=None",
        "charge=inf",
        'charge="1 2"',
    ],
)
def test_odd_charges_of_carbon_without_hydrogen_end_in_a_sentence(tmp_path, stated):
    ase.io.write(tmp_path / "mine.xyz", molecule("CO2"), format="xyz", comment=stated)
    with pytest.raises(PalirsError, match="is no charge"):
        Molecules(files=(str(tmp_path / "mine.xyz"),)).load()


def test_charges_of_the_atoms_of_carbon_dioxide_are_read(tmp_path):
    ase.io.write(
        tmp_path / "mine.xyz", molecule("CO2"), format="xyz", comment='charge="0.6 -0.3 -0.3"'
    )
    (atoms,) = Molecules(files=(str(tmp_path / "mine.xyz"),)).load()
    assert atoms.info == {keys.MOLECULE: "mine"}


KEYS = [keys.MOLECULE, "charge", "spin", "multiplicity", "uhf", keys.ORIGIN, keys.ITERATION,
        keys.TEMPERATURE, keys.ENERGY, keys.DIPOLE, keys.FORCES, keys.GROUP, keys.SPLIT, "magmom",
        "charges", "magmoms", "energy", "key_value_pairs"]  # fmt: skip
VALUES = [
    "3",
    "1.5",
    "T",
    '"T F"',
    "abc",
    '""',
    "",
    '"1 2 3"',
    '"1 2"',
    '"[[1, 2], [3, 4]]"',
    '"_JSON {\\"a\\": 1}"',
    '{"a": [1]}',
    "nan",
    "=",
    '"',
    "\\",
]


@pytest.mark.parametrize("key", KEYS)
def test_odd_metadata_of_a_file_end_in_a_molecule_or_a_sentence(tmp_path, key):
    for value, comment in itertools.product(VALUES, (f"{COLUMNS} {key}={{}}", f"{key} {{}}")):
        with contextlib.suppress(PalirsError):
            atoms = load(tmp_path, comment.format(value))
            assert set(atoms.info) == {keys.MOLECULE, *Electrons.of(atoms).info}
            assert Electrons.of(atoms).fit(atoms)
        with contextlib.suppress(PalirsError):
            check(read_frames(tmp_path / "mine.xyz")[0])


OBJECTS = [0, 3, 1.5, True, np.True_, None, "", "abc", [], [1, 2, 3], [1, [2]], {"a": 1},
           np.zeros(3), np.ones((3, 3)), b"x", object(), 1j, 10**400]  # fmt: skip


@pytest.mark.parametrize(
    "key", [keys.MOLECULE, "charge", "spin", "multiplicity", "uhf", "key_value_pairs"]
)
def test_odd_metadata_of_a_structure_are_told(key):
    for value in OBJECTS:
        atoms = molecule("H2O")
        atoms.info[key] = value
        with contextlib.suppress(PalirsError):
            check(atoms)


def test_statements_of_databases_and_calculators(tmp_path):
    atoms = molecule("H2O")
    with ase.db.connect(tmp_path / "mine.db") as database:
        database.write(atoms, spin=3)
    (triplet,) = Molecules(files=(str(tmp_path / "mine.db"),)).load()
    assert triplet.info == {keys.MOLECULE: "mine", keys.CHARGE: 0, keys.MULTIPLICITY: 3}


@pytest.mark.parametrize(
    ("results", "parameters"),
    [
        ({"charges": [1.0, 0.0, 0.0]}, {}),
        ({}, {"charge": 1}),
        ({"magmom": 1.0}, {"charge": 1}),
        ({}, {"charge": 1, "multiplicity": 2}),
    ],
)
def test_statements_of_a_calculator(results, parameters):
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, **results)
    atoms.calc.parameters = parameters
    if "magmom" not in results and "multiplicity" not in parameters:
        with pytest.raises(PalirsError, match=r"open shell \(9 electrons\)"):
            check(atoms)
        atoms.info["spin"] = 2
    check(atoms)
    assert atoms.info == {keys.CHARGE: 1, keys.MULTIPLICITY: 2}
    check(atoms)
    assert atoms.info == {keys.CHARGE: 1, keys.MULTIPLICITY: 2}


def test_a_file_and_a_calculator_that_contradict_each_other_are_refused():
    atoms = molecule("H2O")
    atoms.info |= {"charge": 2}
    atoms.calc = SinglePointCalculator(atoms)
    atoms.calc.parameters = {"charge": 1, "multiplicity": 2}
    with pytest.raises(PalirsError, match="statements of the charge differ"):
        check(atoms)


@pytest.mark.parametrize(
    ("symbols", "length"),
    [
        ("O2", 1.21),
        ("S2", 1.89),
        ("SO", 1.48),
        ("Si2", 2.25),
        ("NH", 1.04),
        ("PH", 1.42),
        ("NF", 1.32),
        ("SeO", 1.65),
        ("AsH", 1.53),
    ],
)
def test_triplets_need_a_multiplicity(symbols, length):
    atoms = Atoms(symbols, [[0, 0, 0], [0, 0, length]])
    with pytest.raises(PalirsError, match=r"the ground state of .* is a triplet; write its"):
        check(atoms)
    for multiplicity, charge in ((3, 0), (1, 0), (2, 1), (1, 2)):
        atoms.info = {"charge": charge, "spin": multiplicity}
        check(atoms)
        assert Electrons.of(atoms) == Electrons(charge, multiplicity)


@pytest.mark.parametrize("smiles", ["O=O", "S=O", "S=S"])
def test_a_smiles_without_the_unpaired_electrons_of_its_triplet_is_refused(smiles):
    for settings in ({"smiles": (smiles,)}, {"names": (smiles,)}):
        with pytest.raises(PalirsError, match=r"the ground state of .* is a triplet; write its"):
            Molecules(**settings).load()


@pytest.mark.parametrize(
    ("name", "multiplicity"), [("O2", 3), ("CH2_s3B1d", 3), ("OH", 2), ("CH3", 2), ("NO2", 2)]
)
def test_radicals_and_triplets_by_name(name, multiplicity):
    (atoms,) = Molecules(names=(name,)).load()
    assert Electrons.of(atoms) == Electrons(0, multiplicity)


@pytest.mark.parametrize(
    "name",
    [
        "CO",
        "N2",
        "F2",
        "Cl2",
        "LiF",
        "NaCl",
        "HF",
        "CS",
        "P2",
        "LiH",
        "SiO",
        "H2",
        "CH2_s1A1d",
        "SiH2_s1A1d",
        "O3",
        "SO2",
    ],
)
def test_singlets_pass(name):
    (atoms,) = Molecules(names=(name,)).load()
    assert Electrons.of(atoms) == Electrons()


def test_a_part_of_a_complex_may_be_no_triplet_unless_it_says_so(tmp_path):
    both = molecule("H2O") + Atoms("O2", [[4, 0, 0], [4, 0, 1.21]])
    ase.io.write(tmp_path / "both.xyz", both)
    with pytest.raises(PalirsError, match="ground state of O2 is a triplet"):
        Molecules(files=(str(tmp_path / "both.xyz"),), complexes=True).load()


def test_a_complex_with_a_triplet_states_its_multiplicity(tmp_path):
    both = molecule("H2O") + Atoms("O2", [[4, 0, 0], [4, 0, 1.21]])
    ase.io.write(tmp_path / "both.xyz", both, format="xyz", comment="multiplicity=3")
    (atoms,) = Molecules(files=(str(tmp_path / "both.xyz"),), complexes=True).load()
    assert Electrons.of(atoms) == Electrons(0, 3)


def test_methylene_of_a_file_is_told_to_be_a_singlet(tmp_path, caplog):
    atoms = molecule("CH2_s1A1d")
    ase.io.write(tmp_path / "mine.xyz", atoms, format="xyz", comment="methylene")
    Molecules(files=(str(tmp_path / "mine.xyz"),)).load()
    assert "treated as a singlet" in caplog.text
    caplog.clear()
    ase.io.write(tmp_path / "mine.xyz", atoms, format="xyz", comment="0 1")
    Molecules(files=(str(tmp_path / "mine.xyz"),)).load()
    assert not caplog.text
    ase.io.write(tmp_path / "mine.xyz", atoms, format="xyz", comment="0 3")
    (triplet,) = Molecules(files=(str(tmp_path / "mine.xyz"),)).load()
    assert Electrons.of(triplet) == Electrons(0, 3)
    assert not caplog.text
