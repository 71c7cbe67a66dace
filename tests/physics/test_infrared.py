import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from palirs.spectra import autocorrelation, infrared_spectrum, undo_verlet_shift
from palirs.units import BOLTZMANN, EV_PER_AMU_A2_FS2, KM_PER_MOL, SPEED_OF_LIGHT


def oscillator(wavenumber, steps=60000, timestep=0.5, charge=0.5, temperature=300.0):
    """Dipole of a classical oscillator of 1 amu with energy k_B T and dipole derivative ``charge`` along x."""
    omega = 2 * np.pi * SPEED_OF_LIGHT * wavenumber
    amplitude = np.sqrt(2 * BOLTZMANN * temperature / EV_PER_AMU_A2_FS2) / omega
    dipole = np.zeros((steps, 3))
    dipole[:, 0] = charge * amplitude * np.cos(omega * timestep * np.arange(steps))
    return dipole


@pytest.mark.parametrize("wavenumber", [600.0, 1500.0, 3000.0, 3700.0])
@pytest.mark.parametrize("timestep", [0.5, 2.0])
def test_area_of_a_harmonic_band_is_its_harmonic_intensity(wavenumber, timestep):
    spectrum = infrared_spectrum(oscillator(wavenumber, timestep=timestep), timestep)
    band = spectrum.within(wavenumber - 400, wavenumber + 400)
    assert band.area == pytest.approx(0.25 * KM_PER_MOL, rel=2e-3)
    assert band.wavenumber[band.intensity.argmax()] == pytest.approx(wavenumber, abs=3)


def test_intensity_does_not_depend_on_temperature_for_a_harmonic_oscillator():
    areas = [infrared_spectrum(oscillator(1500, temperature=t), 0.5, temperature=t).area for t in (100.0, 700.0)]
    assert areas[0] == pytest.approx(areas[1], rel=1e-6)


def test_two_bands_add():
    both = infrared_spectrum(oscillator(1000) + 2 * oscillator(3000), 0.5)
    assert both.within(2700, 3300).area / both.within(700, 1300).area == pytest.approx(4, rel=1e-2)


def random_dipole(steps=6000):
    rng = np.random.default_rng(5)
    return np.cumsum(rng.normal(size=(steps, 3)) * [1.0, 0.3, 0.1], axis=0) * 0.01


def test_turning_the_frame_of_reference_changes_nothing():
    dipole = random_dipole()
    turned = dipole @ Rotation.from_euler("xyz", [30, 50, 70], degrees=True).as_matrix()
    np.testing.assert_allclose(infrared_spectrum(dipole, 0.5).intensity, infrared_spectrum(turned, 0.5).intensity, rtol=1e-8, atol=1e-8)
    moved = infrared_spectrum(dipole + np.array([5.0, -2.0, 1.0]), 0.5)
    np.testing.assert_allclose(infrared_spectrum(dipole, 0.5).intensity, moved.intensity, rtol=1e-6, atol=1e-8)


def test_the_schnetpack_recipe_reproduces_schnetpack(shared):
    dipole = np.loadtxt(shared / "theory" / "synthetic_dipole.csv", delimiter=",")
    target = np.loadtxt(shared / "theory" / "synthetic_ir_res2000.csv", delimiter=",")
    found = infrared_spectrum(dipole, 0.5, max_lag=1000.0, method="schnetpack")
    np.testing.assert_allclose(found.wavenumber[: len(target)], target[:, 0], atol=1e-6)
    np.testing.assert_allclose(found.intensity[: len(target)], target[:, 1], rtol=1e-7)


def test_autocorrelation_is_the_sum_it_stands_for():
    signal = np.random.default_rng(2).normal(size=(300, 3))
    direct = [(signal[: 300 - lag] * signal[lag:]).sum() / 300 for lag in range(50)]
    np.testing.assert_allclose(autocorrelation(signal, 50), direct, atol=1e-12)


@pytest.mark.parametrize("wavenumber", [1000.0, 3000.0, 3700.0])
def test_verlet_shift_is_undone(wavenumber):
    """A Verlet trajectory of an oscillator, integrated exactly as MD does it, comes out at the oscillator's own wavenumber."""
    timestep = 0.5
    x = 2 * np.pi * SPEED_OF_LIGHT * wavenumber * timestep
    shifted = wavenumber * (2 / x) * np.arcsin(x / 2)
    spectrum = infrared_spectrum(oscillator(shifted), timestep)
    corrected = undo_verlet_shift(spectrum, timestep)
    centre = (corrected.wavenumber * corrected.intensity).sum() / corrected.intensity.sum()
    assert centre == pytest.approx(wavenumber, abs=0.5)
    assert corrected.area == pytest.approx(spectrum.area, rel=5e-3)


@pytest.mark.parametrize(
    ("dipole", "arguments", "message"),
    [
        (np.zeros((100, 2)), {}, "shape"),
        (np.full((5000, 3), np.nan), {}, "not finite"),
        (np.zeros((100, 3)), {}, "less than max_lag"),
        (np.zeros((5000, 3)), {"method": "magic"}, "'physical' or 'schnetpack'"),
    ],
)
def test_bad_input_is_explained(dipole, arguments, message):
    with pytest.raises(ValueError, match=message):
        infrared_spectrum(dipole, 0.5, **arguments)
