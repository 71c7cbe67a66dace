"""Pearson correlation and Wasserstein distance of two spectra."""

import numpy as np

from palirs.spectra.spectrum import Spectrum

WINDOW = (500.0, 4000.0)
"""Default range of comparisons [cm⁻¹]."""


class FlatError(ValueError):
    """A spectrum without intensity to compare, as that of a molecule without a dipole."""


def pearson(
    a: Spectrum,
    b: Spectrum,
    window: tuple[float, float] = WINDOW,
    *,
    without_saturated: bool = False,
) -> float:
    """Return the Pearson correlation of the intensities on a common grid.

    Parameters
    ----------
    a, b : Spectrum
        Any units. The grid is that of a measured spectrum if there is one, else 1 cm⁻¹; gaps of a
        measurement are left out.
    window : tuple of float
        Compared range [cm⁻¹], cut to what both spectra cover.
    without_saturated : bool
        Leave out where the instrument's range ended.

    Raises
    ------
    ValueError
        If the spectra do not overlap in the window, or one of them is flat there.
    """
    grid, _, _ = common_grid(a, b, window, without_saturated)
    first, second = a.on(grid), b.on(grid)
    for spectrum, values in ((a, first), (b, second)):
        if np.ptp(values) == 0:
            raise FlatError(
                f"spectrum {spectrum.label!r} is flat between {grid[0]:.0f} and {grid[-1]:.0f} "
                "cm⁻¹; no correlation exists"
            )
    from scipy.stats import pearsonr  # a third of a second, which settings need not wait for

    return float(pearsonr(first, second).statistic)


def wasserstein(
    a: Spectrum,
    b: Spectrum,
    window: tuple[float, float] = WINDOW,
    *,
    in_cm1: bool = False,
    without_saturated: bool = False,
) -> float:
    """Return the Wasserstein distance along wavenumber of two spectra of unit area.

    The window is mapped to [0, 1], so 0.01 means that intensity moves by 1 % of the window on
    average. Negative intensities count as zero.

    Parameters
    ----------
    a, b : Spectrum
        Any units; grid as in :func:`pearson`.
    window : tuple of float
        Compared range [cm⁻¹], cut to what both spectra cover.
    in_cm1 : bool
        Return the distance in cm⁻¹ instead.
    without_saturated : bool
        Leave out where the instrument's range ended.

    Raises
    ------
    ValueError
        If the spectra do not overlap in the window, or one of them has no intensity there.
    """
    grid, cells, (low, high) = common_grid(a, b, window, without_saturated)
    weights = [np.clip(spectrum.on(grid), 0, None) * cells for spectrum in (a, b)]
    for spectrum, weight in zip((a, b), weights, strict=True):
        if weight.sum() <= 0:
            raise FlatError(
                f"spectrum {spectrum.label!r} has no intensity between {low:.0f} and {high:.0f} "
                "cm⁻¹"
            )
    from scipy.stats import wasserstein_distance

    distance = float(wasserstein_distance(grid, grid, *weights))
    return distance if in_cm1 else distance / (high - low)


def common_grid(
    a: Spectrum, b: Spectrum, window: tuple[float, float], without_saturated: bool = False
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Return grid, widths of its points, and compared range of two spectra [cm⁻¹]."""
    low = max(window[0], a.wavenumber[0], b.wavenumber[0])
    high = min(window[1], a.wavenumber[-1], b.wavenumber[-1])
    if high - low < 10:
        raise ValueError(
            f"spectra {a.label!r} and {b.label!r} do not overlap between {window[0]:.0f} and "
            f"{window[1]:.0f} cm⁻¹"
        )
    measured = next((spectrum for spectrum in (a, b) if spectrum.measured), None)
    grid = np.arange(np.ceil(low), high, 1.0)
    if measured is not None:
        grid = measured.within(low, high).wavenumber
    kept = np.ones(len(grid), dtype=bool)
    for spectrum in (a, b):
        for begin, end in (*spectrum.gaps, *(spectrum.saturated if without_saturated else ())):
            kept &= (grid < begin) | (grid > end)
    if kept.sum() < 3:
        raise ValueError(
            f"spectra {a.label!r} and {b.label!r} have {kept.sum()} points in common between "
            f"{low:.0f} and {high:.0f} cm⁻¹"
        )
    return grid[kept], np.gradient(grid)[kept], (low, high)
