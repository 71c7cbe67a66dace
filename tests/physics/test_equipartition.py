import logging
from dataclasses import replace

import numpy as np
import pytest

from palirs.engines import TBLite
from palirs.production import Production, Run, spectrum_of
from palirs.settings import MD, Spectroscopy
from palirs.spectra.density import by_equipartition, mode_densities, mode_energies
from palirs.spectra.lags import width_of_friction
from palirs.spectra.spectrum import Spectrum
from palirs.units import EV_PER_AMU_A2_FS2, KM_PER_MOL
from tests.physics.oscillators import langevin

PLACES = np.array([1000.0, 1700.0, 3000.0])
DERIVATIVES = np.array([[0.5, 0.0, 0.0], [0.0, 0.3, 0.1], [0.2, 0.2, 0.4]])


def trajectories(count, picoseconds, seed, timestep=1.0, friction=1.0):
    """Dipoles, and the rates of three modes [eV^1/2]."""
    positions, velocities = langevin(
        PLACES, count, picoseconds, seed, timestep=timestep, friction=friction
    )
    return positions @ DERIVATIVES, velocities * np.sqrt(EV_PER_AMU_A2_FS2)


def heights(spectrum):
    """Intensities and their errors at the three bands."""
    at = [int(np.abs(spectrum.wavenumber - place).argmin()) for place in PLACES]
    return spectrum.intensity[at], spectrum.error[at]


def areas(spectrum):
    """Areas of the three bands over their harmonic intensities."""
    found = [spectrum.within(place - 200, place + 200).area for place in PLACES]
    return np.array(found) / (KM_PER_MOL * (DERIVATIVES**2).sum(axis=1))


def settings(**changes):
    return Spectroscopy(timestep=1.0, friction=1.0, max_lag=1000.0, equipartition=True, **changes)


def test_kinetic_energies_are_those_of_the_integrator():
    """Velocities at whole steps are too slow: by 8 % of the energy at 3000 cm⁻¹."""
    _, rates = trajectories(400, 10, seed=1, friction=5.0)
    densities = mode_densities(rates, 1.0)
    energies = mode_energies(rates, densities, interval=1.0, timestep=1.0, temperature=300.0)
    assert energies.shape == (800, 3)
    error = energies.std(axis=0) / 800**0.5
    assert (error < 0.012).all()
    assert (np.abs(energies.mean(axis=0) - 1) < 3 * error).all()


def test_bands_are_surer_as_high_as_before_and_their_error_is_right():
    """Eighty repeats of eight trajectories of 15 ps."""
    dipoles, rates = trajectories(640, 15, seed=2)
    found = {
        known: np.array(
            [
                heights(spectrum_of(dipoles[part], settings(), 300.0, "", rates=moves))
                for part in np.arange(640).reshape(80, 8)
                for moves in [rates[part] if known else None]
            ]
        )
        for known in (False, True)
    }
    before, after = found[False], found[True]
    spread = after[:, 0].std(axis=0, ddof=1)
    assert (spread < 0.25 * before[:, 0].std(axis=0, ddof=1)).all(), "sixteen times the MD"
    whole = areas(spectrum_of(dipoles, settings(), 300.0, "", rates=rates))
    outside = 1 - 2 / np.pi * np.arctan(200 / (0.5 * width_of_friction(1.0)))
    np.testing.assert_allclose(whole, 1 - outside, atol=0.006, err_msg="no bias")
    mean = after[:, 0].mean(axis=0)
    inside = np.abs(after[:, 0] - mean) < after[:, 1]
    assert 0.57 < inside.mean() < 0.77, "the error is as large as it should be"


