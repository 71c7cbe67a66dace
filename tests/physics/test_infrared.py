import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from palirs.spectra import autocorrelation, infrared_spectrum, undo_verlet_shift
from palirs.units import BOLTZMANN, EV_PER_AMU_A2_FS2, KM_PER_MOL, SPEED_OF_LIGHT
from tests.physics.oscillators import langevin


def oscillator(wavenumber, steps=60000, timestep=0.5, charge=0.5, temperature=300.0):
    """Dipole of a classical oscillator of 1 amu with energy k_B T.

    Its dipole derivative is ``charge``, along x.
    """
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
    areas = [
        infrared_spectrum(oscillator(1500, temperature=t), 0.5, temperature=t).area
        for t in (100.0, 700.0)
    ]
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
    np.testing.assert_allclose(
        infrared_spectrum(dipole, 0.5).intensity,
        infrared_spectrum(turned, 0.5).intensity,
        rtol=1e-8,
        atol=1e-8,
    )
    moved = infrared_spectrum(dipole + np.array([5.0, -2.0, 1.0]), 0.5)
    np.testing.assert_allclose(
        infrared_spectrum(dipole, 0.5).intensity, moved.intensity, rtol=1e-6, atol=1e-8
    )


def test_the_schnetpack_recipe_reproduces_schnetpack(shared):
    dipole = np.loadtxt(shared / "theory" / "synthetic_dipole.csv", delimiter=",")
    target = np.loadtxt(shared / "theory" / "synthetic_ir_res2000.csv", delimiter=",")
    found = infrared_spectrum(dipole, 0.5, max_lag=1000.0, method="schnetpack")
    np.testing.assert_allclose(found.wavenumber[: len(target)], target[:, 0], atol=1e-6)
    np.testing.assert_allclose(found.intensity[: len(target)], target[:, 1], rtol=1e-7)


def test_autocorrelation_is_the_sum_it_stands_for():
    signal = np.random.default_rng(2).normal(size=(300, 3))
    direct = np.array([(signal[: 300 - lag] * signal[lag:]).sum() for lag in range(50)])
    np.testing.assert_allclose(
        autocorrelation(signal, 50), direct / (300 - np.arange(50)), atol=1e-12
    )
    np.testing.assert_allclose(autocorrelation(signal, 50, biased=True), direct / 300, atol=1e-12)


@pytest.mark.parametrize("wavenumber", [1000.0, 3000.0, 3700.0])
def test_verlet_shift_is_undone(wavenumber):
    """A Verlet trajectory of an oscillator comes out at the oscillator's own wavenumber.

    It is integrated exactly as MD does it.
    """
    timestep = 0.5
    x = 2 * np.pi * SPEED_OF_LIGHT * wavenumber * timestep
    shifted = wavenumber * (2 / x) * np.arcsin(x / 2)
    spectrum = infrared_spectrum(oscillator(shifted), timestep)
    corrected = undo_verlet_shift(spectrum, timestep)
    centre = (corrected.wavenumber * corrected.intensity).sum() / corrected.intensity.sum()
    assert centre == pytest.approx(wavenumber, abs=0.5)
    assert corrected.area == pytest.approx(spectrum.area * (wavenumber / shifted) ** 2, rel=1e-3)


@pytest.mark.parametrize(
    ("dipole", "arguments", "message"),
    [
        (np.zeros((100, 2)), {}, "shape"),
        (np.full((5000, 3), np.nan), {}, "not finite"),
        (np.zeros((100, 3)), {}, "less than max_lag"),
        (np.zeros((5000, 3)), {"method": "magic"}, "'physical' or 'schnetpack'"),
        (np.zeros((0, 5000, 3)), {}, "less than max_lag"),
    ],
)
def test_bad_input_is_explained(dipole, arguments, message):
    with pytest.raises(ValueError, match=message):
        infrared_spectrum(dipole, 0.5, **arguments)


def baoab(wavenumber, trajectories, picoseconds, seed, **settings):
    """Dipoles ``[trajectories, steps, 3]`` of Langevin oscillators with dipole derivative 0.5."""
    positions, _ = langevin(wavenumber, trajectories, picoseconds, seed, **settings)
    return 0.5 * positions * np.array([1.0, 0.0, 0.0])


