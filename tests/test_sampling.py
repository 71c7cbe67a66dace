"""The first structures: distributions, torsions, counts."""

from collections import Counter

import numpy as np
import pytest
from ase.build import molecule

from palirs import keys
from palirs.engines.tblite import TBLite
from palirs.geometry.distinct import distinct
from palirs.geometry.torsions import rotors
from palirs.molecules import Molecules, on_grid
from palirs.recipes import PalirsError
from palirs.sampling import InitialSamples, ModeImages, ThermalSamples, spread
from palirs.units import BOLTZMANN, CM1_PER_EV, EV_PER_AMU_A2_FS2, SPEED_OF_LIGHT
from palirs.vibrations import Harmonic, minimum

BOTH = InitialSamples(images=ModeImages(), thermal=ThermalSamples(per_mode=5), conformers=0)


@pytest.fixture(scope="module")
def methanol() -> Harmonic:
    atoms = molecule("CH3OH")
    atoms.info[keys.MOLECULE] = "methanol"
    return minimum(atoms, TBLite())


def coordinates(frames, known):
    """Normal coordinates [Å·amu^1/2] of displaced geometries, ``[frames, modes]``."""
    steps = np.array([atoms.positions for atoms in frames]) - known.atoms.positions
    return np.einsum("fad,a,mad->fm", steps, known.atoms.get_masses(), known.modes)


def test_no_structure_twice(methanol):
    frames = BOTH.sample(methanol, np.random.default_rng(1))
    assert len(frames) == BOTH.count(12) == 1 + 12 * 7 + 12 * 5, (
        "of nine images of a mode seven are different"
    )
    assert len(distinct(frames)) == len(frames)
    assert frames[0].info[keys.ORIGIN] == "optimum"
    assert all(np.array_equal(on_grid(atoms).positions, atoms.positions) for atoms in frames), (
        "as they are read back from a file"
    )
    assert (
        len(
            {atoms.info[keys.GROUP] for atoms in frames if atoms.info[keys.ORIGIN] == "normal_mode"}
        )
        == 12
    )


@pytest.mark.parametrize("distribution", ["classical", "quantum"])
def test_thermal_samples_have_the_harmonic_distribution(methanol, distribution):
    """Zero-point amplitude in stiff modes or equipartition in all.

    All modes at once and independent.
    """
    recipe = ThermalSamples(
        distribution=distribution, temperatures=(300.0,), per_mode=300, lowest=1.0, turned=0.0
    )
    found = coordinates(list(recipe.sample(methanol, np.random.default_rng(2))), methanol)
    expected = spread(methanol.frequencies, 300.0, distribution == "quantum")
    np.testing.assert_allclose(
        found.std(axis=0), expected, rtol=0.07
    )  # 3600 samples, a few of them drawn again
    np.testing.assert_allclose(np.corrcoef(found.T), np.eye(12), atol=0.1)
    assert abs((found / expected).mean()) < 0.02, "both sides of the optimum"


def test_half_of_the_samples_are_turned_about_single_bonds(methanol):
    """Evenly over the circle, at every temperature, and no less displaced than the others.

    A molecule without such bonds is left alone.
    """
    classical = ThermalSamples(distribution="classical", per_mode=50)
    frames = list(classical.sample(methanol, np.random.default_rng(4)))
    turned = [atoms for atoms in frames if atoms.info[keys.ORIGIN] == "turned"]
    assert len(turned) == len(frames) // 2 == 300
    for kelvin in (300.0, 500.0, 700.0):
        assert sum(atoms.info[keys.TEMPERATURE] == kelvin for atoms in turned) == 100
    (rotor,) = rotors(methanol.atoms)
    end = next(k for k in range(6) if k not in (*rotor.side, rotor.fixed, rotor.moving))
    angles = np.array(
        [atoms.get_dihedral(end, rotor.fixed, rotor.moving, rotor.side[0]) for atoms in turned]
    )
    assert np.histogram(angles, 6, (0, 360))[0].min() > 30
    others = [atoms for atoms in frames if atoms.info[keys.ORIGIN] == "thermal"]
    lengths = [
        np.std([atoms.get_distance(rotor.fixed, rotor.moving) for atoms in some])
        for some in (turned, others)
    ]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.2)


