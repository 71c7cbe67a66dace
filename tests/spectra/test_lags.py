"""Windows, widths of lines, quantum corrections, molar absorption."""

import numpy as np
import pytest

from palirs.spectra import infrared_spectrum
from palirs.spectra.files import read_csv, write_csv
from palirs.spectra.lags import (
    correction,
    friction_of_width,
    lag_of_width,
    line_width,
    width_of_friction,
    window,
)
from palirs.units import SPEED_OF_LIGHT

WINDOWS = ("hann", "blackman", "gaussian", "none")


def oscillator(wavenumber=1500.0, steps=40_000, damping=0.0):
    time = np.arange(steps, dtype=float)
    signal = np.zeros((steps, 3))
    signal[:, 0] = np.sin(2 * np.pi * SPEED_OF_LIGHT * wavenumber * time)
    return signal


@pytest.mark.parametrize("name", WINDOWS)
def test_weights_begin_with_one_and_do_not_grow(name):
    weights = window(name, 500)
    assert weights[0] == 1
    assert (np.diff(weights) <= 1e-12).all() and (weights >= -1e-12).all()


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("max_lag", [500.0, 1000.0])
def test_the_area_does_not_depend_on_the_window_and_the_width_is_the_one_told(name, max_lag):
    found = infrared_spectrum(oscillator(), 1.0, max_lag=max_lag, window=name)
    plain = infrared_spectrum(oscillator(), 1.0, max_lag=max_lag)
    assert found.area == pytest.approx(plain.area, rel=3e-3)
    fine = np.arange(1400, 1600, 0.1)
    shape = found.on(fine)
    width = np.ptp(fine[shape > 0.5 * shape.max()])
    assert width == pytest.approx(line_width(max_lag, name), abs=1.5)


def test_the_width_of_hann_is_that_of_the_textbook():
    """Two bins of 1/(2T) for lags from −T to T.

    Harris 1978, doi:10.1109/PROC.1978.10837, by amplitude.
    """
    assert line_width(1000.0, "hann") == pytest.approx(1.0 / (1000.0 * SPEED_OF_LIGHT), rel=2e-3)


def test_friction_alone_makes_a_lorentzian():
    """γ/(2πc): 5.2 cm⁻¹ for 0.98 ps⁻¹."""
    assert line_width(1e6, "none", 0.98) == pytest.approx(
        0.98e-3 / (2 * np.pi * SPEED_OF_LIGHT), rel=0.01
    )


@pytest.mark.parametrize("name", ["hann", "blackman", "gaussian", "none"])
@pytest.mark.parametrize("width", [2.0, 8.0, 24.0, 60.0])
def test_friction_and_autocorrelation_together_make_the_line_that_is_asked_for(name, width):
    friction = friction_of_width(width)
    assert width_of_friction(friction) <= 0.501 * width
    lag = lag_of_width(width, name, friction)
    assert line_width(lag, name, friction) == pytest.approx(width, rel=3e-3)


def test_friction_that_is_too_much_for_a_line_is_refused():
    with pytest.raises(ValueError, match=r"a friction of 2 ps⁻¹ alone gives 10\.6"):
        lag_of_width(10.0, "hann", 2.0)


def test_lines_that_want_too_long_an_autocorrelation_are_refused_for_that_reason():
    with pytest.raises(ValueError, match="more than 100,000 fs"):
        lag_of_width(0.5, "blackman", friction_of_width(0.5))


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="hann, blackman, gaussian or none"):
        infrared_spectrum(oscillator(), 1.0, window="kaiser")
    with pytest.raises(ValueError, match="harmonic, standard, schofield"):
        infrared_spectrum(oscillator(), 1.0, quantum_correction="wigner")


@pytest.mark.parametrize("temperature", [100.0, 300.0, 900.0])
def test_quantum_corrections(temperature):
    """All agree where kT is large, the standard one tends to 2kT/ħω of the harmonic one.

    Each has detailed balance: Q(x)/Q(−x) = exp(x).
    """
    x = np.array([1e-3, 0.5, 3.0, 20.0])
    wavenumber = x * temperature * 0.6950348
    harmonic = x / (1 - np.exp(-x))
    assert (correction("harmonic", wavenumber, temperature) == 1).all()
    standard, schofield = (
        correction(name, wavenumber, temperature) * harmonic for name in ("standard", "schofield")
    )
    np.testing.assert_allclose(standard, 2 / (1 + np.exp(-x)), rtol=1e-5)
    np.testing.assert_allclose(schofield**2, np.exp(x), rtol=1e-4)
    assert correction("standard", wavenumber[:1], temperature) == pytest.approx(1, abs=1e-3)
    assert correction("standard", wavenumber[3:], temperature) == pytest.approx(2 / 20, rel=1e-3)


def test_the_correction_is_in_the_spectrum():
    plain, other = (
        infrared_spectrum(oscillator(), 1.0, quantum_correction=name)
        for name in ("harmonic", "standard")
    )
    factor = correction("standard", np.array([1500.0]), 300.0)[0]
    assert other.area / plain.area == pytest.approx(factor, rel=0.01)
    assert other.intensity.max() / plain.intensity.max() == pytest.approx(factor, rel=0.01)


def test_zeros_bring_points_closer_and_change_none():
    dipole = oscillator(steps=4000)
    few, many = (
        infrared_spectrum(dipole, 1.0, max_lag=512.0, padding=padding) for padding in (1, 8)
    )
    assert len(many.wavenumber) == 8 * (len(few.wavenumber) - 1) + 1
    np.testing.assert_allclose(many.wavenumber[::8], few.wavenumber)
    np.testing.assert_allclose(many.intensity[::8], few.intensity, atol=1e-9 * few.intensity.max())


def test_molar_absorption(tmp_path):
    """1 km/mol is 10⁵ cm/mol, and ε [L/mol/cm] is 10³ cm²/mol to the base of ten."""
    found = infrared_spectrum(oscillator(), 1.0)
    area = np.trapezoid(found.molar_absorption, found.wavenumber)
    assert np.log(10) * 1e3 * area == pytest.approx(1e5 * found.area)
    write_csv(tmp_path / "x.csv", found)
    np.testing.assert_allclose(
        read_csv(tmp_path / "x.csv").intensity, found.intensity, rtol=1e-6, atol=1e-12
    )
    header = (tmp_path / "x.csv").read_text().splitlines()[1]
    assert header == "wavenumber_cm1,intensity,standard_error,molar_absorption_L_per_mol_cm"
