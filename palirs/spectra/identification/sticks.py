"""Spectra of harmonic vibrations, with the line shape of spectra from MD."""

from dataclasses import replace

import numpy as np

from palirs.spectra.resolution import at_resolution
from palirs.spectra.spectrum import Spectrum

HIGHEST = 5000.0
"""Where they end [cm⁻¹]."""
STEP = 1.0
"""Of their grid [cm⁻¹]."""


def stick_spectrum(
    frequencies: np.ndarray,
    intensities: np.ndarray,
    max_lag: float,
    *,
    window: str = "hann",
    friction: float = 0.0,
    label: str = "",
) -> Spectrum:
    """Return the spectrum of harmonic vibrations, each a line of the width of spectra from MD.

    Parameters
    ----------
    frequencies : numpy.ndarray
        Shape ``[modes]`` [cm⁻¹]; imaginary ones, which are negative, are left out.
    intensities : numpy.ndarray
        Shape ``[modes]`` [km/mol], the areas of the lines.
    max_lag, window, friction
        Line shape, as in :func:`palirs.spectra.resolution.at_resolution` [fs, ps⁻¹].
    label : str
        Of the spectrum.
    """
    grid = np.arange(0.0, HIGHEST + STEP, STEP)
    drawn = (frequencies > 0) & (frequencies < HIGHEST)
    left = (frequencies[drawn] / STEP).astype(int)
    share = frequencies[drawn] / STEP - left
    intensity = np.zeros(len(grid))
    np.add.at(intensity, left, intensities[drawn] * (1 - share) / STEP)
    np.add.at(intensity, left + 1, intensities[drawn] * share / STEP)
    lines = at_resolution(Spectrum(grid, intensity), max_lag, window=window, friction=friction)
    return replace(lines, label=label)
