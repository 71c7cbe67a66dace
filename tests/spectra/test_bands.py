"""Bands of a spectrum, the motion of modes, and measured spectra.

The latter at the resolution of computed ones.
"""

import numpy as np
import pytest

from palirs.spectra import Spectrum, infrared_spectrum
from palirs.spectra.bands import bands
from palirs.spectra.density import mode_densities
from palirs.spectra.lags import line_width
from palirs.spectra.resolution import at_resolution
from palirs.units import SPEED_OF_LIGHT

GRID = np.arange(0.0, 4500.0, 2.0)


def line(centre, area, width=15.0):
    return area / (width * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((GRID - centre) / width) ** 2)


def test_position_and_area_of_a_band():
    found = bands(Spectrum(GRID, line(1033.7, 80.0) + line(2900.3, 20.0)), (500.0, 4000.0))
    assert [band.position for band in found] == pytest.approx([1033.7, 2900.3], abs=0.1)
    assert [band.area for band in found] == pytest.approx([80.0, 20.0], rel=0.02)
    assert all(np.isnan(band.area_error) for band in found)


def test_neighbours_are_parted_where_it_is_lowest_between_them():
    one, other = bands(Spectrum(GRID, line(1000, 50.0) + line(1060, 50.0)), (500.0, 4000.0))
    assert one.high == other.low == pytest.approx(1030, abs=2)


def test_what_is_small_a_shoulder_or_noise_is_no_band():
    shown = Spectrum(
        GRID, line(1000, 100.0) + line(1035, 30.0) + line(3000, 1.0) + line(2000, 10.0)
    )
    assert len(bands(shown, (500.0, 4000.0))) == 2
    noisy = Spectrum(GRID, shown.intensity, np.where(GRID > 1500, 1.0, 0.01))
    assert [band.position for band in bands(noisy, (500.0, 4000.0))] == pytest.approx([1000], abs=5)
    assert bands(Spectrum(GRID, 0 * GRID), (500.0, 4000.0)) == []
    assert (
        bands(Spectrum(GRID, line(2000, 10.0), np.full(len(GRID), 1.0)), (500.0, 4000.0)) == []
    ), "all of it is noise"
    assert bands(Spectrum(GRID, GRID + 1.0), (500.0, 4000.0)) == []


def test_the_tail_of_a_band_outside_the_window_is_none():
    shown = Spectrum(GRID, line(480, 100.0, 30.0) + line(2000, 10.0) + 0.01 * np.sin(GRID / 3))
    assert [band.position for band in bands(shown, (500.0, 4000.0))] == pytest.approx([2000], abs=5)
    assert len(bands(shown, (300.0, 4000.0))) == 2


def test_a_hump_on_a_wing_that_only_some_trajectories_have_is_no_band():
    """It stands out by a third of its height, but not by three standard errors."""
    wing = line(1000, 100.0) + line(1000, 400.0, 200.0)
    parts = np.array([wing + line(1400, 8.0 * (number < 3), 10.0) for number in range(8)])
    seen = Spectrum(GRID, parts.mean(axis=0)).with_blocks(parts)
    assert [band.position for band in bands(seen, (500.0, 4000.0))] == pytest.approx([1000], abs=5)
    every = np.array([wing + line(1400, 4.0 + 0.5 * (number % 2), 10.0) for number in range(8)])
    sure = Spectrum(GRID, every.mean(axis=0)).with_blocks(every)
    assert len(bands(sure, (500.0, 4000.0))) == 2


def test_errors_of_position_and_area_cover_the_truth():
    """Of 300 spectra two thirds lie within one standard error.

    Each is the mean of twelve parts that scatter.
    """
    rng, inside = np.random.default_rng(0), np.zeros(2)
    for _ in range(300):
        parts = np.array(
            [line(1500 + rng.normal() * 5, 50 * (1 + 0.3 * rng.normal())) for _ in range(12)]
        )
        (band,) = bands(Spectrum(GRID, parts.mean(axis=0)).with_blocks(parts), (1000.0, 2000.0))
        inside += [
            abs(band.position - 1500) < band.position_error,
            abs(band.area - 50) < band.area_error,
        ]
    assert (np.abs(inside / 300 - 0.66) < 0.09).all(), inside / 300


def test_a_mode_moves_at_its_frequency():
    time = np.arange(8000) * 1.0
    wanted = [400.0, 1500.0, 3700.0]
    rates = np.stack(
        [np.cos(2 * np.pi * SPEED_OF_LIGHT * one * time + one) for one in wanted], axis=-1
    )
    wavenumber, densities = mode_densities(rates.reshape(4, 2000, 3), 1.0)
    assert wavenumber[densities.argmax(axis=1)] == pytest.approx(wanted, abs=5)
    assert np.trapezoid(densities, wavenumber, axis=1) == pytest.approx(1)
    with pytest.raises(ValueError, match="at least 1001 frames"):
        mode_densities(rates[None, :500], 1.0)


@pytest.mark.parametrize("max_lag", [500.0, 1000.0])
@pytest.mark.parametrize("friction", [0.0, 2.5])
def test_a_sharp_line_becomes_as_wide_as_that_of_an_oscillator(max_lag, friction):
    time, rate = np.arange(200_000), 2 * np.pi * SPEED_OF_LIGHT * 1500
    computed = infrared_spectrum(
        np.stack([np.sin(rate * time), 0 * time, 0 * time], axis=-1), 1.0, max_lag=max_lag
    )
    measured = Spectrum(np.arange(500, 4000, 0.5), np.zeros(7000), measured=True)
    measured.intensity[2000] = 2.0
    found = at_resolution(measured, max_lag, friction=friction)
    assert found.area == pytest.approx(1, rel=3e-3), "but for the far wings"
    assert found.measured
    width = np.ptp(found.wavenumber[found.intensity > 0.5 * found.intensity.max()])
    assert width == pytest.approx(line_width(max_lag, "hann", friction), abs=1.1)
    if not friction:
        assert (
            np.abs(
                found.on(computed.wavenumber) / found.intensity.max()
                - computed.intensity / computed.intensity.max()
            ).max()
            < 0.02
        )


def test_broadening_neither_moves_nor_rings_at_the_ends():
    grid = np.concatenate([np.arange(550.0, 1500.0, 0.3), np.arange(1500.0, 3900.0, 1.1)])
    flat = Spectrum(grid, np.full(len(grid), 3.0), measured=True)
    np.testing.assert_allclose(at_resolution(flat, 1000.0, friction=1.0).intensity, 3.0, rtol=1e-9)
    peak = Spectrum(grid, np.exp(-0.5 * ((grid - 2500) / 40) ** 2), measured=True)
    found = at_resolution(peak, 1000.0)
    assert found.wavenumber[found.intensity.argmax()] == pytest.approx(2500, abs=1)
