"""Isotopologues from the force field of a molecule, against forces calculated with their masses."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from ase import Atoms

from palirs.engines import Properties
from palirs.recipes import PalirsError
from palirs.units import CM1_PER_EV, ROTATIONAL
from palirs.vibrations import harmonic
from palirs.vibrations.anharmonic import files
from palirs.vibrations.anharmonic.calculation import Anharmonic, anharmonic
from palirs.vibrations.anharmonic.isotopologues import Substitution, isotopologue, like_parent

SMALL = 0.05
"""Step of the finite differences: without noise in the forces it may be small."""


class Model:
    """Morse potentials between all atoms, at rest in a geometry, and k (1 + cos) at one atom."""

    def __init__(self, atoms: Atoms, stiffness: float = 1.0, centre: int | None = None):
        self.atoms, self.centre = atoms, centre
        self.lengths = atoms.get_all_distances()
        self.depths = stiffness * np.where(self.lengths < 1.3, 4.5, 0.8)

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Return energy [eV] and forces [eV/Å]."""
        results = []
        for atoms in frames:
            arms = atoms.positions[None] - atoms.positions[:, None]
            lengths = np.linalg.norm(arms, axis=2) + np.eye(len(atoms))
            decay = np.exp(-2.1 * (lengths - np.eye(len(atoms)) - self.lengths))
            decay[np.diag_indices(len(atoms))] = 1.0
            slopes = 4.2 * self.depths * (1 - decay) * decay / lengths
            forces = (slopes[:, :, None] * arms).sum(axis=1)
            energy = float((self.depths * (1 - decay) ** 2).sum() / 2)
            if self.centre is not None:
                energy, forces = self._bend(atoms.positions, energy, forces)
            results.append(Properties(energy, forces))
        return results

    def _bend(self, positions, energy, forces):
        ends = [end for end in range(3) if end != self.centre]
        arms = positions[ends] - positions[self.centre]
        lengths = np.linalg.norm(arms, axis=1)[:, None]
        units = arms / lengths
        cosine = units[0] @ units[1]
        slopes = 2.5 * (units[::-1] - cosine * units) / lengths
        forces = forces.copy()
        forces[ends] -= slopes
        forces[self.centre] += slopes.sum(axis=0)
        return energy + 2.5 * (1 + cosine), forces


WATER = Atoms("OH2", positions=[[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]])
AMMONIA = Atoms(
    "NH3", positions=[[0, 0, 0.3], [0.95, 0, 0], [-0.48, 0.82, -0.02], [-0.47, -0.83, 0.03]]
)
LINEAR = Atoms("HCN", positions=[[0, 0, -1.07], [0, 0, 0], [0, 0, 1.15]])
CENTRES = {"HCN": 1}


def model(atoms: Atoms, stiffness: float = 1.0) -> Model:
    return Model(atoms, stiffness, CENTRES.get(str(atoms.symbols)))


def heavier(atoms: Atoms, **masses: float) -> Atoms:
    """Return a molecule with other masses [amu] by atom, ``a1=2.014``."""
    own = atoms.copy()
    changed = own.get_masses()
    for atom, mass in masses.items():
        changed[int(atom[1:])] = mass
    own.set_masses(changed)
    return own


def calculated(atoms: Atoms, members: Sequence[float] = (), **settings) -> Anharmonic:
    """Return the levels of a molecule from forces with its masses."""
    sources = [model(atoms, stiffness) for stiffness in members]
    settings = {"step": SMALL, **settings}
    return anharmonic(harmonic(atoms, model(atoms), 5e-4), model(atoms), sources, **settings)


@cache
def parent(name: str) -> Anharmonic:
    molecules = {"water": WATER, "ammonia": AMMONIA, "HCN": LINEAR}
    return calculated(molecules[name])


@pytest.mark.parametrize("name", ["water", "ammonia", "HCN"])
def test_the_same_masses_have_the_same_levels(name):
    before = parent(name)
    after = isotopologue(before, before.force_field.atoms.get_masses())
    np.testing.assert_allclose(after.levels.energies, before.levels.energies, atol=1e-6)
    assert after.levels.zero_point == pytest.approx(before.levels.zero_point, abs=1e-6)
    constants = (each.levels.rotational_constants for each in (after, before))
    np.testing.assert_allclose(*constants, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "masses"),
    [
        ("water", {"a1": 2.0141}),
        ("water", {"a1": 2.0141, "a2": 2.0141}),
        ("water", {"a0": 40.0, "a2": 3.016}),
        ("ammonia", {"a1": 2.0141}),
        ("ammonia", {"a1": 2.0141, "a3": 3.016}),
        ("HCN", {"a0": 2.0141}),
        ("HCN", {"a1": 13.0034}),
    ],
)
def test_levels_are_those_of_forces_with_these_masses(name, masses):
    before = parent(name)
    own = heavier(before.force_field.atoms, **masses)
    after, direct = isotopologue(before, own.get_masses()), calculated(own)
    np.testing.assert_allclose(after.levels.harmonic, direct.levels.harmonic, atol=0.01)
    energies = (np.sort(each.levels.energies) for each in (after, direct))  # l = 0, ±2 may swap
    np.testing.assert_allclose(*energies, atol=0.05)
    assert after.levels.zero_point == pytest.approx(direct.levels.zero_point, abs=0.02)
    constants = (each.levels.rotational_constants for each in (after, direct))
    np.testing.assert_allclose(*constants, rtol=1e-5)
    assert np.abs(after.levels.energies - before.levels.energies).max() > 3


