"""Internal rotation: levels against analytic and observed ones, paths against known potentials."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.geometry import get_dihedrals_derivatives
from scipy.special import mathieu_a, mathieu_b

from palirs import keys
from palirs.engines import Properties
from palirs.engines.tblite import TBLite
from palirs.geometry.torsions import Rotor, turn
from palirs.molecules import Molecules
from palirs.tasks.levels import _rotations
from palirs.units import CM1_PER_EV, ROTATIONAL
from palirs.vibrations import minimum
from palirs.vibrations.anharmonic import files, rotation
from palirs.vibrations.anharmonic.calculation import anharmonic, tight
from palirs.vibrations.anharmonic.rotor_levels import HinderedRotor, InternalRotation

STEPS = 24
TURN = 2 * np.pi * np.arange(STEPS) / STEPS


def cosine(height: float, constant: float, fold: int = 3) -> HinderedRotor:
    """Return the rotor in V/2 (1 − cos nθ), V and B [cm⁻¹]."""
    potential = height / 2 * (1 - np.cos(fold * TURN))
    return HinderedRotor(potential, np.full(STEPS, constant), fold)


def energies(rotor: HinderedRotor, species: int) -> np.ndarray:
    return np.array([level.energy for level in rotor.levels if level.species == species])


@pytest.mark.parametrize(("height", "constant"), [(373.0, 27.6), (1000.0, 10.7), (5.0, 5.6)])
def test_a_cosine_potential_has_mathieus_levels(height, constant):
    unit = 9 / 4 * constant
    q = height / (4 * unit)
    even = [unit * mathieu_a(2 * k, q) + height / 2 for k in range(4)]
    odd = [unit * mathieu_b(2 * k, q) + height / 2 for k in range(1, 4)]
    exact = np.sort(even + odd)
    own = energies(cosine(height, constant), 0)[:7]
    assert len(own) >= 5
    np.testing.assert_allclose(own, exact[: len(own)], atol=1e-5)


def test_methanols_levels_are_those_observed():
    rotor = cosine(373.0, 27.6)
    (a0, a1), (e0, e1) = energies(rotor, 0)[:2], energies(rotor, 1)[:2]
    assert e0 - a0 == pytest.approx(9.1, abs=0.1)
    assert a1 - a0 == pytest.approx(294.5, abs=1.0)
    assert e1 - e0 == pytest.approx(199.8, abs=0.5)
    solved = InternalRotation(rotor, [])
    assert solved.fundamental == pytest.approx((a1 + 2 * e1 - a0 - 2 * e0) / 3)
    assert solved.levels == "v = 0: A 0.0, E 9.1; v = 1: E 209.0, A 295.1"
    assert "3-fold barrier 373 cm⁻¹; split by 86" in solved.reason


def test_without_a_potential_a_rotor_is_free():
    rotor = replace(cosine(0.0, 7.0), fold=6)
    found = sorted(level.energy for level in rotor.levels for _ in range(level.count))
    np.testing.assert_allclose(
        found[:9], [7.0 * m**2 for m in (0, 1, 1, 2, 2, 3, 3, 4, 4)], atol=1e-8
    )
    solved = InternalRotation(rotor, [])
    assert rotor.free
    assert np.isnan(solved.fundamental)
    assert solved.levels == "A 0.0, E₁ 7.0, E₂ 28.0, B 63.0, B 63.0"
    assert "without a level of its own" in solved.reason


def test_levels_do_not_depend_on_where_the_turn_begins():
    potential = 400 * np.cos(TURN) + 300 * np.cos(2 * TURN + 0.4)
    constants = 10 + 2 * np.cos(TURN + 1)
    before, after = (
        HinderedRotor(np.roll(potential, k), np.roll(constants, k), 1).levels for k in (0, 7)
    )
    np.testing.assert_allclose(
        [each.energy + potential[0] for each in before[:9]],
        [each.energy + potential[-7] for each in after[:9]],
        atol=1e-8,
    )


def test_the_kinetic_energy_is_that_of_the_angle_whatever_it_is_called():
    """With θ = f(φ) as the coordinate B is divided by f'²; levels of a flat potential stay."""
    other = TURN + 0.2 * np.sin(TURN)
    slope = 1 + 0.2 * np.cos(TURN)
    rotor = HinderedRotor(900 * (1 - np.cos(2 * other)), 10.0 / slope**2, 1)
    straight = HinderedRotor(900 * (1 - np.cos(2 * TURN)), np.full(STEPS, 10.0), 1)
    own, exact = (InternalRotation(each, []).fundamental for each in (rotor, straight))
    assert own == pytest.approx(exact, abs=1.0)  # the pseudo-potential is left out
    flat = replace(rotor, potential=np.zeros(STEPS))
    assert flat.levels[0].energy == pytest.approx(0.0, abs=1e-9), "−d/dθ B d/dθ of a constant"


