"""What the normal modes do along MD: densities of states, kinetic energies, and what these are for.

What makes the height of a band unsure is largely how much energy its modes happen to have had.
Their kinetic energies are recorded, and equipartition says what they are on average, k_B T/2,
whatever the potential: velocities do not depend on positions, and the rates of the normal
coordinates are orthonormal combinations of the mass-weighted velocities.
"""

from dataclasses import replace

import numpy as np

from palirs.spectra.infrared import block_edges, lag_products, spectral_transform
from palirs.spectra.spectrum import Spectrum
from palirs.units import BOLTZMANN, SPEED_OF_LIGHT

FLOOR = 1e-3
"""Of the highest density of all modes: where there is less, no mode moves."""


def mode_densities(
    rates: np.ndarray, timestep: float, *, max_lag: float = 1000.0, window: str = "hann"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectrum of the kinetic energy of each normal mode, normalised to unit area.

    Its maximum is the anharmonic frequency of the mode at that temperature.

    Parameters
    ----------
    rates : numpy.ndarray
        Velocities of the normal coordinates, ``[trajectories, frames, modes]``, in any unit.
    timestep : float
        Between frames [fs].
    max_lag : float
        Depth of the autocorrelation [fs]; bands are as wide as those of a spectrum of this depth.
    window : str
        As in :func:`palirs.spectra.infrared_spectrum`.

    Returns
    -------
    wavenumber : numpy.ndarray
        Shape ``[points]`` [cm⁻¹], the grid of a spectrum made with the same time step and depth.
    density : numpy.ndarray
        Shape ``[modes, points]`` [1/cm⁻¹].

    Raises
    ------
    ValueError
        For a wrong shape, or a trajectory that is shorter than ``max_lag``.
    """
    values = np.asarray(rates, dtype=float)
    lags = round(max_lag / timestep)
    if values.ndim != 3 or values.shape[1] < lags + 1:
        raise ValueError(
            f"rates have shape {values.shape}; it should be [trajectories, frames, modes], at "
            f"least {lags + 1} frames"
        )
    correlations = []
    for mode in range(values.shape[2]):
        products = [
            lag_products(trajectory[:, mode : mode + 1], 0, len(trajectory), lags)
            for trajectory in values
        ]
        correlations.append(
            sum(sums for sums, _ in products) / sum(counts for _, counts in products)
        )
    wavenumber, density = spectral_transform(np.array(correlations), timestep, window)
    area = np.trapezoid(density, wavenumber, axis=1)
    return wavenumber, density / np.where(area > 0, area, 1.0)[:, None]


def by_equipartition(
    spectrum: Spectrum, energies: np.ndarray, densities: tuple[np.ndarray, np.ndarray]
) -> Spectrum:
    """Divide intensities by the kinetic energy of the modes that move there, over k_B T/2.

    e(ν̃) = Σ_m ρ_m(ν̃) E_m / Σ_m ρ_m(ν̃) in each block, with the density ρ_m and the kinetic energy
    E_m of mode m over k_B T/2; its expectation is one. This is the ratio estimator of a mean that
    uses a known one (Cochran 1977, Sampling Techniques, 6.2), R = Ī/ē, with the deviations of the
    blocks to first order, (I − R e)/ē. Bands of fundamentals become surer, overtones hardly.

    Parameters
    ----------
    spectrum : Spectrum
        Its blocks, if it has any, are plain parts of the trajectories, each of the same weight.
    energies : numpy.ndarray
        Of :func:`mode_energies`, ``[blocks, modes]``.
    densities : tuple
        Wavenumbers ``[points]`` of the spectrum, and densities ``[modes, points]``.
    """
    shares = shares_of_modes(spectrum.wavenumber, densities, np.ones(energies.shape[1]))
    energy = 1 + (energies - 1) @ shares
    mean = energy.mean(axis=0)
    intensity = spectrum.intensity / mean
    if spectrum.blocks is None:
        return replace(spectrum, intensity=intensity)
    deviations = (spectrum.blocks - intensity * energy) / mean
    return replace(spectrum, intensity=intensity).with_blocks(intensity + deviations)


def shares_of_modes(
    grid: np.ndarray, densities: tuple[np.ndarray, np.ndarray], weights: np.ndarray
) -> np.ndarray:
    """Return the share of each mode in what moves at each wavenumber, ``[modes, points]``.

    Shares add up to one where modes move, and to less where they hardly do. ``weights`` are of the
    modes, such as their intensities, ``[modes]``.
    """
    wavenumber, density = densities
    moving = np.array([np.interp(grid, wavenumber, row) for row in density.clip(0)])
    moving *= np.asarray(weights)[:, None]
    total = moving.sum(axis=0)
    return moving / (total + FLOOR * total.max())


def mode_energies(
    rates: np.ndarray,
    densities: tuple[np.ndarray, np.ndarray],
    *,
    interval: float,
    timestep: float,
    temperature: float,
) -> np.ndarray:
    """Return kinetic energies in blocks over what they are on average, ``[blocks, modes]``.

    On average that is (1 − (πcν̃Δt)²) k_B T/2 of a harmonic oscillator by BAOAB (and of centroids by
    BCOCB), whatever the friction: positions are exact, velocities at whole steps a little too slow
    (Leimkuhler and Matthews 2013, doi:10.1063/1.4802990), 2.7 % of the energy at 3500 cm⁻¹ with 0.5
    fs.

    Parameters
    ----------
    rates : numpy.ndarray
        Of the normal coordinates, ``[trajectories, frames, modes]`` [eV^1/2].
    densities : tuple
        Wavenumbers ``[points]`` [cm⁻¹] and densities ``[modes, points]``.
    interval, timestep : float
        Between frames, and of the integrator [fs].
    temperature : float
        [K].
    """
    edges = block_edges(rates.shape[1] - 1, interval)
    squares = (
        np.add.reduceat(np.square(each[:-1], dtype=float), edges[:-1], axis=0) for each in rates
    )
    means = np.array([each / np.diff(edges)[:, None] for each in squares])
    wavenumber, density = densities
    slow = (np.pi * SPEED_OF_LIGHT * wavenumber * timestep) ** 2
    expected = 1 - np.trapezoid(density * slow, wavenumber, axis=1)
    return means.reshape(-1, rates.shape[2]) / (BOLTZMANN * temperature * expected)
