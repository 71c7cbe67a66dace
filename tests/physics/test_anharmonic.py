"""Anharmonic levels against exact ones, their symmetry, and what is told of them."""

from collections.abc import Sequence
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
from palirs.vibrations.anharmonic.force_field import Displacements, ForceField
from palirs.vibrations.anharmonic.levels import Resonances, solve

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


def exact_levels(field: ForceField, size: int = 13) -> np.ndarray:
    """Diagonalise the Watson Hamiltonian of a force field in products of harmonic functions.

    The moments of inertia are those of equilibrium, as in second-order theory.
    """
    omega, count = field.wavenumbers, len(field.wavenumbers)
    ladder = sparse.diags_array(np.sqrt(np.arange(1, size)), offsets=1)
    q1, p1 = (ladder + ladder.T) / np.sqrt(2), (ladder.T - ladder) / np.sqrt(2)  # p is i times this

    def at(operator, mode: int):
        parts = [operator if m == mode else sparse.eye_array(size) for m in range(count)]
        return reduce(sparse.kron, parts).tocsr()

    modes = range(count)
    q, p = ([at(one, mode) for mode in modes] for one in (q1, p1))
    squares = {(i, j): q[i] @ q[j] for i, j in product(modes, repeat=2)}
    quanta = sparse.diags_array(np.arange(size) + 0.5)
    h = sum(omega[i] * at(quanta, i) for i in modes)
    for i, j, k in product(modes, repeat=3):
        h = h + field.cubic[i, j, k] / 6 * (squares[i, j] @ q[k])
    for i, j, k, m in product(modes, repeat=4):
        h = h + field.quartic[i, j, k, m] / 24 * (squares[i, j] @ squares[k, m])
    for constant, zeta in zip(field.rotational_constants, field.coriolis, strict=True):
        pairs = product(modes, repeat=2)
        pi = sum(zeta[i, j] * np.sqrt(omega[j] / omega[i]) * (q[i] @ p[j]) for i, j in pairs)
        h = h - constant * (pi @ pi) - constant / 4 * sparse.eye_array(size**count)
    h = h.toarray()
    return np.linalg.eigvalsh((h + h.T) / 2)


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
