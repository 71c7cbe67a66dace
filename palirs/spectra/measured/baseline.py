"""Baseline correction of measured spectra."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from palirs.spectra.measured.reading import read_spectrum
from palirs.spectra.spectrum import Spectrum

STIFFNESS = 200.0
"""Length scale of the baseline [cm⁻¹]: bands are narrower, instrument drifts are wider."""
STEP = 1.0
"""Step of the grid on which the baseline is fitted [cm⁻¹]."""
OVERLAP = 100.0
"""Least overlap of spectrum and window [cm⁻¹]."""


def subtract_baseline(spectrum: Spectrum, stiffness: float = STIFFNESS) -> Spectrum:
    """Subtract a smooth baseline by asPLS (Zhang et al. 2020, doi:10.1080/00387010.2020.1730908).

    Unlike arPLS it also works for records without noise, such as digitised charts.

    Parameters
    ----------
    spectrum : Spectrum
        Measured, on any grid: the baseline is fitted on an even grid of :data:`STEP`. On the grid
        of a record over wavelength it would be too stiff at one end and follow the bands at the
        other.
    stiffness : float
        Scale of the smoothing [cm⁻¹]; the penalty is its fourth power in grid points, so it does
        not depend on the grid.
    """
    from pybaselines import Baseline  # takes two seconds, and most studies have no experiment

    low, high = spectrum.wavenumber[0], spectrum.wavenumber[-1]
    grid = np.linspace(low, high, max(10, round((high - low) / STEP) + 1))
    with warnings.catch_warnings():  # no point of a record without noise lies below its baseline
        warnings.filterwarnings("ignore", "almost all baseline points are below the data")
        baseline, _ = Baseline(grid).aspls(
            spectrum.on(grid), lam=(stiffness / (grid[1] - grid[0])) ** 4
        )
    return replace(
        spectrum, intensity=spectrum.intensity - np.interp(spectrum.wavenumber, grid, baseline)
    )


def measured(path: str | Path, window: tuple[float, float]) -> Spectrum:
    """Read a measured spectrum and subtract its baseline.

    Raises
    ------
    ValueError
        If the file cannot be read or does not cover enough of the window [cm⁻¹].
    """
    spectrum = read_spectrum(path)
    low, high = max(window[0], spectrum.wavenumber[0]), min(window[1], spectrum.wavenumber[-1])
    if high - low < OVERLAP:
        raise ValueError(
            f"{path}: from {spectrum.wavenumber[0]:.0f} to {spectrum.wavenumber[-1]:.0f} cm⁻¹, of "
            f"spectrum.window {window[0]:.0f} to {window[1]:.0f} that is "
            f"{max(0.0, high - low):.0f}; at least {OVERLAP:.0f} are needed"
        )
    return subtract_baseline(spectrum)
