"""Anharmonic levels against exact ones, their symmetry, and what is told of them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, reduce
from itertools import permutations, product

import numpy as np
import pytest
from ase import Atoms
from scipy import sparse

from palirs.engines import Properties
from palirs.engines.tblite import TBLite
from palirs.molecules import Molecules
from palirs.recipes import PalirsError
from palirs.units import CM1_PER_EV
from palirs.vibrations import harmonic, minimum
from palirs.vibrations.anharmonic import files
from palirs.vibrations.anharmonic.calculation import Anharmonic, anharmonic, tight
from palirs.vibrations.anharmonic.couplings import Couplings
from palirs.vibrations.anharmonic.force_field import Displacements, ForceField
from palirs.vibrations.anharmonic.levels import (
    Resonances,
    averaged_rotational_constants,
    solve,
    squared_couplings,
)

NEVER = Resonances(gap=0.0)


class Morse:
    """A diatomic molecule in D (1 − exp(−a (r − r₀)))²; D [eV], a [1/Å], r₀ [Å]."""

    depth, a, length = 5.0, 2.2, 1.1

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Return energy and forces."""
        results = []
        for atoms in frames:
            arm = atoms.positions[1] - atoms.positions[0]
            length = np.linalg.norm(arm)
            decay = np.exp(-self.a * (length - self.length))
            slope = 2 * self.depth * self.a * (1 - decay) * decay
            pull = slope * arm / length
            results.append(Properties(self.depth * (1 - decay) ** 2, np.array([pull, -pull])))
        return results


def test_a_morse_oscillator_has_its_exact_levels_and_rotational_constant():
    atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, Morse.length]])
    result = anharmonic(harmonic(atoms, Morse()), Morse())
    (omega,), levels = result.force_field.wavenumbers, result.levels
    x = omega**2 / (4 * Morse.depth * CM1_PER_EV)  # ω x, exact
    np.testing.assert_allclose(levels.energies, [omega - 2 * x, 2 * omega - 6 * x], atol=0.03)
    assert levels.zero_point == pytest.approx(omega / 2 - x / 4, abs=0.01)
    b = result.force_field.rotational_constants
    alpha = 6 * np.sqrt(x * b**3) / omega - 6 * b**2 / omega  # Pekeris 1934
    np.testing.assert_allclose(levels.rotational_constants, b - alpha / 2, rtol=1e-5)


def symmetric(tensor: np.ndarray) -> np.ndarray:
    """Return the mean over all orders of the indices."""
    orders = list(permutations(range(tensor.ndim)))
    return sum((tensor.transpose(order) for order in orders), np.zeros_like(tensor)) / len(orders)


def random_field(scale: float, wavenumbers: Sequence[float] = (1100.0, 1530.0, 2750.0)):
    """Return a force field of water's shape with random constants, and rotation, times a scale."""
    rng = np.random.default_rng(3)
    count = len(wavenumbers)
    cubic = symmetric(rng.normal(size=(count,) * 3)) * 260 * scale
    quartic = symmetric(rng.normal(size=(count,) * 4)) * 120 * scale**2
    atoms = Atoms("OH2", positions=[[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]])
    atoms.positions /= scale  # rotational constants go by the square
    vibrations = harmonic(atoms, Springs(atoms))
    modes = vibrations.modes
    return ForceField(atoms, np.array(wavenumbers), modes, cubic, quartic)


