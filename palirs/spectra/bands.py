"""The bands of a computed spectrum: positions, areas and their standard errors."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from palirs.spectra.spectrum import Spectrum

SMALLEST = 0.02
"""Of the highest band: smaller ones are left out,"""
STANDS_OUT = 0.15
"""as are those that rise less than this share of their height above what lies between them and a
higher one,"""
SURE = 3.0
"""and those not this many standard errors high."""
CUT = 0.5
"""A band that is still this high at the window's edge, as a share of its maximum, is left out."""
FOOT = 0.05
"""A band ends where the intensity has fallen to this share of its maximum, or rises to the next."""


@dataclass(frozen=True)
class Band:
    """A band of a spectrum.

    Attributes
    ----------
    position, position_error : float
        Of its maximum [cm⁻¹], and the standard error (jackknife over the spectrum's parts); NaN if
        it is not known.
    low, high : float
        Where it begins and ends [cm⁻¹].
    area, area_error : float
        In the intensity's unit times cm⁻¹: [km/mol].
    """

    position: float
    position_error: float
    low: float
    high: float
    area: float
    area_error: float


def bands(spectrum: Spectrum, window: tuple[float, float]) -> list[Band]:
    """Return the bands within a window [cm⁻¹], by wavenumber."""
    part = spectrum.within(*window)
    y = part.intensity
    error = np.zeros(len(y)) if part.error is None else np.nan_to_num(part.error)
    if len(y) < 3 or y.max() <= 0:
        return []
    from scipy.signal import find_peaks, peak_prominences  # takes long to import

    tops, _ = find_peaks(y, height=SMALLEST * y.max())
    tops = tops[y[tops] > SURE * error[tops]]
    tops = tops[peak_prominences(y, tops)[0] > STANDS_OUT * y[tops]]
    if not len(tops):
        return []
    valleys = [0, *(i + int(y[i:j].argmin()) for i, j in pairwise(tops.tolist())), len(y) - 1]
    candidates = [
        _band(part, int(top), begin, end)
        for top, (begin, end) in zip(tops, pairwise(valleys), strict=True)
    ]
    return [band for band in candidates if not _cut(band, part)]


def _cut(band: Band, part: Spectrum) -> bool:
    """Whether the window's edge cuts a band, so that only its tail is seen."""
    ends = [(band.low, part.wavenumber[0]), (band.high, part.wavenumber[-1])]
    height = part.on(np.array([band.position]))[0]
    return any(end == edge and part.on(np.array([edge]))[0] > CUT * height for end, edge in ends)


def _band(part: Spectrum, top: int, begin: int, end: int) -> Band:
    y, x = part.intensity, part.wavenumber
    below = y < FOOT * y[top]
    left = np.flatnonzero(below[begin:top])
    right = np.flatnonzero(below[top : end + 1])
    begin = begin + int(left[-1]) if len(left) else begin
    end = top + int(right[0]) if len(right) else end
    inside = slice(begin, end + 1)
    area, position = float(np.trapezoid(y[inside], x[inside])), _summit(x[inside], y[inside])
    spread = shift = float("nan")
    if part.blocks is not None:
        count = len(part.blocks)
        spread = float(
            np.trapezoid(part.blocks[:, inside], x[inside], axis=1).std(ddof=1) / np.sqrt(count)
        )
        without = (count * part.blocks.mean(axis=0)[inside] - part.blocks[:, inside]) / (count - 1)
        tops = np.array([_summit(x[inside], mean) for mean in without])
        shift = float(np.sqrt((count - 1) * tops.var()))
    return Band(position, shift, float(x[begin]), float(x[end]), area, spread)


def _summit(x: np.ndarray, y: np.ndarray) -> float:
    """Return the maximum of the parabola through the highest point and its neighbours."""
    top = int(np.clip(y.argmax(), 1, len(y) - 2)) if len(y) > 2 else int(y.argmax())
    if len(y) < 3:
        return float(x[top])
    before, here, after = y[top - 1 : top + 2]
    bend = before - 2 * here + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float(x[top] + np.clip(shift, -1, 1) * (x[top + 1] - x[top]))


def band_error(spectrum: Spectrum, window: tuple[float, float]) -> float:
    """Return the largest relative standard error at a strong band, one above half the highest.

    Parameters
    ----------
    spectrum : Spectrum
        With its standard error; NaN without.
    window : tuple of float
        Where bands are looked for [cm⁻¹].
    """
    from scipy.signal import find_peaks  # takes long to import

    part = spectrum.within(*window)
    tops, _ = find_peaks(part.intensity, height=0.5 * part.intensity.max())
    if part.error is None or not len(tops):
        return float("nan")
    return float((part.error[tops] / part.intensity[tops]).max())