def test_a_double_well_is_split_by_what_tunnels():
    def well(height: float) -> HinderedRotor:
        potential = height * np.cos(2 * TURN) + 500 * np.cos(TURN)
        start = int(np.argmin(potential))
        return HinderedRotor(np.roll(potential, -start), np.full(STEPS, 40.0), 1)

    splits = []
    for height in (500.0, 900.0, 1500.0):
        rotor = well(height)
        assert rotor.wells.count == 2
        assert [level.quanta for level in rotor.levels[:4]] == [0, 0, 1, 1]
        splits.append(rotor.levels[1].energy - rotor.levels[0].energy)
    assert splits[0] > splits[1] > splits[2] > 0
    assert splits[2] < 0.2


def test_levels_of_another_rotamer_are_not_counted():
    potential = 150 * (1 - np.cos(TURN)) + 600 * (1 - np.cos(3 * TURN)) / 2
    rotor = HinderedRotor(potential, np.full(STEPS, 7.0), 1)
    assert [level.quanta for level in rotor.levels[:4]] == [0, 1, -1, -1]
    assert InternalRotation(rotor, []).fundamental == pytest.approx(
        rotor.levels[1].energy - rotor.levels[0].energy
    )


def tops(first: Sequence[float], second: Sequence[float]) -> Atoms:
    """Return two groups of three atoms at radii and heights on an axis: HHH–C–C–FFF."""
    turns = 2 * np.pi * np.arange(3) / 3
    rings = [
        np.c_[radius * np.cos(turns), radius * np.sin(turns), np.full(3, height)]
        for radius, height in (first, second)
    ]
    return Atoms("C2H3F3", np.vstack([[[0, 0, 0], [0, 0, 1.5]], *rings]))


def test_two_symmetric_tops_have_their_reduced_moment():
    atoms = tops((1.02, -0.4), (1.25, 1.95))
    frames = []
    for angle in 360 * np.arange(STEPS) / STEPS:
        frame = atoms.copy()
        turn(frame, Rotor(0, 1, (5, 6, 7)), angle)
        frame.rotate(3 * angle, (1, 2, 3))  # as relaxation does
        frames.append(frame)
    masses = atoms.get_masses()
    a, b = 3 * masses[2] * 1.02**2, 3 * masses[5] * 1.25**2
    tangents = rotation._tangents(frames)
    constants = rotation._constants(frames, tangents)
    places = frames[3].positions - frames[3].get_center_of_mass()
    np.testing.assert_allclose(masses @ np.cross(places, tangents[3]), 0.0, atol=1e-3)
    np.testing.assert_allclose(constants, ROTATIONAL * (a + b) / (a * b), rtol=1e-5)
    assert rotation.symmetry(np.zeros(STEPS), constants) == 6


