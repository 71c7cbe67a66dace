"""Files of other programs: what they state beside the geometry."""

import gzip
import logging

import ase.io
import pytest
from ase.build import molecule

from palirs import keys
from palirs.geometry.electrons import Electrons
from palirs.molecules import Molecules
from palirs.molecules.headers import stated_by_program
from palirs.recipes import PalirsError

GAUSSIAN = (
    "%chk=a.chk\n# B3LYP/6-31G(d) opt\n\na title\n\n"
    "{}\nO 0.0 0.0 0.119\nH{} 0.0 0.763 -0.477\nH 0.0 -0.763 -0.477\n\n"
)
PDB = "".join(
    f"HETATM    {number}  {label:<4}HOH A   1       0.000{y:8.3f}{z:8.3f}"
    f"  1.00  0.00           {label[0]}{{}}\n"
    for number, label, y, z in (
        (1, "O", 0.0, 0.119),
        (2, "H1", 0.763, -0.477),
        (3, "H2", -0.763, -0.477),
    )
)
NWCHEM = (
    "charge {}\ngeometry units angstrom\n O 0 0 0.119\n H 0 0.763 -0.477\n H 0 -0.763 -0.477\n"
    "end\n\ndft\n mult {}\nend\n"
)
CJSON = (
    '{{"atoms": {{"elements": {{"number": [8, 1, 1]}}, '
    '"coords": {{"3d": [0, 0, 0.119, 0, 0.763, -0.477, 0, -0.763, -0.477]}}}},'
    ' "properties": {{"totalCharge": {}, "totalSpinMultiplicity": {}}}}}'
)


def load(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    (atoms,) = Molecules(files=(str(tmp_path / name),)).load()
    return atoms


@pytest.mark.parametrize(
    ("name", "text", "charge", "multiplicity"),
    [
        ("a.gjf", GAUSSIAN.format("2 1", ""), 2, 1),
        ("a.gjf", GAUSSIAN.format("1 2", ""), 1, 2),
        ("a.com", GAUSSIAN.format("-2,1", ""), -2, 1),
        ("a.com", GAUSSIAN.format("0 3", ""), 0, 3),
        ("a.nwi", NWCHEM.format(2, 1), 2, 1),
        ("a.nwi", NWCHEM.format(0, 3), 0, 3),
        ("a.cjson", CJSON.format(2, 1), 2, 1),
        ("a.cjson", CJSON.format(0, 3), 0, 3),
        ("a.pdb", PDB.format("2+", "", ""), 2, 1),
        (
            "geometry.in",
            "atom 0 0 0.119 O\n initial_charge 2\natom 0 0.763 -0.477 H\natom 0 -0.763 -0.477 H\n",
            2,
            1,
        ),
    ],
)
def test_charge_and_spin_of_an_input_are_read(tmp_path, name, text, charge, multiplicity):
    assert Electrons.of(load(tmp_path, name, text)) == Electrons(charge, multiplicity)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.pdb", PDB.format("1+", "", ""), r"open shell \(9 electrons\); write its multiplicity"),
        ("a.gjf", GAUSSIAN.format("1 1", ""), r"9 electrons cannot be charge \+1, singlet"),
        ("a.nwi", NWCHEM.format(0, 2), "10 electrons cannot be neutral, doublet"),
    ],
)
def test_inputs_whose_spin_is_open_or_impossible_are_refused(tmp_path, name, text, says):
    with pytest.raises(PalirsError, match=says):
        load(tmp_path, name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.gjf", GAUSSIAN.format("0 1", "")),
        ("a.com", GAUSSIAN.format("0,1", "")),
        ("a.com", GAUSSIAN.format("0 1", "") + "--Link1--\n" + GAUSSIAN.format("0 3", "")),
        ("a.nwi", NWCHEM.format(0, 1)),
        ("a.cjson", CJSON.format(0, 1)),
        ("a.pdb", PDB.format("", "", "")),
        ("a.pdb", PDB.format("1-", "1+", "")),
    ],
)
def test_inputs_of_neutral_molecules_pass(tmp_path, name, text):
    atoms = load(tmp_path, name, text)
    assert (str(atoms.symbols), atoms.info, atoms.calc) == ("OH2", {keys.MOLECULE: "a"}, None)


