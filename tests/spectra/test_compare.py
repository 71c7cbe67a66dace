import numpy as np
import pytest
from scipy.stats import pearsonr

from palirs.spectra import Spectrum, mean_spectrum, pearson, wasserstein
from palirs.spectra.files import read_csv, write_csv
from palirs.spectra.measured.baseline import subtract_baseline

GRID = np.arange(0.0, 4500.0, 0.7)


def bands(*centres, width=15.0, heights=None, grid=GRID, **kwargs):
    heights = heights or [1.0] * len(centres)
    return Spectrum(
        grid,
        sum(
            h * np.exp(-0.5 * ((grid - c) / width) ** 2)
            for c, h in zip(centres, heights, strict=True)
        ),
        **kwargs,
    )


def test_a_spectrum_is_like_itself_in_any_unit():
    one = bands(1000, 3000)
    other = Spectrum(one.wavenumber, 17 * one.intensity)
    assert pearson(one, other) == pytest.approx(1)
    assert wasserstein(one, other) == pytest.approx(0, abs=1e-12)


def test_wasserstein_of_a_shifted_spectrum_is_the_shift():
    one, other = bands(1000, 3000), bands(1035, 3035)
    assert wasserstein(one, other, in_cm1=True) == pytest.approx(35, abs=0.05)
    assert wasserstein(one, other) == pytest.approx(35 / 3500, rel=2e-3)


def test_wasserstein_of_moved_intensity():
    """Half of the intensity moves by 2000 cm⁻¹."""
    assert wasserstein(bands(1000), bands(1000, 3000), in_cm1=True) == pytest.approx(1000, rel=1e-3)


def test_wasserstein_does_not_depend_on_an_uneven_grid():
    uneven = np.concatenate([np.arange(500, 2000, 0.5), np.arange(2000, 4000, 4.0)])
    coarse = bands(1000, 3000, grid=uneven, measured=True)
    assert wasserstein(bands(1000, 3000), coarse, in_cm1=True) < 0.5


def test_pearson_is_pearson_on_the_grid_of_the_experiment():
    grid = np.arange(600.0, 3900.0, 3.0)
    measured = bands(1010, 2980, grid=grid, measured=True)
    computed = bands(1000, 3000)
    expected = pearsonr(np.interp(grid, GRID, computed.intensity), measured.intensity).statistic
    assert pearson(computed, measured) == pytest.approx(expected)


def test_only_the_window_counts():
    assert pearson(bands(100, 1000), bands(1000), (500, 4000)) == pytest.approx(1, abs=1e-6)


def test_spectra_that_do_not_meet_are_refused():
    left = bands(1000, grid=np.arange(500.0, 1500.0))
    right = bands(3000, grid=np.arange(2500.0, 3500.0))
    with pytest.raises(ValueError, match="do not overlap"):
        pearson(left, right)
    with pytest.raises(ValueError, match="flat"):
        pearson(bands(1000), Spectrum(GRID, np.zeros(len(GRID))))


def test_mean_and_deviation():
    mean = mean_spectrum([bands(1000, heights=[1.0]), bands(1000, heights=[3.0])])
    peak = mean.intensity.argmax()
    assert mean.intensity[peak] == pytest.approx(2, rel=1e-3)
    assert mean.error is not None
    assert mean.error[peak] == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_a_sloping_baseline_goes_and_the_bands_stay(noise):
    clean = bands(1100, 2900, width=12.0, grid=np.arange(500.0, 4000.0, 2.0))
    slope = 0.3 + 0.2 * (clean.wavenumber / 4000) ** 2
    noise = noise * np.random.default_rng(0).normal(size=len(slope))
    corrected = subtract_baseline(
        Spectrum(clean.wavenumber, clean.intensity + slope + noise, measured=True)
    )
    assert pearson(corrected, clean) > 0.998
    assert corrected.area == pytest.approx(clean.area, rel=0.05)


def test_csv_round_trip(tmp_path):
    spectrum = mean_spectrum([bands(1000), bands(1010)], "methanol, 300 K")
    write_csv(tmp_path / "s.csv", spectrum)
    again = read_csv(tmp_path / "s.csv")
    assert (again.label, again.unit) == (spectrum.label, spectrum.unit)
    np.testing.assert_allclose(again.intensity, spectrum.intensity, rtol=1e-7, atol=1e-12)
