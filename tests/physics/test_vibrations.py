import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.vibrations import VibrationsData

from palirs.engines import TBLite
from palirs.vibrations import (
    Harmonic,
    finite_differences,
    harmonic,
    infrared_intensities,
    normal_modes,
    optimise,
    sample_normal_modes,
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
    frequencies, modes = normal_modes(atoms, np.array(record["hessian_hartree_per_bohr2"]) * HARTREE_PER_BOHR2)
    intensities = infrared_intensities(modes, np.array(record["dipole_gradient_e_3x3N"]).T)
    np.testing.assert_allclose(frequencies, record["reference"]["frequencies_cm1"], atol=0.4)
    np.testing.assert_allclose(intensities, record["reference"]["ir_km_per_mol"], rtol=2e-3)


@pytest.mark.parametrize(("name", "modes"), [("C2H2", 7), ("CO2", 4), ("N2", 1), ("H2O", 3), ("CH4", 9)])
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
    np.testing.assert_allclose(np.einsum("a,iak->ik", masses, np.cross(arms[None], modes)), 0, atol=1e-9)


def test_isotopes_follow_teller_and_redlich():
    """The product of the frequency ratios of D2O and H2O follows from masses and moments of inertia alone."""
    light = optimise(molecule("H2O"), TBLite())
    heavy = light.copy()
    heavy.set_masses([15.999, 2.014, 2.014])
    hessian, _ = finite_differences(light, TBLite())
    ratio = np.prod(normal_modes(heavy, hessian)[0] / normal_modes(light, hessian)[0])
    m = [light.get_masses(), heavy.get_masses()]
    inertia = [np.prod(a.get_moments_of_inertia()) for a in (light, heavy)]
    expected = np.sqrt((m[0][1] / m[1][1]) ** 6 * (m[1].sum() / m[0].sum()) ** 3 * inertia[1] / inertia[0])
    assert ratio == pytest.approx(expected, rel=1e-3)


def test_optimisation_reaches_its_force_limit():
    atoms = optimise(molecule("CH3OH"), TBLite(), fmax=1e-3)
    assert np.linalg.norm(TBLite().calculate([atoms])[0].forces, axis=1).max() < 1e-3


def test_normal_mode_samples_are_ases_mode_images():
    atoms = optimise(molecule("H2O"), TBLite())
    hessian, _ = finite_differences(atoms, TBLite())
    frequencies, modes = normal_modes(atoms, hessian)
    samples = sample_normal_modes(Harmonic(atoms, frequencies, modes), temperature=300.0, per_mode=10)
    assert len(samples) == 1 + 3 * 9
    reference = list(VibrationsData.from_2d(atoms, hessian).iter_animated_mode(6, frames=30))[:10]
    ours = [samples[0], *samples[1:10]]
    for sign in (1, -1):  # the sign of an eigenvector means nothing
        mirrored = [atoms.positions + sign * (image.positions - atoms.positions) for image in ours]
        if np.allclose(mirrored, [image.positions for image in reference], atol=2e-3):
            return
    pytest.fail("the first mode's samples are not ASE's images")
