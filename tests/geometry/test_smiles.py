"""Molecules by SMILES."""

import logging

import numpy as np
import pytest
from ase.neighborlist import natural_cutoffs, neighbor_list

from palirs import keys
from palirs.geometry.distinct import distances
from palirs.geometry.electrons import Electrons
from palirs.geometry.smiles import canonical, conformers
from palirs.molecules import Molecules, named, table
from palirs.recipes import PalirsError


def bonds(atoms):
    """Elements of the bonded pairs, sorted."""
    first, second = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=1.2))
    pairs = zip(atoms.symbols[first], atoms.symbols[second], first, second, strict=True)
    return sorted("".join(sorted((a, b))) for a, b, i, j in pairs if i < j)


@pytest.mark.parametrize("name", list(table()))
def test_the_geometry_of_a_smiles_is_that_molecule(name):
    """The bonds of what RDKit makes of its SMILES are those of the shipped geometry.

    Within 0.2 Å (of C–C in cyanogen by MMFF94).
    """
    shipped = table()[name]
    made = conformers(f"{shipped.info['smiles']} x")[0]
    assert bonds(made) == bonds(shipped)
    assert np.sort(distances(made))[: len(bonds(made))] == pytest.approx(
        np.sort(distances(shipped))[: len(bonds(made))], abs=0.2
    )


def test_a_shipped_molecule_is_known_by_any_of_its_smiles():
    (ethanol,) = Molecules(names=("OCC",)).load()
    assert ethanol.info[keys.MOLECULE] == "ethanol"
    assert np.array_equal(ethanol.positions, named("ethanol")[0].positions)


def test_names_come_first_and_smiles_where_they_are_meant():
    assert len(Molecules(names=("CO",)).load()[0]) == 2, "carbon monoxide of the G2 set"
    assert Molecules(smiles=("CO",)).load()[0].info[keys.MOLECULE] == "methanol"
    assert Molecules(smiles=("CC(C)=O acetone",)).load()[0].info[keys.MOLECULE] == "acetone"
    names = [
        one.info[keys.MOLECULE]
        for one in Molecules(names=("C1CC1=O", r"F/C=C/F", r"F/C=C\F", "[2H]OC")).load()
    ]
    assert names[0] == "C3H4O-VBBRYJ", "cyclopropanone has the InChIKey VBBRYJMZLIYUJQ"
    assert len(set(names)) == 4, "cis and trans are two molecules"
    assert names[3].startswith("CH3DO-")


def test_a_smiles_is_the_same_geometry_every_time_and_isotopes_have_their_masses():
    one, other = (conformers("[2H]C([2H])([2H])OCC")[0] for _ in range(2))
    assert np.array_equal(one.positions, other.positions)
    assert sorted(one.get_masses())[:8] == pytest.approx([1.008] * 5 + [2.014] * 3, abs=1e-3)


def test_conformers_differ_and_are_of_one_isomer(caplog):
    butanes = Molecules(smiles=("CCCC butane",), conformers=5).load()
    assert [one.info[keys.MOLECULE] for one in butanes] == ["butane", "butane-2"], (
        "anti and gauche; mirror images are one"
    )
    angles = [abs(one.get_dihedral(0, 1, 2, 3) - 180) for one in butanes]
    assert angles[0] < 2, "the lowest is anti"
    assert 105 < angles[1] < 125
    with caplog.at_level(logging.WARNING):
        conformers("CC(F)Cl")
        assert not caplog.records, "two mirror images have one spectrum"
        found = conformers("OC(C)C(F)Cl", 20)
    assert "stereochemistry open" in caplog.text
    from rdkit import Chem
    from rdkit.Chem import rdDetermineBonds

    def isomer(atoms):
        block = f"{len(atoms)}\n\n" + "\n".join(
            f"{s} {x} {y} {z}" for s, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)
        )
        molecule = Chem.MolFromXYZBlock(block)
        rdDetermineBonds.DetermineBonds(molecule)
        Chem.AssignStereochemistryFrom3D(molecule)
        return Chem.MolToSmiles(Chem.RemoveHs(molecule))

    assert len(found) > 4
    assert len({isomer(atoms) for atoms in found}) == 1


@pytest.mark.parametrize(
    ("smiles", "charge", "multiplicity"),
    [
        ("C[N+](C)(C)C", 1, 1),
        ("[OH-]", -1, 1),
        ("[NH3+]CC(=O)[O-]", 0, 1),
        ("[CH3]", 0, 2),
        ("[O][O-]", -1, 2),
        ("[O][O]", 0, 3),
    ],
)
def test_charges_and_radicals_are_those_of_the_smiles(smiles, charge, multiplicity):
    (atoms,) = Molecules(smiles=(f"{smiles} mine",)).load()
    assert Electrons.of(atoms) == Electrons(charge, multiplicity)
    assert atoms.info == {keys.MOLECULE: "mine", **Electrons(charge, multiplicity).info}


@pytest.mark.parametrize(
    ("smiles", "says"),
    [
        ("[F-]", "at least two are needed"),
        ("C1CC", "cannot read the SMILES"),
        ("", "cannot read the SMILES"),
        (" x", "cannot read the SMILES"),
        ("CCO.O", "2 molecules"),
        ("C a/b", "it becomes part of file names"),
        ("*C", "an atom without an element"),
        ("C" * 2000, "2000 atoms"),
    ],
)
def test_what_is_not_treated_is_said(smiles, says):
    with pytest.raises(PalirsError, match=says.replace("+", r"\+")):
        Molecules(smiles=(smiles,)).load()


@pytest.mark.parametrize(
    "name",
    ["metanol", "propanone", "benzen", "water", "", "C C", "ethnaol", "none", "Phenol", "IR"],
)
def test_a_misspelt_name_is_no_smiles(name):
    if name == "C C":
        assert canonical(name) == "C"
        return
    with pytest.raises(PalirsError, match="unknown molecule"):
        named(name)
