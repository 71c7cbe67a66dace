"""A spectrum whose bands are moved by quantum shifts."""

import numpy as np
import pytest

from palirs.spectra import Spectrum
from palirs.spectra.shifts import median, moved_by_modes

GRID = np.arange(0.0, 4000.0, 2.0)
PLACES = (1000.0, 1060.0, 3500.0)
INTENSITIES = np.array([80.0, 20.0, 10.0])


def line(place: float) -> np.ndarray:
    """Return a band of unit area and 20 cm⁻¹ standard deviation."""
    return np.exp(-(((GRID - place) / 20) ** 2) / 2) / (20 * np.sqrt(2 * np.pi))


@pytest.fixture
def densities():
    return GRID, np.array([line(place) for place in PLACES])


@pytest.fixture
def spectrum(densities):
    blocks = np.array([0.9, 1.1])[:, None] * (INTENSITIES @ densities[1])
    return Spectrum(GRID, blocks.mean(axis=0), blocks=blocks, label="made up")


def test_each_band_moves_by_its_own_shift_and_keeps_its_area(spectrum, densities):
    moved = moved_by_modes(spectrum, densities, INTENSITIES, np.array([980.0, 1060.0, 3300.0]))
    assert moved.area == pytest.approx(spectrum.area, rel=2e-3)
    expected = INTENSITIES @ np.array([line(place) for place in (980.0, 1060.0, 3300.0)])
    assert np.abs(moved.intensity - expected).max() < 0.03 * expected.max()
    stretch = GRID > 2500
    assert GRID[stretch][moved.intensity[stretch].argmax()] == pytest.approx(3300, abs=2)


def test_modes_without_a_level_stay(spectrum, densities):
    moved = moved_by_modes(spectrum, densities, INTENSITIES, np.array([1000.0, np.nan, np.nan]))
    np.testing.assert_allclose(moved.intensity, spectrum.intensity, atol=1e-4)


def test_what_no_mode_explains_stays(spectrum, densities):
    combination = Spectrum(GRID, spectrum.intensity + 5 * line(2000.0))
    moved = moved_by_modes(combination, densities, INTENSITIES, np.array(PLACES) - 50)
    near = np.abs(GRID - 2000) < 50
    np.testing.assert_allclose(moved.intensity[near], combination.intensity[near], atol=1e-4)


def test_its_error_is_that_of_its_blocks(spectrum, densities):
    moved = moved_by_modes(spectrum, densities, INTENSITIES, np.array(PLACES) - 10)
    assert moved.blocks is not None and moved.error is not None
    np.testing.assert_allclose(moved.blocks.mean(axis=0), moved.intensity, atol=1e-12)
    np.testing.assert_allclose(moved.error, 0.1 * moved.intensity, atol=1e-9)


def test_the_median_halves_the_area():
    assert median(GRID, line(1234.0)) == pytest.approx(1234.0, abs=1.0)
    assert median(GRID, 0.9 * line(1000.0) + 0.1 * line(3000.0)) == pytest.approx(1000, abs=5)