class Springs:
    """Springs between all atoms, at rest in a geometry."""

    def __init__(self, atoms: Atoms):
        self.lengths = atoms.get_all_distances()

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Return forces of 30 eV/Å² springs."""
        results = []
        for atoms in frames:
            arms = atoms.positions[None] - atoms.positions[:, None]
            lengths = np.linalg.norm(arms, axis=2) + np.eye(len(atoms))
            pull = 30 * (lengths - np.eye(len(atoms)) - self.lengths) / lengths
            results.append(Properties(0.0, (pull[:, :, None] * arms).sum(axis=1)))
        return results


class Operators:
    """Sparse matrices of a force field in products of harmonic functions, of ``size`` each."""

    def __init__(self, field: ForceField, size: int):
        self.field, self.size, self.modes = field, size, range(len(field.wavenumbers))
        ladder = sparse.diags_array(np.sqrt(np.arange(1, size)), offsets=1)
        # p is i times this
        q1, p1 = (ladder + ladder.T) / np.sqrt(2), (ladder.T - ladder) / np.sqrt(2)
        self.q, self.p = ([self.at(one, mode) for mode in self.modes] for one in (q1, p1))
        self.squares = {(i, j): self.q[i] @ self.q[j] for i, j in product(self.modes, repeat=2)}

    def at(self, operator, mode: int):
        """Return a one-mode operator in the product basis."""
        parts = [operator if m == mode else sparse.eye_array(self.size) for m in self.modes]
        return reduce(sparse.kron, parts).tocsr()

    def harmonic(self):
        """Return Σ ω (n + ½)."""
        quanta = sparse.diags_array(np.arange(self.size) + 0.5)
        return sum(w * self.at(quanta, i) for i, w in enumerate(self.field.wavenumbers))

    def cubic(self):
        """Return the cubic terms."""
        return sum(
            self.field.cubic[i, j, k] / 6 * (self.squares[i, j] @ self.q[k])
            for i, j, k in product(self.modes, repeat=3)
        )

    def quartic(self):
        """Return the quartic terms."""
        return sum(
            self.field.quartic[i, j, k, m] / 24 * (self.squares[i, j] @ self.squares[k, m])
            for i, j, k, m in product(self.modes, repeat=4)
        )

    def angular_momentum(self, axis: int):
        """Return the vibrational angular momentum, without its factor i."""
        zeta, omega = self.field.coriolis[axis], self.field.wavenumbers
        return sum(
            zeta[i, j] * np.sqrt(omega[j] / omega[i]) * (self.q[i] @ self.p[j])
            for i, j in product(self.modes, repeat=2)
        )

    def rotation(self):
        """Return Σ B π²."""
        turns = [self.angular_momentum(axis) for axis in range(3)]
        pairs = zip(self.field.rotational_constants, turns, strict=True)
        return sum(-constant * (pi @ pi) for constant, pi in pairs)


def exact_levels(field: ForceField, size: int = 10) -> np.ndarray:
    """Diagonalise the Watson Hamiltonian, with the moments of inertia of equilibrium [cm⁻¹]."""
    o = Operators(field, size)
    h = (o.harmonic() + o.cubic() + o.quartic() + o.rotation()).toarray()
    return np.linalg.eigvalsh((h + h.T) / 2) - field.rotational_constants.sum() / 4


def test_the_effective_hamiltonian_is_that_of_the_operators():
    field, size = random_field(0.5, (1100.0, 1530.0, 2750.0)), 9
    o = Operators(field, size)
    levels = [n for n in product(range(4), repeat=3) if sum(n) <= 3]
    places = [int(np.ravel_multi_index(n, (size,) * 3)) for n in levels]
    energies, v = o.harmonic().diagonal(), o.cubic().toarray()[places]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(v != 0, v / (energies[places][:, None] - energies[None]), 0.0)
    expected = (v @ shares.T + shares @ v.T) / 2
    expected += (o.quartic() + o.rotation()).toarray()[np.ix_(places, places)]
    quanta = np.array(levels)
    near = np.abs(quanta[:, None] - quanta[None]).sum(axis=2) <= 4  # others are never coupled
    couplings = Couplings(field)
    effective = couplings.between(levels, near, least=0.0) + np.diag(couplings.diagonal(levels))
    np.testing.assert_allclose(effective[near], expected[near], atol=1e-8)
    assert np.abs(expected[near]).max() > 10


def test_coriolis_coupling_of_the_rotational_constants():
    field = random_field(1.0)
    still = ForceField(field.atoms, field.wavenumbers, field.modes, 0 * field.cubic, field.quartic)
    uncoupled = replace(still)
    uncoupled.__dict__["coriolis"] = np.zeros_like(field.coriolis)
    change = averaged_rotational_constants(still) - averaged_rotational_constants(uncoupled)
    o = Operators(still, 6)
    for axis, constant in enumerate(field.rotational_constants):
        # the energy of B (J − π)² for a small J about the axis goes as B_eff J²
        j, pi = 0.2, 1j * o.angular_momentum(axis).toarray()
        own = o.harmonic().toarray()
        there, here = (np.linalg.eigvalsh(own - 2 * constant * turn * pi)[0] for turn in (j, 0.0))
        assert change[axis] == pytest.approx((there - here) / j**2, rel=0.02, abs=1e-6)
    assert np.abs(change).max() > 1e-3


def test_which_modes_resonate_does_not_depend_on_how_degenerate_ones_are_mixed(by_gfn2):
    field = by_gfn2("acetonitrile").force_field
    turn = np.eye(len(field.wavenumbers))
    for i, angle in ((0, 0.5), (3, 1.1), (6, -0.4), (9, 2.0)):
        c, s = np.cos(angle), np.sin(angle)
        turn[i : i + 2, i : i + 2] = [[c, -s], [s, c]]
    turned = ForceField(
        field.atoms,
        field.wavenumbers,
        np.einsum("ij,jnx->inx", turn, field.modes),
        np.einsum("ia,jb,kc,abc->ijk", turn, turn, turn, field.cubic, optimize=True),
        np.einsum("ia,jb,kc,ld,abcd->ijkl", *[turn] * 4, field.quartic, optimize=True),
    )
    here, there = squared_couplings(field), squared_couplings(turned)
    assert here == pytest.approx(there, rel=1e-3, abs=1e-2)
    assert Resonances().fermi(turned) == Resonances().fermi(field)
    before, after = (np.sort(solve(each).fundamentals) for each in (field, turned))
    np.testing.assert_allclose(after, before, atol=0.05)


@pytest.fixture(scope="module")
def errors_by_scale() -> dict[float, np.ndarray]:
    """Deviations from exact levels, of anharmonicity times a scale."""
    errors = {}
    for scale in (0.5, 0.25):
        field = random_field(scale)
        exact, levels = exact_levels(field, size=10), solve(field, NEVER)
        lowest = np.sort(levels.energies)[:6] + levels.zero_point
        errors[scale] = np.concatenate([[levels.zero_point], lowest]) - exact[:7]
    return errors


def test_the_error_of_second_order_is_of_fourth(errors_by_scale):
    coarse, fine = (np.abs(errors_by_scale[scale]).max() for scale in (0.5, 0.25))
    assert fine < 0.5
    assert coarse / fine == pytest.approx(16, rel=0.3)


def test_a_fermi_resonance_is_coupled_instead_of_perturbed():
    field = random_field(0.25, (1100.0, 1530.0, 2222.0))  # 2ω₁ ≈ ω₃
    for place in ((0, 0, 2), (0, 2, 0), (2, 0, 0)):
        field.cubic[place] = 90.0
    exact = exact_levels(field, size=10)
    levels, plain = solve(field), solve(field, NEVER)
    assert levels.fermi == ((2, 0, 0),)
    lowest = np.sort(levels.energies)[:5] + levels.zero_point
    np.testing.assert_allclose(lowest, exact[1:6], atol=1.0)
    assert np.abs(np.sort(plain.energies)[:5] + plain.zero_point - exact[1:6]).max() > 10
    third = levels.quanta.index((0, 0, 1))
    assert 0.5 < levels.weights[third] < 0.9
    assert list(levels.partners[third]) == [(2, 0, 0)]


@pytest.mark.parametrize(
    ("wavenumbers", "modes", "divisor"),
    [((1000.0, 1500.0, 2050.0), (2, 0, 0), 256), ((1000.0, 1600.0, 2650.0), (2, 0, 1), 64)],
)
def test_the_test_of_a_fermi_resonance_is_that_of_martin(wavenumbers, modes, divisor):
    field = random_field(1.0, wavenumbers)  # 50 cm⁻¹ from resonance
    field.cubic[:] = 0
    limit = (divisor * 50.0**3) ** 0.25
    for factor, found in ((0.99, ()), (1.01, (modes,))):
        for order in permutations(modes):
            field.cubic[order] = factor * limit
        assert Resonances().fermi(field) == found
        assert Resonances(gap=40.0).fermi(field) == ()


@pytest.fixture(scope="module")
def by_gfn2():
    """Return a function that calculates a molecule's levels by GFN2-xTB."""
    engine = TBLite(method="GFN2-xTB")

    @cache
    def calculated(name: str) -> Anharmonic:
        start = Molecules(names=(name,)).load()[0]
        return anharmonic(tight(minimum(start, engine), engine), engine)

    return calculated


