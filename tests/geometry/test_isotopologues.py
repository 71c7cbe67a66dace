"""Which atoms an isotopologue means, by SMILES and by atom."""

import numpy as np
import pytest
from ase.data import atomic_masses

from palirs.geometry.isotopes import equivalent, label
from palirs.geometry.isotopologues import Isotopes
from palirs.molecules import Molecules
from palirs.recipes import PalirsError


def labels(name: str, text: str) -> list[str]:
    (atoms,) = Molecules(names=(name,)).load()
    return [label(atoms, masses) for masses in Isotopes(text).masses(atoms)]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("methanol", "[2H]OC", ["D3"]),
        ("methanol", "C[18O][2H]", ["18O1-D3"]),
        ("methanol", "[2H]C([2H])([2H])O[2H]", ["d4"]),
        ("methanol", "[2H]CO", ["D2", "D4"]),  # in the plane of symmetry, or not
        ("H2O", "[2H]O", ["D1"]),
        ("nitromethane", "[13CH3]N(=O)=O", ["13C0"]),  # bonds in another way
        ("ethene", "[2H]/C=C/[2H]", ["D2-D5"]),
        ("ethene", r"[2H]/C=C\[2H]", ["D2-D4"]),
        ("ethene", "[2H]C=C[2H]", ["D2-D4", "D2-D5"]),
        ("methanol", "[2H]CC", []),
        ("methanol", "[2H]C=O", []),
        ("methanol", "methanol:3=2,0=13", ["13C0-D3"]),
        ("methanol", "methanol:3=2.5", ["2.5H3"]),
        ("methanol", "ethanol:3=2", []),
    ],
)
def test_the_atoms_that_are_meant_get_isotopes(name, text, expected):
    assert labels(name, text) == expected


def test_both_mirror_images_of_an_isotopologue_are_meant():
    assert sorted(labels("methanol", "[2H][C@H]([3H])O")) == sorted(
        labels("methanol", "[2H][C@@H]([3H])O")
    )


def test_masses_are_those_of_the_isotopes_and_the_others_stay():
    (atoms,) = Molecules(names=("methanol",)).load()
    (masses,) = Isotopes("[2H]O[13CH3] heavy").masses(atoms)
    changed = np.flatnonzero(masses != atoms.get_masses())
    assert changed.tolist() == [0, 3]
    np.testing.assert_allclose(masses[changed], [13.00335, 2.0141], atol=1e-4)
    (own,) = Isotopes("methanol:3=2.5").masses(atoms)
    assert own[3] == 2.5
    assert Isotopes("[2H]O[13CH3] heavy").name == "heavy"


def test_atoms_of_a_smiles_without_an_isotope_are_natural():
    (heavy,) = Molecules(smiles=("[2H]O[2H]",)).load()
    (masses,) = Isotopes("[2H]O").masses(heavy)
    assert sorted(masses.round(3).tolist())[0] == round(float(atomic_masses[1]), 3)
    assert label(heavy, *Isotopes("O").masses(heavy)) == "natural"


def test_positions_that_a_reflection_exchanges_are_one():
    (atoms,) = Molecules(names=("methanol",)).load()
    masses = np.tile(atoms.get_masses(), (3, 1))
    for row, atom in enumerate((2, 4, 5)):
        masses[row, atom] = 2.0141
    assert equivalent(atoms, masses[1], masses[2])
    assert not equivalent(atoms, masses[0], masses[1])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[2H", "cannot read the SMILES"),
        (" ", "empty"),
        ("methanol:9=2", "no atom 9, but C0 O1 H2"),
        ("methanol:3=99", "no isotope 99 of H"),
    ],
)
def test_what_cannot_be_meant_is_told(text, says):
    (atoms,) = Molecules(names=("methanol",)).load()
    with pytest.raises(PalirsError, match=says):
        Isotopes(text).masses(atoms)
