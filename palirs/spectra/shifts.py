"""A spectrum of classical MD with each mode's share moved by its quantum shift."""

from dataclasses import replace

import numpy as np
from scipy.integrate import cumulative_trapezoid

from palirs.spectra.density import shares_of_modes
from palirs.spectra.spectrum import Spectrum


def moved_by_modes(
    spectrum: Spectrum,
    densities: tuple[np.ndarray, np.ndarray],
    intensities: np.ndarray,
    fundamentals: np.ndarray,
) -> Spectrum:
    """Move what each mode absorbs from where it vibrates in classical MD to its fundamental.

    At each wavenumber the spectrum is shared out in the ratio of intensity times density of the
    modes; each share moves as a whole by the difference between the mode's fundamental and the
    median of its density. Widths and areas stay, overtones move with the fundamentals that they lie
    next to: positions are those of quantum nuclei, the rest is classical.

    Parameters
    ----------
    spectrum : Spectrum
        Of classical MD.
    densities : tuple
        Wavenumbers ``[points]`` and densities ``[modes, points]`` of
        :func:`palirs.spectra.density.mode_densities`, of the same MD.
    intensities : numpy.ndarray
        Harmonic ones, ``[modes]`` [km/mol].
    fundamentals : numpy.ndarray
        Shape ``[modes]`` [cm⁻¹]; NaN for modes that stay.
    """
    grid, (wavenumber, density) = spectrum.wavenumber, densities
    positions = np.array([median(wavenumber, row) for row in density])
    shifts = np.nan_to_num(fundamentals - positions)
    shares = shares_of_modes(grid, densities, intensities)

    def moved(intensity: np.ndarray) -> np.ndarray:
        rest = intensity * (1 - shares.sum(axis=0))
        parts = (
            np.interp(grid - shift, grid, intensity * share, left=0.0, right=0.0)
            for share, shift in zip(shares, shifts, strict=True)
        )
        return rest + sum(parts)

    label = f"{spectrum.label}, bands moved by quantum shifts"
    whole = replace(spectrum, intensity=moved(spectrum.intensity), error=None, label=label)
    if spectrum.blocks is None:
        return whole
    return whole.with_blocks(np.array([moved(block) for block in spectrum.blocks]))


def median(wavenumber: np.ndarray, density: np.ndarray) -> float:
    """Return the wavenumber that halves the area of a density [cm⁻¹]."""
    area = cumulative_trapezoid(density.clip(0), wavenumber, initial=0.0)
    return float(np.interp(0.5 * area[-1], area, wavenumber))