@pytest.mark.parametrize(
    ("name", "sets"),
    [
        ("CH4", [(0, 3), (3, 5), (6, 9)]),
        ("acetonitrile", [(0, 2), (3, 5), (6, 8), (9, 11)]),
        ("CO2", [(0, 2)]),
    ],
)
def test_degenerate_modes_stay_degenerate(by_gfn2, name, sets):
    levels = by_gfn2(name).levels
    assert levels.fermi or name == "CO2"
    for first, end in sets:
        energies = levels.fundamentals[first:end]
        assert np.ptp(energies) < 0.1
        # the levels of two quanta of two modes: l = 0, ±2
        if end - first == 2:
            places = [k for k, n in enumerate(levels.quanta) if sum(n[first:end]) == sum(n) == 2]
            if levels.weights[places].min() < 0.4:
                continue  # mixed with others, so that their names mean little
            split = np.sort(levels.energies[places])
            assert min(split[1] - split[0], split[2] - split[1]) < 0.1


def test_levels_do_not_depend_on_the_orientation(by_gfn2):
    before, engine = by_gfn2("H2O"), TBLite(method="GFN2-xTB")
    atoms = before.vibrations.atoms.copy()
    atoms.rotate(40, (1, 2, 3))
    atoms.positions += 3.0
    after = anharmonic(tight(harmonic(atoms, engine), engine), engine)
    np.testing.assert_allclose(after.levels.energies, before.levels.energies, atol=0.1)
    constants = (each.levels.rotational_constants for each in (after, before))
    np.testing.assert_allclose(*constants, rtol=1e-5)