@pytest.mark.parametrize(
    ("kind", "text", "stated"),
    [
        ("gaussian-out", " Charge =  1 Multiplicity = 2\n", {"charge": 1, "multiplicity": 2}),
        ("gaussian-out", " Charge = -1 Multiplicity = 1\n", {"charge": -1, "multiplicity": 1}),
        (
            "orca-output",
            (
                " Total Charge           Charge          ....   -1\n"
                " Multiplicity           Mult            ....    3\n"
            ),
            {"charge": -1, "multiplicity": 3},
        ),
        (
            "nwchem-out",
            "          Charge           :     1\n          Spin multiplicity:     2\n",
            {"charge": 1, "multiplicity": 2},
        ),
        (
            "gamess-us-out",
            (
                " CHARGE OF MOLECULE                     =   -1\n"
                " SPIN MULTIPLICITY                      =    1\n"
            ),
            {"charge": -1, "multiplicity": 1},
        ),
        ("vasp-out", " Charge =  1 Multiplicity = 2\n", {}),
    ],
)
def test_headers_of_outputs(kind, text, stated):
    assert stated_by_program(text, kind) == stated


def test_isotopes_of_a_gaussian_input_become_masses(tmp_path):
    assert load(tmp_path, "a.gjf", GAUSSIAN.format("0 1", "(Iso=2)")).get_masses()[
        1
    ] == pytest.approx(2.014, abs=1e-3)
    assert load(tmp_path, "a.gjf", GAUSSIAN.format("0 1", "(Iso=2.5)")).get_masses()[1] == 2.5
    assert not load(tmp_path, "a.gjf", GAUSSIAN.format("0 1", "")).has("masses")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.mol2", "@<TRIPOS>MOLECULE\n", "no format"),
        ("a.xyz", "", "is empty"),
        ("a.xyz", "3\nx\nO 0 0 0.119\nD 0 0.763 -0.477\nH 0 -0.763 -0.477\n", "column"),
        (
            "a.xyz",
            "3\nx\nO 0 0 0.119\nQq 0 0.763 -0.477\nH 0 -0.763 -0.477\n",
            "'Qq' is no element",
        ),
        ("a.xyz", "5\nx\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n", "expected 5"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(tmp_path, name, text, says):
    with pytest.raises(PalirsError, match=says) as raised:
        load(tmp_path, name, text)
    assert name in str(raised.value)


def test_blanks_in_the_name_of_a_file_are_no_hindrance(tmp_path):
    ase.io.write(tmp_path / "water (1).xyz", molecule("H2O"))
    assert (
        Molecules(files=(str(tmp_path / "water (1).xyz"),)).load()[0].info[keys.MOLECULE]
        == "water_(1)"
    )


def test_compressed_files(tmp_path):
    with gzip.open(tmp_path / "a.xyz.gz", "wt") as stream:
        ase.io.write(stream, molecule("H2O"), format="xyz", comment="2 1")
    (atoms,) = Molecules(files=(str(tmp_path / "a.xyz.gz"),)).load()
    assert Electrons.of(atoms) == Electrons(2, 1)


def test_carbon_without_hydrogen_is_asked_about(tmp_path, caplog):
    for name in ("CO2", "CCl4", "C2F4", "NCCN", "OCS"):
        ase.io.write(tmp_path / "whole.xyz", molecule(name))
        Molecules(files=(str(tmp_path / "whole.xyz"),)).load()
    assert not caplog.text
    ethanol = molecule("CH3CH2OH")
    ase.io.write(tmp_path / "bare.pdb", ethanol[ethanol.numbers > 1])
    Molecules(files=(str(tmp_path / "bare.pdb"),)).load()
    assert "has no hydrogen atoms, and bonds to spare" in caplog.text


def test_isotopes_of_a_file_are_told(tmp_path, caplog):
    atoms = molecule("H2O")
    atoms.set_masses([15.9994, 1.00794, 1.00794])
    ase.io.write(
        tmp_path / "light.xyz", atoms, format="extxyz", columns=["symbols", "positions", "masses"]
    )
    atoms.set_masses([15.999, 2.014, 1.008])
    ase.io.write(
        tmp_path / "heavy.xyz", atoms, format="extxyz", columns=["symbols", "positions", "masses"]
    )
    with caplog.at_level(logging.INFO):
        Molecules(files=(str(tmp_path / "light.xyz"),)).load()
        assert not caplog.text
        Molecules(files=(str(tmp_path / "heavy.xyz"),)).load()
    assert "isotopes: H1 2.014 amu" in caplog.text
