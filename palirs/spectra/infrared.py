"""From a dipole trajectory to the infrared spectrum through its autocorrelation."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from palirs.spectra import lags as lag_functions
from palirs.spectra.spectrum import Spectrum, mean_spectrum
from palirs.units import BOLTZMANN, EV_PER_AMU_A2_FS2, KM_PER_MOL, SPEED_OF_LIGHT

BLOCK = 5000.0
"""Of a trajectory, for the error of its spectrum [fs]: longer than a vibration keeps its energy,
which is 1/friction, 0.4 to 1 ps."""


@dataclass(frozen=True)
class Strata:
    """Trajectories of several kinds, and how much each kind counts.

    Attributes
    ----------
    members : tuple of int
        The kind of each trajectory, from zero.
    shares : tuple of float
        Of each kind, in any unit; kinds without a trajectory are left out.
    """

    members: tuple[int, ...]
    shares: tuple[float, ...]


def autocorrelation(signal: np.ndarray, max_lag: int, *, biased: bool = False) -> np.ndarray:
    """Autocorrelation of a vector signal by the Wiener-Khinchin theorem.

    C(k) = Σ_t x(t)·x(t + k) / (T − k), the mean over the T − k products there are. ``biased``
    divides by T: peaks then grow with the length of the trajectory.

    Parameters
    ----------
    signal : numpy.ndarray
        Shape ``[steps, components]`` or ``[steps]``.
    max_lag : int
        Number of lags returned; at most ``steps``.
    biased : bool
        Divide by T.

    Returns
    -------
    numpy.ndarray
        Shape ``[max_lag]``, in the square of the signal's unit.
    """
    values = np.asarray(signal, dtype=float).reshape(len(signal), -1)
    if not 1 <= max_lag <= len(values):
        raise ValueError(
            f"max_lag = {max_lag}: it should lie between 1 and the number of steps, {len(values)}"
        )
    sums, counts = lag_products(values, 0, len(values), max_lag)
    return sums / len(values) if biased else sums / counts


def lag_products(
    values: np.ndarray, begin: int, end: int, lags: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return Σ x(t)·x(t + k) over begin ≤ t < end, and the number of products, for each lag k.

    ``values`` has shape ``[steps, components]``.
    """
    from scipy.fft import next_fast_len  # takes long to import

    size = next_fast_len(end - begin + 2 * lags, real=True)
    early = np.fft.rfft(values[begin:end], n=size, axis=0)
    late = np.fft.rfft(values[begin : end + lags], n=size, axis=0)
    sums = np.fft.irfft((early.conj() * late).sum(axis=1), n=size)[:lags]
    return sums, np.clip(len(values) - np.arange(lags), begin, end) - float(begin)


