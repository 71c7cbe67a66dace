"""From a dipole trajectory to the infrared spectrum through its autocorrelation."""

from dataclasses import replace
from typing import Literal

import numpy as np
from scipy.signal import get_window

from palirs.spectra.spectrum import Spectrum
from palirs.units import BOLTZMANN, EV_PER_AMU_A2_FS2, KM_PER_MOL, SPEED_OF_LIGHT


def autocorrelation(signal: np.ndarray, max_lag: int) -> np.ndarray:
    """Autocorrelation of a vector signal by the Wiener-Khinchin theorem.

    C(k) = Σ_t x(t)·x(t + k) / T, the biased estimate over the T steps, whose spectrum is never negative.

    Parameters
    ----------
    signal : numpy.ndarray
        Shape ``[steps, components]`` or ``[steps]``.
    max_lag : int
        Number of lags returned; at most ``steps``.

    Returns
    -------
    numpy.ndarray
        Shape ``[max_lag]``, in the square of the signal's unit.
    """
    values = np.asarray(signal, dtype=float).reshape(len(signal), -1)
    if not 1 <= max_lag <= len(values):
        raise ValueError(f"max_lag = {max_lag}: it should lie between 1 and the number of steps, {len(values)}")
    size = 2 ** int(np.ceil(np.log2(2 * len(values))))
    transform = np.fft.rfft(values, n=size, axis=0)
    power = (transform.real**2 + transform.imag**2).sum(axis=1)
    return np.fft.irfft(power, n=size)[:max_lag] / len(values)


def infrared_spectrum(
    dipole: np.ndarray,
    timestep: float,
    *,
    temperature: float = 300.0,
    max_lag: float = 1000.0,
    window: str = "hann",
    method: Literal["physical", "schnetpack"] = "physical",
) -> Spectrum:
    """Infrared absorption from the autocorrelation of the time derivative of the dipole.

    ``physical``: A(ν̃) = N_A π/(3 c² 4πε₀) · S(ν̃)/(k_B T) with S(ν̃) = 4c ∫₀^∞ ⟨μ̇(0)·μ̇(t)⟩ w(t) cos(2πcν̃t) dt, normalised so that the
    area of a band of a harmonic oscillator is its harmonic intensity in km/mol (Thomas et al. 2013, doi:10.1039/C3CP44302G, with classical
    statistics). μ̇ is a difference of neighbouring frames; its damping (sin(x/2)/(x/2))², x = 2πcν̃Δt, is divided out.

    ``schnetpack``: the recipe of SchNetPack 2.1.1, for comparison with results obtained with it: central differences, every Cartesian
    component standardised on its own before summing (so the result depends on how the molecule is turned and has no absolute unit),
    squared-cosine window, zero padding to four times the length.

    Parameters
    ----------
    dipole : numpy.ndarray
        Shape ``[steps, 3]`` [e·Å].
    timestep : float
        Between frames of ``dipole`` [fs].
    temperature : float
        Of the MD [K].
    max_lag : float
        Depth of the autocorrelation [fs].
    window : str
        Name of a window that :func:`scipy.signal.get_window` knows; its falling half is applied to the lags.
    method : {"physical", "schnetpack"}
        Which recipe.

    Returns
    -------
    Spectrum
        From 0 to the Nyquist wavenumber; [km/mol per cm⁻¹] for ``physical``.

    Raises
    ------
    ValueError
        For a wrong shape, numbers that are not finite, or a trajectory that is shorter than ``max_lag``.
    """
    values = np.asarray(dipole, dtype=float)
    if values.ndim != 2 or values.shape[1] != 3:
        raise ValueError(f"dipole has shape {values.shape}; it should be [steps, 3]")
    if not np.isfinite(values).all():
        raise ValueError("dipole holds numbers that are not finite")
    lags = round(max_lag / timestep)
    if not timestep > 0 or not temperature > 0 or lags < 2:
        raise ValueError(
            f"timestep = {timestep:g} fs, temperature = {temperature:g} K, max_lag = {max_lag:g} fs: they should be positive, and "
            f"max_lag at least two time steps"
        )
    if len(values) < lags + 2:
        raise ValueError(
            f"the trajectory has {len(values) * timestep:g} fs, less than max_lag = {max_lag:g} fs; run longer or lower max_lag"
        )
    if method == "schnetpack":
        return _schnetpack(values, timestep, lags)
    if method != "physical":
        raise ValueError(f"method = {method!r}: it should be 'physical' or 'schnetpack'")
    flux = np.diff(values, axis=0) / timestep
    decay = get_window(window, 2 * lags, fftbins=True)[lags:]
    correlation = autocorrelation(flux, lags) * decay / decay[0]
    size = 2 ** int(np.ceil(np.log2(8 * lags)))
    wavenumber = np.fft.rfftfreq(size, timestep * SPEED_OF_LIGHT)
    cosine = 2 * np.fft.rfft(correlation, n=size).real - correlation[0]
    density = 2 * SPEED_OF_LIGHT * timestep * cosine
    damping = np.sinc(wavenumber * SPEED_OF_LIGHT * timestep) ** 2
    intensity = KM_PER_MOL * EV_PER_AMU_A2_FS2 / (BOLTZMANN * temperature) * density / damping
    return Spectrum(wavenumber, intensity, label="IR")


def undo_verlet_shift(spectrum: Spectrum, timestep: float) -> Spectrum:
    """Move a spectrum from the frequencies of the integrator to those of the molecule.

    Velocity Verlet and BAOAB turn a harmonic line ν into ν_MD = ν (2/x) asin(x/2), x = 2πcνΔt: +10 cm⁻¹ at 3000 and +19 cm⁻¹ at
    3700 cm⁻¹ for 0.5 fs. The inverse is x = 2 sin(x_MD/2); intensities are scaled so that areas stay.

    Parameters
    ----------
    spectrum : Spectrum
        From MD.
    timestep : float
        Of the integrator [fs], not of the dipole frames.
    """
    phase = 2 * np.pi * SPEED_OF_LIGHT * timestep * spectrum.wavenumber
    true = 2 * np.sin(phase / 2) / (2 * np.pi * SPEED_OF_LIGHT * timestep)
    stretch = 1 / np.cos(phase / 2)
    monotonic = phase < np.pi * 0.99
    corrected = np.interp(spectrum.wavenumber, true[monotonic], (spectrum.intensity * stretch)[monotonic], right=0.0)
    return replace(spectrum, intensity=corrected)


def _schnetpack(dipole: np.ndarray, timestep: float, lags: int) -> Spectrum:
    flux = (dipole[2:] - dipole[:-2]) / (2 * timestep)
    spread = flux.std(axis=0)
    standard = (flux - flux.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    correlation = autocorrelation(standard, min(lags, len(flux) - 1))
    count = len(correlation)
    padded = np.zeros(4 * count)
    padded[:count] = correlation * np.cos(0.5 * np.pi * np.arange(count) / (count - 1)) ** 2
    mirrored = np.concatenate([padded[::-1], padded])
    intensity = np.abs(timestep * np.fft.fft(mirrored)[: 4 * count])
    wavenumber = np.arange(4 * count) / (8 * count * timestep * SPEED_OF_LIGHT)
    return Spectrum(wavenumber, intensity, label="IR (SchNetPack)", unit="arb. u.")
