"""Baseline of measured spectra."""

from dataclasses import replace

import numpy as np
from pybaselines import Baseline

from palirs.spectra.spectrum import Spectrum

STIFFNESS = 200.0
"""Length [cm⁻¹] below which the baseline does not bend; bands are narrower, drifts of the instrument are wider."""


def subtract_baseline(spectrum: Spectrum, stiffness: float = STIFFNESS) -> Spectrum:
    """Take a smooth baseline away with arPLS (Baek et al. 2015, doi:10.1039/C4AN01061B) and clip what is left below zero.

    Parameters
    ----------
    spectrum : Spectrum
        Measured, on a nearly even grid.
    stiffness : float
        Scale of the smoothing [cm⁻¹]; the penalty is its fourth power in grid points, so it does not depend on the grid.
    """
    step = float(np.median(np.diff(spectrum.wavenumber)))
    baseline, _ = Baseline(spectrum.wavenumber).arpls(spectrum.intensity, lam=(stiffness / step) ** 4)
    return replace(spectrum, intensity=np.clip(spectrum.intensity - baseline, 0.0, None))