class Peroxide:
    """H–O–O–H with springs, whose O–O length depends on the torsion τ: V(τ) is that when relaxed.

    V = ``height``/2 (1 + cos 2τ) − ``odd`` cos τ [cm⁻¹].
    """

    lengths: ClassVar = {(0, 1): 1.45, (0, 2): 0.97, (1, 3): 0.97, (0, 3): 1.91, (1, 2): 1.91}
    quartet: ClassVar = [(2, 0, 1, 3)]
    start = Atoms(
        "OOHH",
        positions=[[0, 0, 0], [1.45, 0, 0], [-0.3, 0.9, 0], [1.75, 0.2, 0.9]],
        info={keys.MOLECULE: "H2O2"},
    )

    def __init__(self, height: float = 700.0, odd: float = 0.0):
        self.height, self.odd, self.count = height, odd, 0

    def potential(self, tau: np.ndarray) -> np.ndarray:
        return self.height / 2 * (1 + np.cos(2 * tau)) - self.odd * np.cos(tau)

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Return energy and forces."""
        self.count += len(frames)
        return [self._one(atoms) for atoms in frames]

    def _one(self, atoms: Atoms) -> Properties:
        tau = np.radians(atoms.get_dihedrals(self.quartet)[0])
        energy = self.potential(tau) / CM1_PER_EV
        slope = (-self.height * np.sin(2 * tau) + self.odd * np.sin(tau)) / CM1_PER_EV
        forces = np.zeros((4, 3))
        for (i, j), length in self.lengths.items():
            arm = atoms.positions[j] - atoms.positions[i]
            change = np.linalg.norm(arm) - length
            if (i, j) == (0, 1):
                change -= 0.05 * np.cos(tau)
                slope += 30.0 * change * 0.05 * np.sin(tau)
            energy += 15.0 * change**2
            pull = 30.0 * change * arm / np.linalg.norm(arm)
            forces[i] += pull
            forces[j] -= pull
        h, o, p, k = atoms.positions[list(self.quartet[0])]
        gradient = np.radians(
            get_dihedrals_derivatives(*((o - h)[None], (p - o)[None], (k - p)[None]))
        )
        forces[list(self.quartet[0])] -= slope * gradient[0]
        return Properties(float(energy), forces)


@pytest.fixture(scope="module")
def peroxide():
    return tight(minimum(Peroxide.start, Peroxide()), Peroxide())


@pytest.fixture(scope="module")
def path(peroxide):
    ((mode, rotor),) = rotation.rotations(peroxide).items()
    assert mode == 0
    return rotation.path(peroxide, rotor, Peroxide(), [Peroxide(650.0), Peroxide(750.0)])


def test_everything_but_the_torsion_is_relaxed(peroxide, path):
    tau = np.radians(peroxide.atoms.get_dihedral(2, 0, 1, 3)) + TURN
    exact = Peroxide().potential(tau) - Peroxide().potential(tau[0])
    np.testing.assert_allclose(path.potentials[0], exact, atol=0.3)
    across = peroxide.atoms.copy()
    turn(across, Rotor(0, 1, (3,)), np.degrees(TURN[6]))
    rigid, start = (Peroxide().calculate([atoms])[0].energy for atoms in (across, peroxide.atoms))
    assert abs((rigid - start) * CM1_PER_EV - exact[6]) > 20
    assert path.fold == 1, "the O–O length, and so the kinetic energy, differs in cis and trans"
    assert path.zero_points.shape == path.potentials.shape == (3, STEPS)


def test_members_give_the_standard_deviation(path):
    solved = InternalRotation.of(path)
    exact = [InternalRotation(replace(each, like=None), []).fundamental for each in solved.members]
    assert solved.spread == pytest.approx(np.std(exact, ddof=1), rel=1e-6)
    assert solved.spread > 5
    assert "members differ by" in solved.reason
    assert all(spread > 0 for _, energy, spread in solved.told if energy)
    assert np.isnan(InternalRotation(solved.rotor, []).spread)


def test_ethanes_torsion_has_the_level_of_perturbation_theory():
    """VPT2 is right there; without the zero-point energy of the other modes it would be 272."""
    engine = TBLite(method="GFN2-xTB")
    ethane = tight(minimum(Molecules(names=("ethane",)).load()[0], engine), engine, 1e-3)
    ((mode, rotor),) = rotation.rotations(ethane).items()
    path = rotation.path(ethane, rotor, engine)
    assert (mode, path.fold) == (0, 3)
    assert InternalRotation.of(path).fundamental == pytest.approx(286.9, abs=2.0)


def test_zero_point_energy_is_that_of_the_other_modes(peroxide):
    others = np.delete(peroxide.frequencies, 2)
    own = rotation._zero_point(peroxide.atoms, peroxide.modes[2], Peroxide())
    assert own == pytest.approx(others.sum() / 2, abs=0.1)


def test_rotations_about_double_bonds_and_of_two_groups_at_once_are_none():
    engine = TBLite(method="GFN2-xTB")
    acid = tight(minimum(Molecules(names=("formic_acid",)).load()[0], engine), engine, 1e-4)
    assert rotation.rotations(acid) == {}


def test_paths_are_calculated_once_and_their_levels_replace_those_of_vpt2(peroxide, tmp_path):
    engine = Peroxide()
    result = anharmonic(peroxide, engine, quanta=1)
    files.save(result, {}, tmp_path / "H2O2")
    session, engine.count = SimpleNamespace(labeller=engine), 0
    first = _rotations(session, "engine", result, tmp_path / "H2O2")
    paid = engine.count
    again = _rotations(session, "engine", files.load(tmp_path / "H2O2"), tmp_path / "H2O2")
    assert engine.count == paid > 0
    assert again[0].levels == first[0].levels
    row, *others = files.level_rows(result, again)
    assert row["anharmonic_cm1"] == again[0].fundamental
    assert row["caveat"].startswith("internal rotation: solved in one dimension, barriers ")
    assert row["rotor_levels"].startswith("v = 0: 0.0, ")
    assert str(others) == str(files.level_rows(result)[1:]), "the other modes are as they were"


def test_a_path_that_does_not_relax_leaves_the_level_of_vpt2(
    peroxide, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(rotation, "STEPS", 0)
    result = anharmonic(peroxide, Peroxide(), quanta=1)
    files.save(result, {}, tmp_path / "H2O2")
    session = SimpleNamespace(labeller=Peroxide())
    assert _rotations(session, "engine", result, tmp_path / "H2O2") == {}
    assert "ν1 is not solved as a rotor: molecule 'H2O2'" in caplog.text
    assert files.load_paths(tmp_path / "H2O2") is None


def test_atoms_that_leave_the_path_are_told(peroxide):
    frames = [peroxide.atoms.copy() for _ in range(STEPS)]
    for place, frame in enumerate(frames):
        turn(frame, Rotor(0, 1, (3,)), 15.0 * place)
    frames[5].positions[2] += 0.8
    with pytest.raises(rotation.PalirsError, match="change their place"):
        rotation._tangents(frames)
