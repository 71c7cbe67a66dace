"""Broadening of measured spectra to the resolution of computed ones."""

from dataclasses import replace

import numpy as np

from palirs.spectra import lags
from palirs.spectra.spectrum import Spectrum
from palirs.units import SPEED_OF_LIGHT

STEP = 1.0
"""Step of the grid for broadening [cm⁻¹], unless the measurement is finer."""


def at_resolution(
    spectrum: Spectrum, max_lag: float, *, window: str = "hann", friction: float = 0.0
) -> Spectrum:
    """Broaden a spectrum like one computed from an autocorrelation of finite depth.

    Each line gets the shape that :func:`palirs.spectra.infrared_spectrum` gives it: its Fourier
    transform is multiplied by the window of the lags, and by exp(−γt/2), the damping of Langevin
    dynamics. A Hann window of 1000 fs makes lines 33 cm⁻¹ wide.

    Parameters
    ----------
    spectrum : Spectrum
        Measured, on any grid.
    max_lag : float
        Depth of the autocorrelation [fs].
    window : str
        Of the lags.
    friction : float
        γ of the MD [ps⁻¹].

    Returns
    -------
    Spectrum
        On an even grid, with the same area.
    """
    x = spectrum.wavenumber
    step = min(STEP, float(np.median(np.diff(x))))
    grid = x[0] + step * np.arange(int((x[-1] - x[0]) / step) + 1)
    y = spectrum.on(grid)
    edge = round(10 / (max_lag * SPEED_OF_LIGHT * step))  # ten line widths
    from scipy.fft import next_fast_len

    size = int(next_fast_len(len(y) + 2 * edge, real=True) or 0)
    # beyond the ends nothing is known; a jump to zero would ring
    padded = np.pad(y, (edge, size - len(y) - edge), mode="edge")
    lag = np.fft.rfftfreq(size, step) / SPEED_OF_LIGHT  # [fs]
    times = np.arange(1024) * max_lag / 1024
    weights = np.interp(lag, times, lags.window(window, 1024), right=0.0)
    decay = weights * np.exp(-0.5e-3 * friction * lag)
    intensity = np.fft.irfft(np.fft.rfft(padded, n=size) * decay, n=size)[edge : edge + len(grid)]
    return replace(spectrum, wavenumber=grid, intensity=intensity, error=None, blocks=None)