def test_constants_of_four_modes_do_not_depend_on_which_three_are_displaced(by_gfn2):
    quartic = by_gfn2("CH4").force_field.quartic
    assert np.abs(quartic[0, 1, 3, 4]) > 1
    for order in permutations(range(4)):
        np.testing.assert_allclose(quartic.transpose(order), quartic, atol=1e-6)


def test_what_limits_a_level_is_told(by_gfn2):
    result = by_gfn2("H2O2")
    told = dict(zip(result.levels.quanta, result.reasons(), strict=True))
    torsion, stretch = (1, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 1)
    assert any("shifted by" in reason or "rotor" in reason for reason in told[torsion])
    assert not any("steps" in reason for reason in told[stretch])


def test_a_rotor_gets_no_level_and_keeps_its_couplings(by_gfn2):
    result = by_gfn2("nitromethane")
    assert result.rotors() == {0}
    energies = result.energies()
    assert np.isnan(energies[0])
    assert np.isfinite(energies[1 : len(result.modes)]).all()
    assert "rotor" in result.reasons()[0][0]


def test_a_saddle_point_is_refused():
    engine, planar = TBLite(method="GFN2-xTB"), Molecules(names=("NH3",)).load()[0]
    planar.positions[:, 2] = 0.0
    saddle = tight(harmonic(planar, engine), engine)
    with pytest.raises(PalirsError, match="minimum"):
        anharmonic(saddle, engine)


def test_force_fields_are_solved_again_without_a_force(by_gfn2, tmp_path):
    before = by_gfn2("acetonitrile")
    files.save(before, {"step": 0.15}, tmp_path / "acetonitrile")
    again = files.load(tmp_path / "acetonitrile")
    np.testing.assert_array_equal(again.levels.energies, before.levels.energies)
    assert str(files.level_rows(again)) == str(files.level_rows(before))  # NaN is not NaN
    assert files.load(tmp_path / "acetonitrile", NEVER).levels.fermi == ()
    with pytest.raises(PalirsError, match="task=anharmonic"):
        files.load(tmp_path / "acetone")