def area_of(spectrum):
    """Area of all bands and its standard error [km/mol].

    A damped oscillator's line has wide wings.
    """
    areas = np.trapezoid(spectrum.blocks, spectrum.wavenumber, axis=1)
    return spectrum.area, areas.std(ddof=1) / np.sqrt(len(areas))


@pytest.mark.parametrize(
    ("timestep", "wavenumber", "temperature"),
    [(0.25, 3700, 300), (0.5, 3700, 50), (1.0, 3000, 900), (3.0, 600, 300)],
)
def test_band_of_a_langevin_oscillator(timestep, wavenumber, temperature):
    """Place, area and line shape of a damped oscillator from MD of it."""
    dipole = baoab(
        wavenumber, 400, 12.5, seed=3, timestep=timestep, friction=5.0, temperature=temperature
    )
    spectrum = undo_verlet_shift(
        infrared_spectrum(dipole, timestep, temperature=temperature), timestep
    )
    area, error = area_of(spectrum)
    assert error < 0.01 * area
    assert area == pytest.approx(0.25 * KM_PER_MOL, abs=3 * error)
    band = spectrum.within(wavenumber - 60, wavenumber + 60)
    centre = (band.wavenumber * band.intensity).sum() / band.intensity.sum()
    assert centre == pytest.approx(wavenumber, abs=1.0)
    lags = np.arange(0, 1000, 1.0)
    decay = (
        np.exp(-2.5e-3 * lags) * np.cos(0.5 * np.pi * lags / 1000) ** 2
    )  # of the line by friction/2, and Hann's window
    offset = 2 * np.pi * SPEED_OF_LIGHT * (band.wavenumber[:, None] - wavenumber)
    shape = (np.cos(offset * lags) * decay).sum(axis=1)
    expected = shape / np.trapezoid(shape, band.wavenumber) * band.area
    assert (np.abs(band.intensity - expected) < 3 * band.error + 0.01 * expected.max()).all()
    assert band.error.max() < 0.03 * expected.max()


def test_the_error_covers_the_truth_as_often_as_it_says():
    """200 repeats of eight trajectories of 15 ps.

    The area lies within one and two standard errors as often as a normal number.
    """
    dipoles = baoab(1500.0, 1600, 15, seed=1, timestep=1.0, friction=2.5).reshape(200, 8, -1, 3)
    found = [area_of(undo_verlet_shift(infrared_spectrum(dipole, 1.0), 1.0)) for dipole in dipoles]
    deviations = np.array([(area - 0.25 * KM_PER_MOL) / error for area, error in found])
    assert 0.57 < (np.abs(deviations) < 1).mean() < 0.77
    assert 0.88 < (np.abs(deviations) < 2).mean() < 0.99
    assert abs(deviations.mean()) < 0.3


def test_the_estimate_depends_neither_on_length_nor_on_the_cut():
    dipole = baoab(1500.0, 1, 480, seed=2, timestep=1.0, friction=2.5)
    spectra = [infrared_spectrum(dipole.reshape(parts, -1, 3), 1.0) for parts in (1, 4, 16, 160)]
    peak = spectra[0].intensity.argmax()
    for other in spectra[1:3]:
        assert (
            abs(other.intensity[peak] - spectra[0].intensity[peak]) < 0.5 * spectra[0].error[peak]
        )
        assert other.error[peak] == pytest.approx(spectra[0].error[peak], rel=0.25)
    assert (
        abs(spectra[3].intensity[peak] - spectra[0].intensity[peak]) < 1.5 * spectra[0].error[peak]
    ), "of 3 ps each: the biased estimate loses 17 %"


def test_zero_lag_is_the_mean_square():
    dipole = baoab(1500.0, 3, 12, seed=4, timestep=1.0)
    spectrum = infrared_spectrum(dipole, 1.0)
    flux = np.diff(dipole, axis=1)
    damping = np.sinc(spectrum.wavenumber * SPEED_OF_LIGHT) ** 2
    total = np.trapezoid(spectrum.intensity * damping, spectrum.wavenumber)
    square = (flux**2).sum(axis=-1).mean()
    assert total == pytest.approx(
        KM_PER_MOL * EV_PER_AMU_A2_FS2 / (BOLTZMANN * 300.0) * square, rel=1e-6
    )


def test_one_short_trajectory_has_no_error():
    spectrum = infrared_spectrum(baoab(1500.0, 1, 3, seed=5, timestep=1.0), 1.0)
    assert np.isnan(spectrum.error).all()
    assert spectrum.blocks is None
