"""The class of all spectra, computed or measured."""

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
    error : numpy.ndarray or None
        Standard error of the intensity; NaN where it is not known.
    blocks : numpy.ndarray or None
        Shape ``[blocks, points]``: spectra of independent parts, whose mean is the intensity.
    label : str
        For legends.
    unit : str
        Of the intensity.
    measured : bool
        Comes from an experiment; its grid is then used in comparisons.
    made : str
        How it was computed; spectra made in different ways are not compared. Empty if that is not
        known.
    time : float
        Of all trajectories it comes from [ps]; 0 if that is not known.
    gaps, saturated : tuple
        Ranges (low, high) [cm⁻¹] where nothing was measured (the intensity is a line across them),
        and where the instrument's range ended. Comparisons leave gaps out, and what is saturated
        where they are asked to.
    read_as : str
        How a measured file was read: columns, quantity, range, points.
    doubt : str
        Caveats of that for comparisons; empty if there are none.
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
        parts = {
            name: None if (one := getattr(self, name)) is None else one / factor
            for name in ("error", "blocks")
        }
        return replace(
            self, wavenumber=self.wavenumber * factor, intensity=self.intensity / factor, **parts
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
        several = len(blocks) > 1
        error = (
            blocks.std(axis=0, ddof=1) / np.sqrt(len(blocks))
            if several
            else np.full(len(self.wavenumber), np.nan)
        )
        return replace(self, error=error, blocks=blocks if several else None)

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
