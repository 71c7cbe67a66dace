"""Modes in words, against the assignments of the literature, and normal coordinates along a motion."""

import numpy as np
import pytest
from ase.build import molecule
from scipy.spatial.transform import Rotation

from palirs import keys
from palirs.engines import TBLite
from palirs.molecules import named
from palirs.units import EV_PER_AMU_A2_FS2
from palirs.vibrations import minimum
from palirs.vibrations.naming import characters
from palirs.vibrations.projection import Projection


def known(name):
    atoms = named(name)[0]
    atoms.info[keys.MOLECULE] = name
    return minimum(atoms, TBLite())


@pytest.fixture(scope="module")
def methanol():
    return known("methanol")


LITERATURE = {
    # Shimanouchi, Tables of Molecular Vibrational Frequencies, NSRDS-NBS 39 (1972), where GFN2 has the modes in the same order
    "formaldehyde": {
        "CH₂ wag": 1, "CH₂ rock": 1, "CH₂ scissor": 1, "C=O stretch": 1, "CH₂ antisymmetric stretch": 1, "CH₂ symmetric stretch": 1,
    },
    "acetonitrile": {
        "C–C≡N bend": 2, "C–C stretch": 1, "CH₃ rock": 2, "CH₃ symmetric deformation": 1, "CH₃ antisymmetric deformation": 2,
        "C≡N stretch": 1, "CH₃ antisymmetric stretch": 2, "CH₃ symmetric stretch": 1,
    },
    "ethene": {
        "CH₂ rock": 2, "CH₂ wag": 2, "CH₂ torsion": 1, "CH₂ scissor": 2, "C=C stretch": 1, "CH₂ symmetric stretch": 2,
        "CH₂ antisymmetric stretch": 2,
    },
    "CO2": {"O=C=O bend": 2, "C=O symmetric stretch": 1, "C=O antisymmetric stretch": 1},
    "H2O": {"H–O–H bend": 1, "O–H symmetric stretch": 1, "O–H antisymmetric stretch": 1},
    "ethyne": {"C–H bend": 4, "C≡C stretch": 1, "C–H stretch": 2},
}  # fmt: skip


@pytest.mark.parametrize("name", LITERATURE)
def test_modes_are_called_what_the_literature_calls_them(name):
    names = [str(character) for character in characters(known(name))]
    assert {each: names.count(each) for each in names} == LITERATURE[name]


def test_methanol(methanol):
    """295 torsion, 1345 OH bend, 1455 to 1477 deformations, 3681 OH stretch; at 1033 to 1060 GFN2 mixes CO stretch, CH3 rock, OH bend."""
    found = characters(methanol)
    words = [str(one) for one in found]
    assert (words[0], words[4], words[-1]) == ("O–H torsion", "C–O–H bend", "O–H stretch")
    assert words[5:8] == ["CH₃ symmetric deformation", "CH₃ antisymmetric deformation", "CH₃ antisymmetric deformation"]
    assert "C–O stretch" in words
    for one in found:
        assert sum(one.shares.values()) == pytest.approx(1)
        assert list(one.shares.values()) == sorted(one.shares.values(), reverse=True)


def test_names_depend_on_neither_place_nor_numbering():
    atoms = molecule("CH3CONH2")
    turned = atoms[list(np.random.default_rng(0).permutation(len(atoms)))]
    turned.rotate(77, (1, 2, 3))
    found = []
    for one in (atoms, turned):
        one.info[keys.MOLECULE] = "acetamide"
        found.append([str(character) for character in characters(minimum(one, TBLite()))])
    assert found[0] == found[1]


def motion(methanol, frames=20, seed=0):
    """Positions and velocities of known rates of the modes, near the optimum."""
    rng = np.random.default_rng(seed)
    rates = rng.normal(size=(frames, len(methanol.modes))) * 0.1
    positions = methanol.atoms.positions + np.einsum("fk,kad->fad", 0.02 * rng.normal(size=rates.shape), methanol.modes)
    return positions, np.einsum("fk,kad->fad", rates, methanol.modes) / np.sqrt(EV_PER_AMU_A2_FS2), rates


def test_rates_do_not_depend_on_how_the_molecule_lies(methanol):
    positions, velocities, rates = motion(methanol)
    turns = Rotation.random(len(positions), random_state=1).as_matrix()
    turned = np.einsum("fad,fcd->fac", positions, turns) + np.array([3.0, -1.0, 7.0])
    np.testing.assert_allclose(Projection(methanol).rates(turned, np.einsum("fad,fcd->fac", velocities, turns)), rates, atol=1e-12)


def test_a_methyl_group_that_has_turned_by_a_third_is_the_same(methanol):
    positions, velocities, rates = motion(methanol)
    projection = Projection(methanol)
    assert len(projection.orders) == 3
    for order in projection.orders:
        np.testing.assert_allclose(projection.rates(positions[:, order], velocities[:, order]), rates, atol=1e-12)
    hydrogens = [i for i, order in enumerate(np.array(projection.orders).T) if len(set(order)) > 1]
    assert sorted(methanol.atoms.symbols[hydrogens]) == ["H", "H", "H"]
    other = list(range(6))
    other[hydrogens[0]], other[hydrogens[1]] = hydrogens[1], hydrogens[0]  # two of them exchanged is another handedness
    assert np.abs(projection.rates(positions[:, other], velocities[:, other]) - rates).max() > 0.05
