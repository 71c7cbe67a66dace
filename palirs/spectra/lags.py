"""Windows of the autocorrelation, their line widths, and quantum correction factors."""

from bisect import bisect_left
from functools import lru_cache
from typing import Literal

import numpy as np

from palirs.units import BOLTZMANN, CM1_PER_EV, SPEED_OF_LIGHT

Window = Literal["hann", "blackman", "gaussian", "none"]
"""``gaussian`` falls to 1 % at the largest lag; ``none`` gives the narrowest lines, with side lobes
of a fifth of their height."""
Correction = Literal["harmonic", "standard", "schofield"]
"""See :func:`correction`."""
MOST_FRICTION = 2.5
"""Of the MD behind a spectrum [ps⁻¹]: with more, modes keep their energy for too short a time to
vibrate freely in between."""
LONGEST_LAG = 100_000
"""Of an autocorrelation that is chosen for a line width [fs]; its lines are 0.33 cm⁻¹ wide."""


def window(name: str, lags: int) -> np.ndarray:
    """Return the weights of lags 0, 1, …, ``[lags]``: 1 at first, then falling.

    Raises
    ------
    ValueError
        For a name that is not one of :data:`Window`.
    """
    if name == "gaussian":
        return np.exp(np.log(0.01) * (np.arange(lags) / lags) ** 2)
    if name == "none":
        return np.ones(lags)
    if name == "hann":  # settings use it, and scipy.signal takes a second to import
        return 0.5 + 0.5 * np.cos(np.pi * np.arange(lags) / lags)
    if name != "blackman":
        raise ValueError(f"window = {name!r}: it should be hann, blackman, gaussian or none")
    from scipy.signal import get_window

    weights = np.asarray(get_window(name, 2 * lags, fftbins=True))[lags:]
    return weights / weights[0]


def line_width(max_lag: float, name: str, friction: float = 0.0) -> float:
    """Return the full width at half maximum of a sharp line [cm⁻¹].

    Parameters
    ----------
    max_lag : float
        Depth of the autocorrelation [fs].
    name : str
        Of the window.
    friction : float
        γ of Langevin dynamics [ps⁻¹], which damps a vibration by exp(−γt/2): a width of γ/(2πc).
    """
    rate = 0.5e-3 * friction
    lag = np.linspace(0, min(max_lag, 60 / rate) if rate else max_lag, 2000, endpoint=False)
    fraction = np.linspace(0, 1, 2000, endpoint=False)
    weights = np.interp(lag / max_lag, fraction, window(name, 2000), right=0.0)
    decay = weights * np.exp(-rate * lag)
    half = 0.5 * np.trapezoid(decay, lag)
    offsets = np.linspace(0, (1 / max_lag + rate) / SPEED_OF_LIGHT, 4000)

    def below(offset: float) -> bool:
        wave = np.cos(2 * np.pi * SPEED_OF_LIGHT * offset * lag)
        return bool(np.trapezoid(decay * wave, lag) < half)

    return 2 * float(offsets[bisect_left(offsets, True, key=below)])


def width_of_friction(friction: float) -> float:
    """Return the width [cm⁻¹] that a friction [ps⁻¹] gives a sharp line, γ/(2πc)."""
    return friction / (2e3 * np.pi * SPEED_OF_LIGHT)


def friction_of_width(width: float) -> float:
    """Return the friction [ps⁻¹] for half of a line width [cm⁻¹]; at most :data:`MOST_FRICTION`.

    The error of a band's height falls with the friction (modes forget their energy sooner; hardly,
    where it is divided out) and with a shorter autocorrelation (more is averaged): both get their
    share of the width.
    """
    friction = min(MOST_FRICTION, 0.5 * width * 2e3 * np.pi * SPEED_OF_LIGHT)
    return float(f"{friction:.3g}")


@lru_cache
def lag_of_width(width: float, name: str, friction: float) -> float:
    """Return the depth of the autocorrelation [fs] that makes a sharp line so wide.

    Parameters
    ----------
    width : float
        Full width at half maximum [cm⁻¹].
    name : str
        Of the window.
    friction : float
        γ of the MD [ps⁻¹].

    Raises
    ------
    ValueError
        If the friction alone makes the line wider, or nearly as wide.
    """
    depths = range(1, LONGEST_LAG)
    found = bisect_left(depths, True, key=lambda lag: line_width(lag, name, friction) <= width)
    if found == len(depths) and width_of_friction(friction) < 0.9 * width:
        raise ValueError(
            f"lines of {width:g} cm⁻¹ want an autocorrelation of more than {LONGEST_LAG:,} fs; "
            "give wider ones, or another lag_window"
        )
    if found == len(depths):
        raise ValueError(
            f"no autocorrelation makes lines {width:g} cm⁻¹ wide: a friction of {friction:g} ps⁻¹ "
            f"alone gives {width_of_friction(friction):.3g} cm⁻¹"
        )
    return float(depths[found])


def correction(name: str, wavenumber: np.ndarray, temperature: float) -> np.ndarray:
    """Return a quantum correction factor of intensities, relative to the harmonic one.

    Classical MD violates detailed balance; a factor Q(βħω) restores it. The intensities of
    :func:`palirs.spectra.infrared_spectrum` include the harmonic factor βħω/(1 − exp(−βħω)), which
    makes the band of a harmonic oscillator exact; the others are relative to it.

    Parameters
    ----------
    name : {"harmonic", "standard", "schofield"}
        ``harmonic``: 1. ``standard``: Q = 2/(1 + exp(−βħω)). ``schofield``: Q = exp(βħω/2) (Ramírez
        et al. 2004, doi:10.1063/1.1774986).
    wavenumber : numpy.ndarray
        [cm⁻¹].
    temperature : float
        [K].

    Raises
    ------
    ValueError
        For another name.
    """
    x = np.asarray(wavenumber, dtype=float) / (CM1_PER_EV * BOLTZMANN * temperature)
    harmonic = np.where(x > 1e-8, x / -np.expm1(-np.maximum(x, 1e-8)), 1.0)
    factors = {
        "harmonic": harmonic,
        "standard": 2 / (1 + np.exp(-x)),
        "schofield": np.exp(np.minimum(x / 2, 700.0)),
    }
    if name not in factors:
        raise ValueError(f"quantum_correction = {name!r}: it should be {', '.join(factors)}")
    return factors[name] / harmonic