def infrared_spectrum(
    dipole: np.ndarray,
    timestep: float,
    *,
    temperature: float = 300.0,
    max_lag: float = 1000.0,
    window: str = "hann",
    padding: int = 4,
    quantum_correction: str = "harmonic",
    method: Literal["physical", "schnetpack"] = "physical",
    strata: Strata | None = None,
) -> Spectrum:
    """Infrared absorption from the autocorrelation of the time derivative of the dipole.

    ``physical``: A(ν̃) = N_A π/(3 c² 4πε₀) · S(ν̃)/(k_B T) with S(ν̃) = 4c ∫₀^∞ ⟨μ̇(0)·μ̇(t)⟩ w(t)
    cos(2πcν̃t) dt, normalised so that the area of a band of a harmonic oscillator is its harmonic
    intensity in km/mol (Thomas et al. 2013, doi:10.1039/C3CP44302G, with classical statistics). μ̇
    is a difference of neighbouring frames; its damping (sin(x/2)/(x/2))², x = 2πcν̃Δt, is divided
    out.

    C(k) is the mean over all products of all trajectories, so the spectrum depends neither on their
    length nor on how the time is cut into them. Its error: every product belongs to the block in
    which its earlier factor lies; each block's deviation from the mean goes through the same
    transform (the ratio estimator of Cochran 1977, Sampling Techniques, 6.4).

    ``schnetpack``: the recipe of SchNetPack 2.1.1, for comparison with results obtained with it:
    central differences, every Cartesian component standardised on its own before summing (so the
    result depends on how the molecule is turned and has no absolute unit), squared-cosine window,
    zero padding to four times the length.

    Parameters
    ----------
    dipole : numpy.ndarray
        Shape ``[steps, 3]``, or ``[trajectories, steps, 3]`` [e·Å].
    timestep : float
        Between frames of ``dipole`` [fs].
    temperature : float
        Of the MD [K].
    max_lag : float
        Depth of the autocorrelation [fs].
    window : {"hann", "blackman", "gaussian", "none"}
        Of the lags, see :mod:`palirs.spectra.lags`.
    padding : int
        Zeros are appended to the autocorrelation up to at least so many times its length; more lets
        points lie closer.
    quantum_correction : {"harmonic", "standard", "schofield"}
        See :func:`palirs.spectra.lags.correction`.
    method : {"physical", "schnetpack"}
        Which recipe.
    strata : Strata, optional
        Trajectories count by their kind, of ``physical``: the mean is that over the kinds, its
        error that of a stratified sample (Cochran 1977, 5.3). Without them every trajectory counts
        alike.

    Returns
    -------
    Spectrum
        From 0 to the Nyquist wavenumber; [km/mol per cm⁻¹] for ``physical``, with the standard
        error of the mean over blocks of :data:`BLOCK`.

    Raises
    ------
    ValueError
        For a wrong shape, numbers that are not finite, or a trajectory that is shorter than
        ``max_lag``.
    """
    values = np.asarray(dipole, dtype=float)
    if values.ndim not in (2, 3) or values.shape[-1] != 3:
        raise ValueError(
            f"dipole has shape {values.shape}; it should be [steps, 3] or [trajectories, steps, 3]"
        )
    values = values.reshape(-1, *values.shape[-2:])
    if not np.isfinite(values).all():
        raise ValueError("dipole holds numbers that are not finite")
    lags = round(max_lag / timestep)
    if not timestep > 0 or not temperature > 0 or lags < 2:
        raise ValueError(
            f"timestep = {timestep:g} fs, temperature = {temperature:g} K, max_lag = {max_lag:g} "
            "fs: they should be positive, and max_lag at least two time steps"
        )
    if values.shape[1] < lags + 2 or not len(values):
        raise ValueError(
            f"the trajectory has {values.shape[1] * timestep:g} fs, less than max_lag = "
            f"{max_lag:g} fs; run longer or lower max_lag"
        )
    if method == "schnetpack":
        return mean_spectrum(
            [_schnetpack(trajectory, timestep, lags) for trajectory in values], "IR (SchNetPack)"
        )
    if method != "physical":
        raise ValueError(f"method = {method!r}: it should be 'physical' or 'schnetpack'")
    sums, counts = _blocks(np.diff(values, axis=1) / timestep, lags, BLOCK / timestep)
    correlation, deviations = _mean(
        sums, counts, len(values), strata or Strata((0,) * len(values), (1.0,))
    )
    wavenumber, transformed = spectral_transform(
        np.vstack([correlation, deviations]), timestep, window, padding
    )
    damping = np.sinc(wavenumber * SPEED_OF_LIGHT * timestep) ** 2
    damping = damping / lag_functions.correction(quantum_correction, wavenumber, temperature)
    intensity, *blocks = transformed * (
        KM_PER_MOL * EV_PER_AMU_A2_FS2 / (BOLTZMANN * temperature) / damping
    )
    return Spectrum(wavenumber, intensity, label="IR").with_blocks(intensity + np.array(blocks))