def test_a_geometry_of_the_isotopologue_has_the_energy_of_the_molecule():
    field = parent("ammonia").force_field
    own = heavier(field.atoms, a1=2.0141, a0=100.0)
    turned = Substitution(field, own.get_masses()).apply(field)
    q = np.random.default_rng(1).normal(size=len(field.wavenumbers))
    moves = np.einsum("i,inx->nx", q * np.sqrt(2 * ROTATIONAL / turned.wavenumbers), turned.modes)
    errors = []
    for size in (0.4, 0.2):
        moved = own.copy()
        moved.positions += size * moves
        x = size * q
        expected = turned.wavenumbers @ x**2 / 2
        expected += np.einsum("ijk,i,j,k", turned.cubic, x, x, x) / 6
        expected += np.einsum("ijkl,i,j,k,l", turned.quartic, x, x, x, x) / 24
        (found,) = model(field.atoms).calculate([moved])
        errors.append(abs(found.energy * CM1_PER_EV - expected))
    assert errors[0] / errors[1] == pytest.approx(32, rel=0.3)  # of fifth order


def test_wavenumbers_follow_teller_and_redlich():
    before = parent("ammonia")
    own = heavier(before.force_field.atoms, a1=2.0141, a2=3.016)
    after = isotopologue(before, own.get_masses())
    ratio = np.prod(after.vibrations.frequencies / before.vibrations.frequencies)
    first, second = before.force_field.atoms, own
    masses = first.get_masses() / second.get_masses()
    total = second.get_masses().sum() / first.get_masses().sum()
    moments = second.get_moments_of_inertia() / first.get_moments_of_inertia()
    expected = np.sqrt(np.prod(masses) ** 3 * total**3 * np.prod(moments))
    assert ratio == pytest.approx(expected, rel=1e-8)


def test_squared_wavenumbers_are_linear_in_the_inverse_masses():
    """Σ ω² of H₂O and D₂O is that of HDO and DHO (Decius and Wilson 1951)."""
    before = parent("water")
    light, both, first, second = (
        (isotopologue(before, np.array([15.999, *masses])).vibrations.frequencies ** 2).sum()
        for masses in ((1.008, 1.008), (2.0141, 2.0141), (2.0141, 1.008), (1.008, 2.0141))
    )
    assert light + both == pytest.approx(first + second, rel=1e-12)


def test_without_constants_of_four_modes_levels_are_off_and_say_so():
    fewer = calculated(AMMONIA, complete=False)
    masses = heavier(AMMONIA, a1=2.0141).get_masses()
    right = isotopologue(parent("ammonia"), masses)
    wrong = isotopologue(fewer, masses, complete=False)
    assert np.abs(wrong.levels.fundamentals - right.levels.fundamentals).max() > 1
    np.testing.assert_allclose(wrong.levels.harmonic, right.levels.harmonic, atol=1e-3)
    told = [reasons for reasons in wrong.reasons() if "rotor" not in str(reasons)]
    assert told
    assert all("four different modes" in reasons[0] for reasons in told)
    assert not any("four different modes" in str(reasons) for reasons in right.reasons())


def test_members_keep_their_spread():
    before = calculated(WATER, (0.98, 1.02))
    own = heavier(before.force_field.atoms, a1=2.0141)
    after, direct = isotopologue(before, own.get_masses()), calculated(own, (0.98, 1.02))
    np.testing.assert_allclose(after.spread, direct.spread, atol=0.05)
    assert after.spread.min() > 5
    assert "members differ" in str(after.reasons())


def test_modes_of_members_are_in_the_order_of_the_means():
    before = parent("water")
    first = before.force_field
    crossed = replace(first, wavenumbers=first.wavenumbers[[1, 0, 2]])
    both = replace(before, member_fields=[first, crossed.only([2, 0, 1])])
    after = isotopologue(both, first.atoms.get_masses())
    np.testing.assert_allclose(after.member_fields[1].wavenumbers, crossed.wavenumbers, rtol=1e-9)


def test_a_field_without_a_mode_is_refused():
    before = parent("water")
    part = replace(before, force_field=before.force_field.only([1, 2]))
    with pytest.raises(PalirsError, match="lacks 1 mode"):
        isotopologue(part, before.force_field.atoms.get_masses())


def test_modes_are_told_beside_the_molecules():
    before = parent("water")
    after = isotopologue(before, heavier(before.force_field.atoms, a0=17.999).get_masses())
    assert [place for place, _ in like_parent(after, before)] == [0, 1, 2]
    assert min(share for _, share in like_parent(after, before)) > 0.99
    rows = files.isotopologue_rows(after, before)
    assert [row["parent"] for row in rows[:3]] == ["ν1", "ν2", "ν3"]
    assert rows[2]["parent_cm1"] == before.levels.fundamentals[2]
    assert "parent" not in rows[3]
    assert not any("internal rotation" in str(row["caveat"]) for row in rows)
    rotor = files.isotopologue_rows(after, before, [1])
    assert ["internal rotation" in str(row["caveat"]) for row in rotor[:3]] == [False, True, False]
