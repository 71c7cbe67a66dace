"""Molfiles and SD files: what they state, sketches, and hydrogen atoms that they leave out."""

import logging

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from palirs import keys
from palirs.geometry.electrons import Electrons
from palirs.geometry.embedding import canonical_of, molecule_of
from palirs.geometry.smiles import conformers
from palirs.molecules import Molecules, read_frames
from palirs.recipes import PalirsError


def block(smiles, dimensions=3, hydrogen=True, version=2000, title="", single=False):
    """A molfile by RDKit."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if dimensions == 3:
        AllChem.EmbedMolecule(molecule, randomSeed=1)
    molecule = molecule if hydrogen else Chem.RemoveHs(molecule)
    if dimensions == 2:
        AllChem.Compute2DCoords(molecule)
    molecule.SetProp("_Name", title)
    if single:
        Chem.Kekulize(molecule, clearAromaticFlags=True)
        for bond in molecule.GetBonds():
            bond.SetBondType(Chem.BondType.SINGLE)
    return Chem.MolToMolBlock(molecule) if version == 2000 else Chem.MolToV3KMolBlock(molecule)


def load(tmp_path, text, ending="mol", **settings):
    (tmp_path / f"mine.{ending}").write_text(text)
    return Molecules(files=(str(tmp_path / f"mine.{ending}"),), **settings).load()


def isomer(atoms):
    """SMILES with stereochemistry, of a geometry."""
    return Chem.MolToSmiles(Chem.RemoveHs(molecule_of(atoms)))


@pytest.mark.parametrize("version", [2000, 3000])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_isotopes_become_masses(tmp_path, version, dimensions):
    (atoms,) = load(tmp_path, block("[2H]O[13CH3]", dimensions, version=version))
    assert sorted(atoms.get_masses()) == pytest.approx(
        [1.008, 1.008, 1.008, 2.014, 13.003, 15.999], abs=1e-3
    )


@pytest.mark.parametrize("version", [2000, 3000])
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize(
    ("smiles", "charge", "multiplicity"),
    [
        ("CC(=O)[O-]", -1, 1),
        ("[NH3+]CC[NH3+]", 2, 1),
        ("C[CH2]", 0, 2),
        ("[CH2]C[CH2]", 0, 3),
    ],
)
def test_charges_and_radicals_are_read(tmp_path, smiles, charge, multiplicity, dimensions, version):
    (atoms,) = load(tmp_path, block(smiles, dimensions, version=version))
    expected = {keys.CHARGE: charge, keys.MULTIPLICITY: multiplicity}
    assert atoms.info == {keys.MOLECULE: "mine", **expected}
    assert len(atoms) == Chem.AddHs(Chem.MolFromSmiles(smiles)).GetNumAtoms()


@pytest.mark.parametrize("version", [2000, 3000])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_singlet_carbene_is_told_from_a_triplet(tmp_path, dimensions, version, caplog):
    text = block("[CH2]", dimensions, version=version)
    assert Electrons.of(load(tmp_path, text)[0]) == Electrons(0, 3)
    singlet = text.replace("M  RAD  1   1   3", "M  RAD  1   1   1").replace("RAD=3", "RAD=1")
    assert singlet != text
    (atoms,) = load(tmp_path, singlet)
    assert (len(atoms), Electrons.of(atoms)) == (3, Electrons())
    assert not caplog.text


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("smiles", ["[NH3+]CC(=O)[O-]", "C[N+](=O)[O-]", "[C-]#[O+]"])
def test_charges_that_add_up_to_none_are_fine(tmp_path, smiles, dimensions):
    (atoms,) = load(tmp_path, block(smiles, dimensions))
    assert atoms.info == {keys.MOLECULE: "mine"}


@pytest.mark.parametrize("hydrogen", [True, False])
@pytest.mark.parametrize(
    "smiles", ["CCO", "C/C=C\\C", "C[C@H](O)[C@@H](F)Cl", "c1ccncc1", "[2H]OC", "C"]
)
def test_a_sketch_is_embedded_like_the_smiles(tmp_path, smiles, hydrogen, caplog):
    with caplog.at_level(logging.INFO):
        found = load(tmp_path, block(smiles, 2, hydrogen), conformers=5)
    assert "sketch in two dimensions" in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    expected = conformers(f"{smiles} mine", 5)
    assert [atoms.info[keys.MOLECULE] for atoms in found] == [
        atoms.info[keys.MOLECULE] for atoms in expected
    ]
    assert {isomer(atoms) for atoms in found} == {isomer(atoms) for atoms in expected}


def test_positions_that_are_all_zero_are_a_sketch(tmp_path):
    (atoms,) = load(tmp_path, block("CCO", 0, hydrogen=False))
    assert len(atoms) == 9


def test_a_flat_molecule_without_a_flag_is_taken_as_it_is_and_a_flat_drawing_is_not(tmp_path):
    lines = (
        "w\n  palirs\n\n  3  2  0  0  0  0  0  0  0  0999 V2000\n"
        "{}  1  2  1  0\n  1  3  1  0\nM  END\n"
    )
    for length, same in ((0.96, True), (1.5, False)):
        positions = np.array([[0, 0, 0], [length, 0, 0], [-0.25 * length, 0.97 * length, 0]])
        rows = zip(positions, "OHH", strict=True)
        atoms = "".join(
            f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol:<3} 0  0\n" for (x, y, z), symbol in rows
        )
        (read,) = load(tmp_path, lines.format(atoms))
        assert np.allclose(read.positions, positions) is same


@pytest.mark.parametrize("smiles", ["CCO", "c1ccccc1", "C/C=C\\C", "NCC(=O)O"])
def test_hydrogen_that_a_geometry_leaves_out_is_added(tmp_path, smiles, caplog):
    text = block(smiles, 3, hydrogen=False)
    (atoms,) = load(tmp_path, text)
    assert "those that its bonds ask for are added" in caplog.text
    assert canonical_of(atoms) == Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False)
    heavy = Chem.MolFromMolBlock(text).GetConformer().GetPositions()
    np.testing.assert_allclose(atoms.positions[atoms.numbers > 1], heavy, atol=1e-4)


def test_a_part_of_the_hydrogen_is_refused(tmp_path):
    molecule = Chem.RWMol(Chem.MolFromMolBlock(block("OCCO"), removeHs=False))
    molecule.RemoveAtom(6)
    with pytest.raises(
        PalirsError, match=r"leave room for more \(1 at C2\); give all of them or none"
    ):
        load(
            tmp_path,
            Chem.MolToMolBlock(molecule).replace("  0  0  0  0  0  1  0", "  0  0  0  0  0  0  0"),
        )


@pytest.mark.parametrize("smiles", ["c1ccccc1", "CC=O", "C[N+](=O)[O-]", "CC#N"])
def test_a_whole_geometry_without_orders_of_its_bonds_gets_no_more_hydrogen(tmp_path, smiles):
    text = block(smiles, single=True)
    (atoms,) = load(
        tmp_path, "\n".join(line for line in text.split("\n") if not line.startswith("M  CHG"))
    )
    assert len(atoms) == Chem.AddHs(Chem.MolFromSmiles(smiles)).GetNumAtoms()


def test_several_molecules_are_called_by_titles_that_can_be_names(tmp_path):
    titles = ["ethanol", "twice", "twice", "", "a/b", "my water"]
    text = "".join(
        block(smiles, title=title) + "$$$$\n"
        for smiles, title in zip(["CCO", "C", "CC", "CO", "N", "O"], titles, strict=True)
    )
    names = [atoms.info[keys.MOLECULE] for atoms in load(tmp_path, text, "sdf")]
    assert names == ["ethanol", "mine-1", "mine-2", "mine-3", "mine-4", "my_water"]


def test_one_molecule_is_called_by_its_file(tmp_path):
    assert (
        load(tmp_path, block("CCO", title="702") + "$$$$\n", "sdf")[0].info[keys.MOLECULE] == "mine"
    )


@pytest.mark.parametrize(
    ("tag", "value", "charge", "multiplicity"),
    [("Total Charge", "-2", -2, 1), ("multiplicity", "3", 0, 3), ("spin", "3", 0, 3)],
)
def test_data_of_a_record_count(tmp_path, tag, value, charge, multiplicity):
    (atoms,) = load(tmp_path, f"{block('CCO')}> <{tag}>\n{value}\n\n$$$$\n", "sdf")
    assert Electrons.of(atoms) == Electrons(charge, multiplicity)


@pytest.mark.parametrize(
    ("smiles", "tag", "value", "says"),
    [
        ("CCO", "charge", "1", r"open shell \(25 electrons\); write its multiplicity"),
        ("CC(=O)[O-]", "Total Charge", "1", "statements of the charge differ"),
        ("[CH2]C[CH2]", "spin", "1", "statements of the number of unpaired electrons differ"),
    ],
)
def test_data_of_a_record_that_cannot_be_are_refused(tmp_path, smiles, tag, value, says):
    with pytest.raises(PalirsError, match=says):
        load(tmp_path, f"{block(smiles)}> <{tag}>\n{value}\n\n$$$$\n", "sdf")


@pytest.mark.parametrize(
    ("smiles", "tag", "value"),
    [("CC(=O)[O-]", "charge", "1"), ("[OH-]", "charge", "0"), ("[CH2]C[CH2]", "multiplicity", "1")],
)
def test_data_that_contradict_the_drawing_are_refused(tmp_path, smiles, tag, value):
    with pytest.raises(PalirsError, match="differ"):
        load(tmp_path, f"{block(smiles)}> <{tag}>\n{value}\n\n$$$$\n", "sdf")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text[:200], "cannot read"),
        (lambda text: text.replace("M  END\n", ""), "cannot read"),
        (lambda text: "<html>404</html>\n", "cannot read"),
        (lambda text: "", "is empty"),
        (lambda text: "\n\n\n\n", "no structure"),
        (lambda text: f"{text}$$$$\n{text[:200]}", r"molecule 2 of .*mine\.sdf"),
        (lambda text: text.replace(" O  ", " Xx "), "cannot read"),
        (lambda text: text.replace(" O  ", " R# "), "an atom without an element"),
    ],
)
def test_broken_files_are_told_in_a_sentence(tmp_path, damage, says, capfd):
    with pytest.raises(PalirsError, match=says) as raised:
        load(tmp_path, damage(block("CCO")), "sdf")
    assert "mine.sdf" in str(raised.value)
    assert len(str(raised.value)) < 300 + len(str(tmp_path))
    assert capfd.readouterr().err == ""


def test_frames_of_an_sd_file_are_its_molecules(tmp_path):
    (tmp_path / "two.sdf").write_text(block("CCO") + "$$$$\n" + block("[NH4+]") + "$$$$\n")
    ethanol, ammonium = read_frames(tmp_path / "two.sdf")
    assert (len(ethanol), ammonium.info["formal_charge"]) == (9, 1)