def spectral_transform(
    correlation: np.ndarray, timestep: float, window: str, padding: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Return wavenumbers [cm⁻¹] and 4c ∫₀^∞ C(t) w(t) cos(2πcν̃t) dt, whose area over ν̃ > 0 is C(0).

    ``correlation`` has shape ``[..., lags]``.

    Zeros are appended to ``padding`` times the length at least (of the lags to both sides): with
    four, neighbouring points of a line are told apart.
    """
    lags = correlation.shape[-1]
    size = 2 ** int(np.ceil(np.log2(2 * padding * lags)))
    weighted = correlation * lag_functions.window(window, lags)
    density = (
        2
        * SPEED_OF_LIGHT
        * timestep
        * (2 * np.fft.rfft(weighted, n=size, axis=-1).real - weighted[..., :1])
    )
    return np.fft.rfftfreq(size, timestep * SPEED_OF_LIGHT), density


def _blocks(flux: np.ndarray, lags: int, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Return sums and numbers of products of the blocks of all trajectories, ``[blocks, lags]``.

    ``flux`` has shape ``[trajectories, steps, 3]``.
    """
    steps = flux.shape[1]
    edges = np.linspace(0, steps, max(1, round(steps / length)) + 1).round().astype(int)
    products = [
        lag_products(trajectory, begin, end, lags)
        for trajectory in flux
        for begin, end in pairwise(edges.tolist())
    ]
    sums, counts = zip(*products, strict=True)
    return np.array(sums), np.array(counts)


def _mean(
    sums: np.ndarray, counts: np.ndarray, trajectories: int, strata: Strata
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean correlation ``[lags]`` and the deviations of the blocks, ``[blocks, lags]``.

    The variance of the mean is the sum over the kinds of that of their means, each from the blocks
    of its kind, n of N in all: deviations are multiplied by √(n(N − 1)/((n − 1)N)), and one over
    all blocks finds it. Where a kind has one block only, there is one deviation, of zero: nothing
    is known of the error.
    """
    kinds = np.repeat(strata.members, len(sums) // trajectories)
    shares = {kind: strata.shares[kind] for kind in np.unique(kinds).tolist()}
    correlation, deviations, every = np.zeros(sums.shape[1]), np.zeros_like(sums), len(sums)
    for kind, share in shares.items():
        own, part = kinds == kind, share / sum(shares.values())
        total, few = counts[own].sum(axis=0), int(own.sum())
        mean = sums[own].sum(axis=0) / total
        correlation += part * mean
        spread = np.sqrt(few * (every - 1) / ((few - 1) * every)) if few > 1 else 0.0
        deviations[own] = part * (sums[own] - mean * counts[own]) * (every / total) * spread
    alone = any((kinds == kind).sum() < 2 for kind in shares)
    return correlation, deviations[:1] * 0.0 if alone else deviations


def undo_verlet_shift(
    spectrum: Spectrum, timestep: float, thermostat: Literal["langevin", "nose_hoover"] = "langevin"
) -> Spectrum:
    """Correct wavenumbers and intensities of a spectrum for the error of the integrator.

    Velocity Verlet and BAOAB turn a harmonic line ν into ν_MD = ν (2/x) asin(x/2), x = 2πcνΔt: +10
    cm⁻¹ at 3000 and +19 cm⁻¹ at 3700 cm⁻¹ for 0.5 fs. The inverse is x = 2 sin(x_MD/2). BAOAB
    samples positions of a harmonic oscillator exactly (Leimkuhler and Matthews 2013,
    doi:10.1063/1.4802990), so the area of a band of dμ/dt is (ν_MD/ν)² times too large, 1 % at 3700
    cm⁻¹; a thermostat of the velocities at whole steps makes the positions wider by 1/cos²(x_MD/2)
    besides.

    Parameters
    ----------
    spectrum : Spectrum
        From MD.
    timestep : float
        Of the integrator [fs], not of the dipole frames.
    thermostat : {"langevin", "nose_hoover"}
        Of the MD.
    """
    phase = 2 * np.pi * SPEED_OF_LIGHT * timestep * spectrum.wavenumber
    true = 2 * np.sin(phase / 2) / (2 * np.pi * SPEED_OF_LIGHT * timestep)
    factor = np.sinc(phase / (2 * np.pi)) ** 2 / np.cos(
        phase / 2
    )  # of an area, and of the axis that shrinks
    if thermostat == "nose_hoover":
        factor = factor * np.cos(phase / 2) ** 2
    monotonic = phase < np.pi * 0.99

    def moved(values: np.ndarray) -> np.ndarray:
        return np.interp(
            spectrum.wavenumber, true[monotonic], (values * factor)[monotonic], right=0.0
        )

    corrected = replace(spectrum, intensity=moved(spectrum.intensity))
    return (
        corrected
        if spectrum.blocks is None
        else corrected.with_blocks(np.array([moved(block) for block in spectrum.blocks]))
    )


def _schnetpack(dipole: np.ndarray, timestep: float, lags: int) -> Spectrum:
    flux = (dipole[2:] - dipole[:-2]) / (2 * timestep)
    spread = flux.std(axis=0)
    standard = (flux - flux.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    correlation = autocorrelation(standard, min(lags, len(flux) - 1), biased=True)
    count = len(correlation)
    padded = np.zeros(4 * count)
    padded[:count] = correlation * np.cos(0.5 * np.pi * np.arange(count) / (count - 1)) ** 2
    mirrored = np.concatenate([padded[::-1], padded])
    intensity = np.abs(timestep * np.fft.fft(mirrored)[: 4 * count])
    wavenumber = np.arange(4 * count) / (8 * count * timestep * SPEED_OF_LIGHT)
    return Spectrum(wavenumber, intensity, label="IR (SchNetPack)", unit="arb. u.")
