"""The value that every spectrum is, whether computed, averaged or measured."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Spectrum:
    """Intensity against wavenumber.

    Attributes
    ----------
    wavenumber : numpy.ndarray
        Shape ``[points]`` [cm⁻¹], ascending.
    intensity : numpy.ndarray
        Shape ``[points]``; [km/mol per cm⁻¹] where computed, else as ``unit`` says.
    std : numpy.ndarray or None
        Standard deviation over the trajectories of a mean.
    label : str
        For legends.
    unit : str
        Of the intensity.
    measured : bool
        Comes from an experiment; its grid is then used in comparisons.
    gaps, saturated : tuple
        Ranges (low, high) [cm⁻¹] where nothing was measured (the intensity is a line across them), and where the instrument's range ended.
        Comparisons leave gaps out, and what is saturated where they are asked to.
    """

    wavenumber: np.ndarray
    intensity: np.ndarray
    std: np.ndarray | None = None
    label: str = ""
    unit: str = "km/mol per cm⁻¹"
    measured: bool = field(default=False, kw_only=True)
    gaps: tuple[tuple[float, float], ...] = field(default=(), kw_only=True)
    saturated: tuple[tuple[float, float], ...] = field(default=(), kw_only=True)

    def on(self, grid: np.ndarray) -> np.ndarray:
        """Return the intensity, interpolated linearly, on a grid [cm⁻¹]; zero outside the spectrum."""
        return np.interp(grid, self.wavenumber, self.intensity, left=0.0, right=0.0)

    def within(self, low: float, high: float) -> "Spectrum":
        """Return the part between two wavenumbers [cm⁻¹]."""
        inside = (self.wavenumber >= low) & (self.wavenumber <= high)
        return replace(
            self,
            wavenumber=self.wavenumber[inside],
            intensity=self.intensity[inside],
            std=None if self.std is None else self.std[inside],
        )

    @property
    def area(self) -> float:
        """Integral over wavenumber; [km/mol] for computed spectra."""
        return float(np.trapezoid(self.intensity, self.wavenumber))


def mean_spectrum(spectra: Sequence[Spectrum], label: str = "") -> Spectrum:
    """Return mean and standard deviation (sample, ddof = 1) of spectra on the grid of the first."""
    grid = spectra[0].wavenumber
    values = np.array([spectrum.on(grid) for spectrum in spectra])
    std = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(len(grid))
    return replace(spectra[0], intensity=values.mean(axis=0), std=std, label=label)
