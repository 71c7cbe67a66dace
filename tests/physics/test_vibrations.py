import json

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.vibrations import VibrationsData

from palirs.engines import TBLite
from palirs.molecules import Molecules, on_grid, table
from palirs.sampling import ModeImages
from palirs.vibrations import (
    Harmonic,
    count_modes,
    finite_differences,
    harmonic,
    infrared_intensities,
    minimum,
    normal_modes,
    optimise,
)

HARTREE_PER_BOHR2 = units.Hartree / units.Bohr**2


def test_water_on_gfn2_agrees_with_the_reference_values(shared):
    record = json.loads((shared / "theory" / "water_gfn1_gfn2.json").read_text())["GFN2"]
    atoms = Atoms(record["symbols"], np.array(record["positions_bohr"]) * units.Bohr)
    found = harmonic(atoms, TBLite())
    np.testing.assert_allclose(found.frequencies, [1538.9, 3642.5, 3651.2], atol=0.5)
    np.testing.assert_allclose(found.intensities, [133.3, 6.78, 16.7], rtol=0.01)


def test_published_hessian_gives_published_frequencies_and_intensities(shared):
    record = json.loads((shared / "theory" / "vibtools_water.json").read_text())
    atoms = Atoms(record["symbols"], record["positions_angstrom"])
    frequencies, modes = normal_modes(
        atoms, np.array(record["hessian_hartree_per_bohr2"]) * HARTREE_PER_BOHR2
    )
    intensities = infrared_intensities(modes, np.array(record["dipole_gradient_e_3x3N"]).T)
    np.testing.assert_allclose(frequencies, record["reference"]["frequencies_cm1"], atol=0.4)
    np.testing.assert_allclose(intensities, record["reference"]["ir_km_per_mol"], rtol=2e-3)


@pytest.mark.parametrize(
    ("name", "modes"), [("C2H2", 7), ("CO2", 4), ("N2", 1), ("H2O", 3), ("CH4", 9)]
)
def test_number_of_vibrations(name, modes):
    atoms = optimise(molecule(name), TBLite())
    atoms.rotate(41, (1, 2, 3))  # a linear molecule is linear in any direction
    found = harmonic(atoms, TBLite())
    assert len(found.frequencies) == modes
    assert (found.frequencies > 100).all()


def test_symmetry_of_methane():
    frequencies = harmonic(optimise(molecule("CH4"), TBLite(), fmax=1e-4), TBLite()).frequencies
    for degenerate in (frequencies[0:3], frequencies[3:5], frequencies[6:9]):
        assert np.ptp(degenerate) < 0.5


def test_turning_the_molecule_changes_nothing():
    atoms = optimise(molecule("CH3OH"), TBLite())
    turned = atoms.copy()
    turned.rotate(77, (3, 1, 2), center=(0, 5, 0))
    here, there = harmonic(atoms, TBLite()), harmonic(turned, TBLite())
    np.testing.assert_allclose(here.frequencies, there.frequencies, atol=0.2)
    np.testing.assert_allclose(here.intensities, there.intensities, atol=0.1)


def test_modes_are_orthonormal_and_free_of_translation_and_rotation():
    atoms = optimise(molecule("CH3OH"), TBLite())
    modes = harmonic(atoms, TBLite()).modes
    masses = atoms.get_masses()
    overlap = np.einsum("ian,a,jan->ij", modes, masses, modes)
    np.testing.assert_allclose(overlap, np.eye(12), atol=1e-10)
    np.testing.assert_allclose(np.einsum("ian,a->in", modes, masses), 0, atol=1e-10)
    arms = atoms.positions - atoms.get_center_of_mass()
    np.testing.assert_allclose(
        np.einsum("a,iak->ik", masses, np.cross(arms[None], modes)), 0, atol=1e-9
    )


