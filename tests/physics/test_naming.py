"""Modes in words, against the assignments of the literature.

And normal coordinates along a motion.
"""

import numpy as np
import pytest
from ase.build import molecule
from scipy.spatial.transform import Rotation

from palirs import keys
from palirs.engines import TBLite
from palirs.molecules import named
from palirs.spectra.density import mode_densities
from palirs.units import EV_PER_AMU_A2_FS2, SPEED_OF_LIGHT
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
    # Shimanouchi, Tables of Molecular Vibrational Frequencies, NSRDS-NBS 39 (1972), where GFN2 has
    # the modes in the same order
    "formaldehyde": {
        "CH₂ wag": 1, "CH₂ rock": 1, "CH₂ scissor": 1, "C=O stretch": 1,
        "CH₂ antisymmetric stretch": 1, "CH₂ symmetric stretch": 1,
    },
    "acetonitrile": {
        "C–C≡N bend": 2, "C–C stretch": 1, "CH₃ rock": 2, "CH₃ symmetric deformation": 1,
        "CH₃ antisymmetric deformation": 2, "C≡N stretch": 1, "CH₃ antisymmetric stretch": 2,
        "CH₃ symmetric stretch": 1,
    },
    "ethene": {
        "CH₂ rock": 2, "CH₂ wag": 2, "CH₂ torsion": 1, "CH₂ scissor": 2, "C=C stretch": 1,
        "CH₂ symmetric stretch": 2, "CH₂ antisymmetric stretch": 2,
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
    """295 torsion, 1345 OH bend, 1455 to 1477 deformations, 3681 OH stretch.

    At 1033 to 1060 GFN2 mixes CO stretch, CH3 rock, OH bend.
    """
    found = characters(methanol)
    words = [str(one) for one in found]
    assert (words[0], words[4], words[-1]) == ("O–H torsion", "C–O–H bend", "O–H stretch")
    assert words[5:8] == [
        "CH₃ symmetric deformation",
        "CH₃ antisymmetric deformation",
        "CH₃ antisymmetric deformation",
    ]
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
    positions = methanol.atoms.positions + np.einsum(
        "fk,kad->fad", 0.02 * rng.normal(size=rates.shape), methanol.modes
    )
    return (
        positions,
        np.einsum("fk,kad->fad", rates, methanol.modes) / np.sqrt(EV_PER_AMU_A2_FS2),
        rates,
    )


def test_rates_do_not_depend_on_how_the_molecule_lies(methanol):
    positions, velocities, rates = motion(methanol)
    turns = Rotation.random(len(positions), random_state=1).as_matrix()
    turned = np.einsum("fad,fcd->fac", positions, turns) + np.array([3.0, -1.0, 7.0])
    np.testing.assert_allclose(
        Projection(methanol).rates(turned, np.einsum("fad,fcd->fac", velocities, turns)),
        rates,
        atol=1e-12,
    )


def test_a_methyl_group_that_has_turned_by_a_third_is_the_same(methanol):
    positions, velocities, rates = motion(methanol)
    projection = Projection(methanol)
    assert len(projection.orders) == 3
    for order in projection.orders:
        np.testing.assert_allclose(
            projection.rates(positions[:, order], velocities[:, order]), rates, atol=1e-12
        )
    hydrogens = [i for i, order in enumerate(np.array(projection.orders).T) if len(set(order)) > 1]
    assert sorted(methanol.atoms.symbols[hydrogens]) == ["H", "H", "H"]
    other = list(range(6))
    first, second, _ = hydrogens
    other[first], other[second] = second, first  # two exchanged: the other handedness
    assert np.abs(projection.rates(positions[:, other], velocities[:, other]) - rates).max() > 0.05


def test_hydrogen_and_deuterium_of_a_methyl_group_are_not_exchanged(methanol):
    """Each mode of CH₂DOH keeps its own atoms; only the two hydrogen atoms are alike."""
    atoms = methanol.atoms.copy()
    masses = atoms.get_masses()
    turned = [i for i, o in enumerate(np.array(Projection(methanol).orders).T) if len(set(o)) > 1]
    masses[turned[0]] = 2.014
    atoms.set_masses(masses)
    assert len(Projection(minimum(atoms, TBLite())).orders) == 1


@pytest.mark.parametrize(
    ("name", "orders"),
    [("acetonitrile", 1), ("methanol", 3), ("ethane", 3), ("NH3", 1), ("acetone", 9)],
)
def test_turns_of_methyl_groups_that_turn_the_whole_molecule_are_left_out(name, orders):
    assert len(Projection(known(name)).orders) == orders


@pytest.mark.parametrize("name", ["acetonitrile", "CO2", "ethyne"])
def test_degenerate_modes_keep_their_frequency_while_the_molecule_turns(name):
    """A molecule that vibrates in all modes and turns end over end, slowly.

    Each mode moves at its own frequency, and there only.
    """
    one = known(name)
    time = np.arange(4000) * 2.0
    rate = 2 * np.pi * SPEED_OF_LIGHT * np.abs(one.frequencies)
    phase = np.random.default_rng(0).uniform(0, 2 * np.pi, len(rate))
    q = 0.02 * np.cos(rate * time[:, None] + phase)
    positions = (
        one.atoms.positions
        - one.atoms.get_center_of_mass()
        + np.einsum("fk,kad->fad", q, one.modes)
    )
    turns = Rotation.from_rotvec(time[:, None] * np.array([[1e-3, 2e-3, -0.5e-3]])).as_matrix()
    positions = np.einsum("fab,fnb->fna", turns, positions)
    velocities = np.gradient(positions, 2.0, axis=0)
    wavenumber, densities = mode_densities(
        Projection(one).rates(positions, velocities)[None, 2:-2], 2.0
    )
    for frequency, density in zip(one.frequencies, densities, strict=True):
        near = np.abs(wavenumber - frequency) < 60
        assert np.trapezoid(density[near], wavenumber[near]) > 0.8, (name, frequency)