def test_a_committee_has_the_spread_of_its_members(by_gfn2):
    class Stiffer(Morse):
        depth = 5.2

    atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, Morse.length]])
    result = anharmonic(harmonic(atoms, Morse()), Morse(), [Morse(), Stiffer()])
    single = [anharmonic(harmonic(atoms, source()), source()) for source in (Morse, Stiffer)]
    energies = [each.levels.fundamentals[0] for each in single]
    assert result.spread[0] == pytest.approx(np.std(energies, ddof=1), abs=0.01)
    assert "members differ" in result.reasons()[0][0]
    assert np.isnan(single[0].spread).all()


def test_fewer_displacements_give_the_same_fundamentals(by_gfn2):
    result, engine = by_gfn2("H2O"), TBLite(method="GFN2-xTB")
    fewer = anharmonic(result.vibrations, engine, step=0.1, extrapolate=False, complete=False)
    np.testing.assert_allclose(fewer.levels.fundamentals, result.levels.fundamentals, atol=0.5)
    count = len(result.modes)
    frames = Displacements(result.vibrations, extrapolate=False, complete=False).frames()
    assert len(frames) == 2 * count**2 + 2 * count + 1


def test_members_that_mix_levels_evenly_are_not_confused():
    fields = []
    for third in (2184.0, 2187.0, 2190.0):  # 2ω₁ = 2186: the larger share changes sides
        field = random_field(0.05, (1093.0, 1530.0, third))
        for place in ((0, 0, 2), (0, 2, 0), (2, 0, 0)):
            field.cubic[place] = 90.0
        fields.append(field)
    vibrations = harmonic(fields[1].atoms, Springs(fields[1].atoms))
    result = Anharmonic.of(vibrations, np.arange(3), fields[1], fields[1], fields)
    assert result.levels.fermi == ((2, 0, 0),)
    assert result.spread[2] < 3


def test_a_resonance_of_one_member_is_taken_out_of_all():
    fields = []
    for third in (2300.0, 2200.02):  # the second is at the pole
        field = random_field(0.05, (1100.0, 1530.0, third))
        for place in ((0, 0, 2), (0, 2, 0), (2, 0, 0)):
            field.cubic[place] = 20.0
        fields.append(field)
    vibrations = harmonic(fields[0].atoms, Springs(fields[0].atoms))
    result = Anharmonic.of(vibrations, np.arange(3), fields[0], fields[0], fields)
    assert Resonances().fermi(fields[0]) == ()
    assert result.levels.fermi == ((2, 0, 0),)
    assert abs(result.members[1].fundamentals[2] - 2200) < 20


def test_a_member_without_a_mode_of_the_mean_is_told(by_gfn2):
    result = by_gfn2("H2O2")

    class Flat(TBLite):
        """Forces without any along the torsion."""

        def calculate(self, frames):
            mode = (result.vibrations.modes[0] * frames[0].get_masses()[:, None] ** 0.5).ravel()
            away = mode / np.linalg.norm(mode)
            properties = super().calculate(frames)
            roots = np.repeat(frames[0].get_masses() ** 0.5, 3)
            forces = [each.forces.ravel() / roots for each in properties]
            return [
                replace(each, forces=((force - away * (away @ force)) * roots).reshape(-1, 3))
                for each, force in zip(properties, forces, strict=True)
            ]

    engine = TBLite(method="GFN2-xTB")
    with pytest.raises(PalirsError, match="member 1 of the committee"):
        anharmonic(result.vibrations, engine, [engine, Flat(method="GFN2-xTB")])


def test_without_constants_of_four_modes_degenerate_levels_stay_and_others_hardly_move(by_gfn2):
    result, engine = by_gfn2("acetonitrile"), TBLite(method="GFN2-xTB")
    fewer = anharmonic(result.vibrations, engine, complete=False)
    assert np.abs(fewer.force_field.quartic - result.force_field.quartic).max() > 1
    for first, end in ((0, 2), (3, 5), (6, 8), (9, 11)):
        assert np.ptp(fewer.levels.fundamentals[first:end]) < 0.1
    np.testing.assert_allclose(fewer.levels.fundamentals, result.levels.fundamentals, atol=2)
