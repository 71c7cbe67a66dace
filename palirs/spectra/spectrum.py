"""Spectra, computed or measured."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

DIVIDED = ", equipartition"
"""In how a spectrum was made: intensities were divided by the kinetic energy of the modes. They are
those that others have without it, only surer."""


def without_division(made: str) -> str:
    """Return how a spectrum was made without what changes no intensity on average."""
    return made.replace(DIVIDED, "")


@dataclass(frozen=True)
class Spectrum:
    """Intensity against wavenumber.

    Attributes
    ----------
    wavenumber : numpy.ndarray
        Shape ``[points]`` [cm⁻¹], ascending.
    intensity : numpy.ndarray
        Shape ``[points]``; [km/mol per cm⁻¹] where computed, else as ``unit`` says.
    error : numpy.ndarray or None
        Standard error of the intensity; NaN where it is unknown.
    blocks : numpy.ndarray or None
        Shape ``[blocks, points]``: spectra of independent parts, whose mean is the intensity.
    label : str
        For legends.
    unit : str
        Of the intensity.
    measured : bool
        Whether it comes from an experiment; comparisons use its grid.
    made : str
        How it was computed; spectra made in different ways are not compared. Empty if unknown.
    time : float
        Length of all its trajectories [ps]; 0 if unknown.
    gaps, saturated : tuple
        Ranges (low, high) [cm⁻¹] where nothing was measured (the intensity is interpolated), and
        where the instrument's range ended. Comparisons leave out gaps, and saturated ranges on
        request.
    read_as : str
        How a measured file was read: columns, quantity, range, points.
    doubt : str
        Caveat of ``read_as``; empty if there is none.
    """

    wavenumber: np.ndarray
    intensity: np.ndarray
    error: np.ndarray | None = None
    label: str = ""
    unit: str = "km/mol per cm⁻¹"
    measured: bool = field(default=False, kw_only=True)
    blocks: np.ndarray | None = field(default=None, kw_only=True, repr=False, compare=False)
    made: str = field(default="", kw_only=True)
    time: float = field(default=0.0, kw_only=True)
    gaps: tuple[tuple[float, float], ...] = field(default=(), kw_only=True)
    saturated: tuple[tuple[float, float], ...] = field(default=(), kw_only=True)
    read_as: str = field(default="", kw_only=True)
    doubt: str = field(default="", kw_only=True)

    def on(self, grid: np.ndarray) -> np.ndarray:
        """Interpolate the intensity linearly on a grid [cm⁻¹]; zero outside the spectrum."""
        return np.interp(grid, self.wavenumber, self.intensity, left=0.0, right=0.0)

    def scaled(self, factor: float) -> "Spectrum":
        """Return the spectrum with wavenumbers multiplied by a factor, and bands of equal area."""
        return replace(
            self,
            wavenumber=self.wavenumber * factor,
            intensity=self.intensity / factor,
            error=None if self.error is None else self.error / factor,
            blocks=None if self.blocks is None else self.blocks / factor,
        )

    def within(self, low: float, high: float) -> "Spectrum":
        """Return the part between two wavenumbers [cm⁻¹]."""
        inside = (self.wavenumber >= low) & (self.wavenumber <= high)
        return replace(
            self,
            wavenumber=self.wavenumber[inside],
            intensity=self.intensity[inside],
            error=None if self.error is None else self.error[inside],
            blocks=None if self.blocks is None else self.blocks[:, inside],
        )

    def with_blocks(self, blocks: np.ndarray) -> "Spectrum":
        """Return the spectrum with these blocks, ``[blocks, points]``, and their standard error."""
        if len(blocks) < 2:
            return replace(self, error=np.full(len(self.wavenumber), np.nan), blocks=None)
        error = blocks.std(axis=0, ddof=1) / np.sqrt(len(blocks))
        return replace(self, error=error, blocks=blocks)

    @property
    def molar_absorption(self) -> np.ndarray:
        """Decadic molar absorption coefficient, if computed, ``[points]`` [L mol⁻¹ cm⁻¹]."""
        return self.intensity * 100 / np.log(10)

    @property
    def area(self) -> float:
        """Integral over wavenumber; [km/mol] for computed spectra."""
        return float(np.trapezoid(self.intensity, self.wavenumber))


def mean_spectrum(spectra: Sequence[Spectrum], label: str = "") -> Spectrum:
    """Return the mean of spectra on the grid of the first, with its standard error."""
    grid = spectra[0].wavenumber
    values = np.array([spectrum.on(grid) for spectrum in spectra])
    return replace(spectra[0], intensity=values.mean(axis=0), label=label).with_blocks(values)