def test_widths_have_their_limits():
    """Classical at high temperature: <½ω²Q²> = ½kT; half of the zero-point energy at low."""
    wavenumber = np.array([10.0, 3000.0])
    omega = 2 * np.pi * SPEED_OF_LIGHT * wavenumber
    potential = 0.5 * omega**2 * spread(wavenumber, 5000.0) ** 2 * EV_PER_AMU_A2_FS2
    assert potential[0] == pytest.approx(0.5 * BOLTZMANN * 5000, rel=1e-4)
    cold = 0.5 * omega**2 * spread(wavenumber, 1.0) ** 2 * EV_PER_AMU_A2_FS2
    assert cold[1] == pytest.approx(0.25 * 3000.0 / CM1_PER_EV, rel=1e-9)
    classical = 0.5 * omega**2 * spread(wavenumber, 300.0, quantum=False) ** 2 * EV_PER_AMU_A2_FS2
    np.testing.assert_allclose(classical, 0.5 * BOLTZMANN * 300.0)


def test_soft_modes_are_held_and_molecules_stay_whole(methanol):
    soft = Harmonic(methanol.atoms, np.array([1.0, *methanol.frequencies[1:]]), methanol.modes)
    frames = list(
        ThermalSamples("quantum", (300.0,), per_mode=10, turned=0.0).sample(
            soft, np.random.default_rng(3)
        )
    )
    assert coordinates(frames, methanol)[:, 0].std() < 2 * spread(np.array([100.0]), 300.0)[0]
    wild = Harmonic(soft.atoms, soft.frequencies, soft.modes * 1e3)
    with pytest.raises(PalirsError, match=r"initial\.thermal\.temperatures"):
        list(ThermalSamples().sample(wild, np.random.default_rng(3)))


def test_small_molecules_get_enough():
    assert ThermalSamples().count(1) == 20
    assert InitialSamples(thermal=ThermalSamples(per_mode=7, least=1)).count(3) == 22


def test_nothing_to_begin_with_is_a_mistake():
    with pytest.raises(ValueError, match="both null"):
        InitialSamples()


@pytest.mark.parametrize(
    ("smiles", "energies"),
    [("O=CO", (0.10, 0.45)), ("CCO", (-0.03, 0.25)), ("FCCF", (-0.05, 0.5))],
)
def test_other_conformers_are_among_the_samples(smiles, energies):
    """Cis formic acid, gauche ethanol: seconds after the optimum's own samples, and no wilder."""
    optimum = minimum(Molecules(names=(f"{smiles} mine",)).load()[0], TBLite())
    cold = ThermalSamples("classical", (10.0,), per_mode=1, least=3, turned=0.0)
    without, with_them = (
        InitialSamples(thermal=cold, conformers=each).sample(optimum, np.random.default_rng(0))
        for each in (0, 2)
    )
    others = with_them[len(without) :]
    assert len(others) >= 2
    assert {atoms.info[keys.ORIGIN] for atoms in others} == {"turned"}
    results = [label.energy for label in TBLite().calculate([optimum.atoms, *others])]
    relative = np.array(results[1:]) - results[0]
    assert (relative > energies[0]).all()
    assert (relative < energies[1]).all()


def test_mixed_samples_are_classical_and_quantum_in_turn_at_every_temperature(methanol):
    recipe = ThermalSamples(distribution="mixed", per_mode=10)
    frames = list(recipe.sample(methanol, np.random.default_rng(4)))
    plain = [atoms for atoms in frames if atoms.info[keys.ORIGIN] != "turned"]
    kinds = Counter((atoms.info[keys.ORIGIN], atoms.info[keys.TEMPERATURE]) for atoms in plain)
    assert set(kinds) == {(o, t) for o in ("thermal", "quantum") for t in (300.0, 500.0, 700.0)}
    assert max(kinds.values()) - min(kinds.values()) <= 1
    stiff = {
        origin: np.std(
            [coordinates([a], methanol)[0, -1] for a in plain if a.info[keys.ORIGIN] == origin]
        )
        for origin in ("thermal", "quantum")
    }
    assert stiff["quantum"] > 1.5 * stiff["thermal"], "the O–H stretch has its zero-point energy"
