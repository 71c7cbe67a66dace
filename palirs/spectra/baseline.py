"""Baseline of measured spectra."""

from dataclasses import replace

import numpy as np
from pybaselines import Baseline

from palirs.spectra.spectrum import Spectrum

STIFFNESS = 200.0
"""Length [cm⁻¹] below which the baseline does not bend; bands are narrower, drifts of the instrument are wider."""


def subtract_baseline(spectrum: Spectrum, stiffness: float = STIFFNESS) -> Spectrum:
    """Take a smooth baseline away with asPLS (Zhang et al. 2020, doi:10.1080/00387010.2020.1730908).

    Unlike arPLS it also holds for records without noise, such as digitised charts.

    Parameters
    ----------
    spectrum : Spectrum
        Measured, on a nearly even grid.
    stiffness : float
        Scale of the smoothing [cm⁻¹]; the penalty is its fourth power in grid points, so it does not depend on the grid.
    """
    step = float(np.median(np.diff(spectrum.wavenumber)))
    baseline, _ = Baseline(spectrum.wavenumber).aspls(spectrum.intensity, lam=(stiffness / step) ** 4)
    return replace(spectrum, intensity=spectrum.intensity - baseline)