@pytest.mark.parametrize("name", ["H2O", "CH3OH", "CO2", "C2H6"])
def test_a_hessian_takes_two_calculations_for_each_vibration_and_is_the_whole_one(name):
    """Compared with displacing every atom along every axis.

    Symmetric molecules have directions that tie.
    """
    atoms = optimise(molecule(name), TBLite(), fmax=1e-4)
    source, asked = TBLite(), []

    class Counting:
        def calculate(self, frames):
            asked.append(len(frames))
            return source.calculate(frames)

    hessian, gradient = finite_differences(atoms, Counting())
    assert asked == [2 * count_modes(atoms)]
    moved = [atoms.copy() for _ in range(6 * len(atoms))]
    for number, copy in enumerate(moved):
        copy.positions[divmod(number // 2, 3)] += 0.002 * (1 - 2 * (number % 2))
    found = source.calculate(moved)
    forces = np.array([properties.forces.ravel() for properties in found]).reshape(
        -1, 2, 3 * len(atoms)
    )
    np.testing.assert_allclose(hessian, -(forces[:, 0] - forces[:, 1]) / 0.004, atol=0.05)
    dipoles = np.array([properties.dipole for properties in found]).reshape(-1, 2, 3)
    modes = normal_modes(atoms, hessian)[1]
    whole = infrared_intensities(modes, (dipoles[:, 0] - dipoles[:, 1]) / 0.004)
    np.testing.assert_allclose(infrared_intensities(modes, gradient), whole, atol=0.05, rtol=0.005)


def test_isotopes_follow_teller_and_redlich():
    """The product of the frequency ratios of D2O and H2O.

    It follows from masses and moments of inertia alone.
    """
    light = optimise(molecule("H2O"), TBLite())
    heavy = light.copy()
    heavy.set_masses([15.999, 2.014, 2.014])
    hessian, _ = finite_differences(light, TBLite())
    ratio = np.prod(normal_modes(heavy, hessian)[0] / normal_modes(light, hessian)[0])
    m = [light.get_masses(), heavy.get_masses()]
    inertia = [np.prod(a.get_moments_of_inertia()) for a in (light, heavy)]
    expected = np.sqrt(
        (m[0][1] / m[1][1]) ** 6 * (m[1].sum() / m[0].sum()) ** 3 * inertia[1] / inertia[0]
    )
    assert ratio == pytest.approx(expected, rel=1e-3)


def test_optimisation_reaches_its_force_limit():
    atoms = optimise(molecule("CH3OH"), TBLite(), fmax=1e-3)
    assert np.linalg.norm(TBLite().calculate([atoms])[0].forces, axis=1).max() < 1e-3


def test_normal_mode_samples_are_ases_mode_images():
    atoms = optimise(molecule("H2O"), TBLite())
    hessian, _ = finite_differences(atoms, TBLite())
    frequencies, modes = normal_modes(atoms, hessian)
    recipe = ModeImages(temperature=300.0, per_mode=10)
    ours = list(recipe.sample(Harmonic(atoms, frequencies, modes), np.random.default_rng(0)))[:9]
    reference = list(VibrationsData.from_2d(atoms, hessian).iter_animated_mode(6, frames=30))[1:10]
    for sign in (1, -1):  # the sign of an eigenvector means nothing
        mirrored = [atoms.positions + sign * (image.positions - atoms.positions) for image in ours]
        if np.allclose(mirrored, [image.positions for image in reference], atol=2e-3):
            return
    pytest.fail("the first mode's samples are not ASE's images")


def test_isotopes_in_a_file_reach_the_frequencies(tmp_path):
    """Harmonic wavenumbers of H2O and D2O from experiment (Benedict, Gailar and Plyler 1956,
    doi:10.1063/1.1731981): their ratios depend on masses and geometry, hardly on the force field.
    The product of the ratios is that of Teller and Redlich."""
    light = molecule("H2O")
    heavy = light.copy()
    heavy.set_masses([15.9949, 2.014102, 2.014102])
    light.set_masses([15.9949, 1.007825, 1.007825])
    found = []
    for name, atoms in (("light", light), ("heavy", heavy)):
        ase.io.write(
            tmp_path / f"{name}.xyz",
            atoms,
            format="extxyz",
            columns=["symbols", "positions", "masses"],
        )
        (atoms,) = Molecules(files=(str(tmp_path / f"{name}.xyz"),)).load()
        found.append(minimum(atoms, TBLite()))
    np.testing.assert_allclose(found[1].atoms.get_masses()[1:], 2.014102)
    np.testing.assert_allclose(found[0].atoms.positions, found[1].atoms.positions, atol=1e-6)
    ratio = found[1].frequencies / found[0].frequencies
    np.testing.assert_allclose(
        ratio, np.array([1206.39, 2763.80, 2888.78]) / [1648.47, 3832.17, 3942.53], atol=4e-3
    )
    assert ratio[2] != pytest.approx(1.0)
    inertia = [np.prod(known.atoms.get_moments_of_inertia()) for known in found]
    masses = [known.atoms.get_masses() for known in found]
    product = np.sqrt(
        inertia[1]
        / inertia[0]
        * (masses[1].sum() / masses[0].sum()) ** 3
        * np.prod(masses[0] / masses[1]) ** 3
    )
    assert np.prod(ratio) == pytest.approx(product, rel=2e-3)


def planar_ammonia():
    atoms = molecule("NH3")
    atoms.positions[:, 2] = 0
    return atoms


def eclipsed_ethane():
    atoms = molecule("C2H6")
    below = [i for i in range(len(atoms)) if atoms.positions[i, 2] < 0]
    turned = atoms[below]
    turned.rotate(60, "z")
    atoms.positions[below] = turned.positions
    return atoms


@pytest.mark.parametrize(
    "make",
    [planar_ammonia, eclipsed_ethane, lambda: table()["acetone"].copy()],
    ids=["ammonia", "ethane", "acetone"],
)
def test_a_start_that_relaxes_to_a_saddle_point_ends_in_a_minimum(make, caplog):
    atoms = make()
    straight = harmonic(optimise(atoms, TBLite()), TBLite())
    assert straight.frequencies[0] < -10, "it is a saddle point that is left"
    with caplog.at_level("INFO"):
        found = minimum(atoms, TBLite())
    assert "saddle point" in caplog.text
    assert found.frequencies[0] > 0
    energies = [TBLite().calculate([known.atoms])[0].energy for known in (straight, found)]
    assert energies[1] < energies[0]
    np.testing.assert_array_equal(found.atoms.positions, on_grid(found.atoms).positions)


def test_a_minimum_is_left_as_it_is(caplog):
    with caplog.at_level("INFO"):
        found = minimum(molecule("CH3OH"), TBLite())
    assert not caplog.text
    np.testing.assert_array_equal(
        found.atoms.positions, on_grid(optimise(molecule("CH3OH"), TBLite())).positions
    )


@pytest.mark.parametrize("name", ["C2H2", "CO2", "HCN"])
def test_a_linear_molecule_stays_one_however_it_was_relaxed(name):
    """Rattled and relaxed to 1 meV/Å it bends a little.

    The number of modes is that of the straight one.
    """
    rng, source = np.random.default_rng(0), TBLite()
    for _ in range(15):
        atoms = molecule(name)
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        relaxed = optimise(atoms, source, fmax=1e-3)
        assert count_modes(relaxed) == 3 * len(atoms) - 5
    reference = harmonic(optimise(molecule(name), source), source)
    bent = relaxed.copy()
    bent.positions[0] += (
        0.15 * np.linalg.svd(bent.positions - bent.positions.mean(axis=0))[2][2]
    )  # as a bad committee would have it
    assert count_modes(bent) == 3 * len(atoms) - 6
    assert len(harmonic(bent, source, modes=len(reference.frequencies)).frequencies) == len(
        reference.frequencies
    )


@pytest.mark.parametrize("name", ["H2O", "HCN", "CH3OH", "H2O2", "C2H6"])
def test_modes_are_counted(name):
    atoms = molecule(name)
    atoms.rotate(30, (1, 1, 0))
    assert count_modes(atoms) == 3 * len(atoms) - (5 if name == "HCN" else 6)


def test_hydrazoic_acid_is_not_linear():
    """Bent by a single hydrogen atom at 109° (doi:10.1016/0022-2852(76)90166-5)."""
    acid = Atoms("N3H", positions=[[0, 0, 0], [1.24, 0, 0], [2.374, 0, 0], [-0.333, 0.957, 0]])
    assert count_modes(acid) == 6
