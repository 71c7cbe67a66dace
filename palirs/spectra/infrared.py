"""Infrared spectra from the autocorrelation of dipole trajectories."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from palirs.spectra import lags as lag_functions
from palirs.spectra.spectrum import Spectrum, mean_spectrum
from palirs.units import BOLTZMANN, EV_PER_AMU_A2_FS2, KM_PER_MOL, SPEED_OF_LIGHT

BLOCK = 5000.0
"""Length of the blocks for the error of a spectrum [fs]: longer than the relaxation time of the
vibrational energy, which is 1/friction, 0.4 to 1 ps."""


@dataclass(frozen=True)
class Strata:
    """The kinds of trajectories, such as conformers, and the weight of each kind.

    Attributes
    ----------
    members : tuple of int
        Kind of each trajectory, from zero.
    shares : tuple of float
        Weight of each kind, in any unit; kinds without a trajectory are left out.
    """

    members: tuple[int, ...]
    shares: tuple[float, ...]


def autocorrelation(signal: np.ndarray, max_lag: int, *, biased: bool = False) -> np.ndarray:
    """Return the autocorrelation of a vector signal by the Wiener-Khinchin theorem.

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
    """Return the infrared absorption, from the autocorrelation of the dipole derivative.

    ``physical``: A(ν̃) = N_A π/(3 c² 4πε₀) · S(ν̃)/(k_B T) with S(ν̃) = 4c ∫₀^∞ ⟨μ̇(0)·μ̇(t)⟩ w(t)
    cos(2πcν̃t) dt, normalised so that the area of a band of a harmonic oscillator is its harmonic
    intensity in km/mol (Thomas et al. 2013, doi:10.1039/C3CP44302G, with classical statistics). μ̇
    is a difference of neighbouring frames; its damping (sin(x/2)/(x/2))², x = 2πcν̃Δt, is corrected
    for.

    C(k) is the mean over all products of all trajectories, so the spectrum depends neither on their
    length nor on their number. For its error, every product belongs to the block of its earlier
    factor, and the deviation of each block from the mean is transformed alike (the ratio estimator
    of Cochran 1977, Sampling Techniques, 6.4).

    ``schnetpack``: the recipe of SchNetPack 2.1.1, for comparison with results obtained with it:
    central differences, each Cartesian component standardised before summing (so the result depends
    on the orientation and has no absolute unit), squared-cosine window, zero padding to four times
    the length.

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
        Zero padding of the autocorrelation, to at least this multiple of its length; more makes the
        grid finer.
    quantum_correction : {"harmonic", "standard", "schofield"}
        See :func:`palirs.spectra.lags.correction`.
    method : {"physical", "schnetpack"}
        Recipe, as above.
    strata : Strata, optional
        Kinds of the trajectories, for ``physical``: the mean is weighted by kind, its error that of
        a stratified sample (Cochran 1977, 5.3). By default all trajectories have the same weight.

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
    sums, counts = _blocks(np.diff(values, axis=1) / timestep, lags, timestep)
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

    ``correlation`` has shape ``[..., lags]``; it is zero-padded to at least ``padding`` times the
    length of its lags to both sides.
    """
    lags = correlation.shape[-1]
    size = 2 ** int(np.ceil(np.log2(2 * padding * lags)))
    weighted = correlation * lag_functions.window(window, lags)
    two_sided = 2 * np.fft.rfft(weighted, n=size, axis=-1).real - weighted[..., :1]
    density = 2 * SPEED_OF_LIGHT * timestep * two_sided
    return np.fft.rfftfreq(size, timestep * SPEED_OF_LIGHT), density


def block_edges(steps: int, interval: float) -> np.ndarray:
    """Return where the blocks of about :data:`BLOCK` of a trajectory begin and end.

    ``interval`` is the time between its steps [fs].
    """
    blocks = max(1, round(steps / (BLOCK / interval)))
    return np.linspace(0, steps, blocks + 1).round().astype(int)


def _blocks(flux: np.ndarray, lags: int, interval: float) -> tuple[np.ndarray, np.ndarray]:
    """Return sums and counts of the products of all blocks, ``[blocks, lags]``.

    ``flux`` has shape ``[trajectories, steps, 3]``.
    """
    edges = block_edges(flux.shape[1], interval)
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

    The variance of the mean is the sum over the kinds of the variances of their means, each from
    the n of N blocks of its kind: deviations are scaled by √(n(N − 1)/((n − 1)N)), so that the
    standard error over all blocks gives it. If a kind has a single block, the error is unknown: one
    deviation of zero is returned.
    """
    kinds = np.repeat(strata.members, len(sums) // trajectories)
    shares = {kind: strata.shares[kind] for kind in np.unique(kinds).tolist()}
    correlation, deviations = np.zeros(sums.shape[1]), np.zeros_like(sums)
    blocks = len(sums)
    for kind, share in shares.items():
        members = kinds == kind
        size, weight = int(members.sum()), share / sum(shares.values())
        total = counts[members].sum(axis=0)
        mean = sums[members].sum(axis=0) / total
        correlation += weight * mean
        scale = np.sqrt(size * (blocks - 1) / ((size - 1) * blocks)) if size > 1 else 0.0
        difference = sums[members] - mean * counts[members]
        deviations[members] = weight * difference * (blocks / total) * scale
    single = any((kinds == kind).sum() < 2 for kind in shares)
    return correlation, deviations[:1] * 0.0 if single else deviations


def undo_verlet_shift(
    spectrum: Spectrum, timestep: float, thermostat: Literal["langevin", "nose_hoover"] = "langevin"
) -> Spectrum:
    """Correct wavenumbers and intensities of a spectrum for the error of the integrator.

    Velocity Verlet and BAOAB shift a harmonic line ν to ν_MD = ν (2/x) asin(x/2), x = 2πcνΔt: +10
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
    # of the area, and of the density of points along the axis
    factor = np.sinc(phase / (2 * np.pi)) ** 2 / np.cos(phase / 2)
    if thermostat == "nose_hoover":
        factor = factor * np.cos(phase / 2) ** 2
    monotonic = phase < np.pi * 0.99

    def moved(values: np.ndarray) -> np.ndarray:
        return np.interp(
            spectrum.wavenumber, true[monotonic], (values * factor)[monotonic], right=0.0
        )

    corrected = replace(spectrum, intensity=moved(spectrum.intensity))
    if spectrum.blocks is None:
        return corrected
    return corrected.with_blocks(np.array([moved(block) for block in spectrum.blocks]))


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
