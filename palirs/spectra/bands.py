"""The bands of a computed spectrum: positions, areas and their standard errors."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from palirs.spectra.spectrum import Spectrum

SMALLEST = 0.02
"""Least height of a band as a share of the highest."""
STANDS_OUT = 0.15
"""Least prominence of a band as a share of its height."""
SURE = 3.0
"""Least height and least prominence of a band in standard errors."""
CUT = 0.5
"""Largest intensity of a band at the edge of the window, as a share of its maximum."""
FOOT = 0.05
"""A band ends where the intensity falls to this share of its maximum, or rises to the next band."""


@dataclass(frozen=True)
class Band:
    """Position, range and area of a band of a spectrum.

    Attributes
    ----------
    position, position_error : float
        Of its maximum [cm⁻¹], and its standard error by a jackknife over the blocks of the
        spectrum; NaN without blocks.
    low, high : float
        Its range [cm⁻¹].
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
    """Return the bands within a window [cm⁻¹], ascending in wavenumber."""
    part = spectrum.within(*window)
    y = part.intensity
    error = np.zeros(len(y)) if part.error is None else np.nan_to_num(part.error)
    if len(y) < 3 or y.max() <= 0:
        return []
    from scipy.signal import find_peaks, peak_prominences  # takes long to import

    tops, _ = find_peaks(y, height=SMALLEST * y.max())
    tops = tops[y[tops] > SURE * error[tops]]
    prominence, left, right = peak_prominences(y, tops)
    tops = tops[
        (prominence > STANDS_OUT * y[tops])
        & (prominence > SURE * _prominence_errors(part, tops, left, right))
    ]
    if not len(tops):
        return []
    valleys = [0, *(i + int(y[i:j].argmin()) for i, j in pairwise(tops.tolist())), len(y) - 1]
    candidates = [
        _band(part, int(top), begin, end)
        for top, (begin, end) in zip(tops, pairwise(valleys), strict=True)
    ]
    return [band for band in candidates if not _cut(band, part)]


def _prominence_errors(
    part: Spectrum, tops: np.ndarray, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Return standard errors of prominences, zero without blocks.

    A prominence is the intensity at the top less that at the higher of its two feet. The noise of
    neighbouring wavenumbers is alike, so the error is that of the difference in each block.
    """
    if part.blocks is None:
        return np.zeros(len(tops))
    foot = np.where(part.intensity[left] > part.intensity[right], left, right)
    difference = part.blocks[:, tops] - part.blocks[:, foot]
    return difference.std(axis=0, ddof=1) / np.sqrt(len(difference))


def _cut(band: Band, part: Spectrum) -> bool:
    """Tell whether a band is cut by an edge of the window."""
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
    area = float(np.trapezoid(y[inside], x[inside]))
    position = _summit(x[inside], y[inside])
    area_error = position_error = float("nan")
    if part.blocks is not None:
        count = len(part.blocks)
        areas = np.trapezoid(part.blocks[:, inside], x[inside], axis=1)
        area_error = float(areas.std(ddof=1) / np.sqrt(count))
        left_out = (count * part.blocks.mean(axis=0)[inside] - part.blocks[:, inside]) / (count - 1)
        tops = np.array([_summit(x[inside], mean) for mean in left_out])
        position_error = float(np.sqrt((count - 1) * tops.var()))
    return Band(position, position_error, float(x[begin]), float(x[end]), area, area_error)


def _summit(x: np.ndarray, y: np.ndarray) -> float:
    """Return the position of the maximum of a parabola through the three highest points."""
    top = int(np.clip(y.argmax(), 1, len(y) - 2)) if len(y) > 2 else int(y.argmax())
    if len(y) < 3:
        return float(x[top])
    before, here, after = y[top - 1 : top + 2]
    bend = before - 2 * here + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float(x[top] + np.clip(shift, -1, 1) * (x[top + 1] - x[top]))


def band_error(spectrum: Spectrum, window: tuple[float, float]) -> float:
    """Return the largest relative standard error at the bands above half of the highest.

    Parameters
    ----------
    spectrum : Spectrum
        With its standard error; the result is NaN without.
    window : tuple of float
        Range of the bands [cm⁻¹].
    """
    from scipy.signal import find_peaks  # takes long to import

    part = spectrum.within(*window)
    tops, _ = find_peaks(part.intensity, height=0.5 * part.intensity.max())
    if part.error is None or not len(tops):
        return float("nan")
    return float((part.error[tops] / part.intensity[tops]).max())