def test_a_mode_says_nothing_of_the_band_of_another():
    """A hot mode lowers its own band only; a spectrum without blocks has no error, but the rest."""
    grid = np.arange(0.0, 4000.0, 5.0)
    density = np.array([np.exp(-0.5 * ((grid - place) / 10) ** 2) for place in PLACES])
    density /= np.trapezoid(density, grid, axis=1)[:, None]
    spectrum = Spectrum(grid, density.sum(axis=0))
    densities = (grid, density)
    energies = np.array([[1.3, 1.0, 0.9], [1.1, 1.0, 0.9]])
    alone = by_equipartition(spectrum, energies, densities)
    assert alone.blocks is None and alone.error is None
    blocks = spectrum.with_blocks(np.array([spectrum.intensity * 1.3, spectrum.intensity * 0.7]))
    found = by_equipartition(blocks, energies, densities)
    at = [int(np.abs(grid - place).argmin()) for place in PLACES]
    np.testing.assert_allclose(
        found.intensity[at] / spectrum.intensity[at], 1 / np.array([1.2, 1.0, 0.9]), rtol=1e-3
    )
    np.testing.assert_allclose(found.blocks.mean(axis=0), found.intensity, rtol=1e-12)
    np.testing.assert_array_equal(alone.intensity, found.intensity)


@pytest.mark.parametrize(
    "changes", [{"thermostat": "nose_hoover"}, {"conformers": "md"}, {"equipartition": False}]
)
def test_where_it_is_not_certain_intensities_stay(changes):
    dipoles, rates = trajectories(2, 10, seed=3)
    asked = Spectroscopy(timestep=1.0, **({"equipartition": True} | changes))
    plain = spectrum_of(dipoles, asked, 300.0, "")
    same = spectrum_of(dipoles, asked, 300.0, "", rates=rates)
    np.testing.assert_array_equal(plain.intensity, same.intensity)
    assert "equipartition" not in same.made
    divided = spectrum_of(dipoles, settings(), 300.0, "", rates=rates)
    assert divided.made == "physical, hann over 1000 fs, harmonic, equipartition"
    assert (divided.intensity != plain.intensity).any()


def test_trajectories_without_rates_keep_their_intensities_and_the_log_says_so(tmp_path, caplog):
    dipoles, rates = trajectories(2, 10, seed=3)
    production = Production(
        source=TBLite(),
        model="reference",
        md=MD(),
        settings=settings(),
        temperature=300.0,
        seed=1,
        directory=tmp_path,
        kind="reference",
        label="GFN2",
    )
    zeros = np.zeros(2)
    run = Run("water", dipoles, zeros, zeros, zeros, ["", ""], rates=rates)
    with caplog.at_level(logging.WARNING):
        divided = production.spectrum(run)
        assert not caplog.messages
        plain = production.spectrum(Run("water", dipoles, zeros, zeros, zeros, ["", ""]))
    assert "water: trajectories began without the rates" in caplog.text
    usual = spectrum_of(dipoles, replace(settings(), equipartition=False), 300.0, "")
    np.testing.assert_array_equal(plain.intensity, usual.intensity)
    assert plain.made == usual.made == "physical, hann over 1000 fs, harmonic"
    assert (divided.intensity != plain.intensity).any()


def test_rates_that_are_not_those_of_equilibrium_divide_nothing(caplog):
    """Such as modes whose atoms were exchanged for others of another mass."""
    dipoles, rates = trajectories(20, 15, seed=4, friction=2.5)
    asked = replace(settings(), friction=2.5)
    with caplog.at_level(logging.WARNING):
        assert "equipartition" in spectrum_of(dipoles, asked, 300.0, "", rates=rates).made
        assert not caplog.messages
        hot = rates * np.sqrt([1.0, 1.6, 1.0])
        found = spectrum_of(dipoles, asked, 300.0, "", rates=hot, molecule="water")
    assert "water: mode 2 has 1." in caplog.text
    assert "equipartition" not in found.made
    usual = spectrum_of(dipoles, replace(asked, equipartition=False), 300.0, "")
    np.testing.assert_array_equal(found.intensity, usual.intensity)


def test_with_the_energy_divided_out_the_same_md_is_expected_to_be_surer():
    usual = Spectroscopy(production=MD(replicas=40, length=15.0), friction=2.5, max_lag=1428.0)
    surer = replace(usual, equipartition=True)
    assert usual.expected_error == pytest.approx(0.049, abs=0.001)
    assert surer.expected_error == pytest.approx(0.036, abs=0.001)
    assert replace(surer, conformers="md").expected_error == usual.expected_error
