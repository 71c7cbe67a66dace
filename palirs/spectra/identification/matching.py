"""How well computed spectra match a measured record, at equal resolution and a fitted scale."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import Field

from palirs.randomness import stream
from palirs.recipes import PalirsError, recipe
from palirs.spectra.compare import WINDOW, FlatError, pearson
from palirs.spectra.lags import lag_of_width
from palirs.spectra.measured.baseline import OVERLAP
from palirs.spectra.resolution import at_resolution
from palirs.spectra.spectrum import Spectrum

STEP = 4.0
"""Of the grid of comparison [cm⁻¹]; lines of the default study are four times as wide."""
LEAST_BROADENING = 10.0
"""That can be asked for [cm⁻¹]."""
FACTOR_STEP = 0.001
"""Of the scale factor."""
SEGMENT, NARROWEST, PARTS = 200.0, 60.0, 5
"""Width of the parts of a record that are drawn anew [cm⁻¹], wider than a band; in a short record
less, so that there are so many parts, but not less than the second."""
PERCENTILES = (5.0, 95.0)
"""Ends of intervals."""
FLAT = 1e-9
"""Least variance of a curve with bands, relative to the square of its mean."""
Factor = Annotated[float, Field(ge=0.5, le=1.5)]


@recipe
class Matching:
    """How candidates are compared with a record.

    Parameters
    ----------
    scale : tuple of float
        Bounds of the factor of a candidate's wavenumbers that is fitted.
    broadening : float or None
        Width that all lines get in addition, of record and candidates alike [cm⁻¹].
    exponent : float
        Intensities are raised to it before they are correlated. One half makes weak bands count
        more, as is usual where spectra are searched for (Stein and Scott 1994,
        doi:10.1016/1044-0305(94)87009-8, of mass spectra).
    window : tuple of float
        Compared range [cm⁻¹], cut to what all spectra cover.
    max_lag, lag_window, friction
        What gives computed lines their width [fs, ps⁻¹]; the record gets it too.
    without_saturated : bool
        Leave out where the range of the instrument ended.
    samples : int
        Of the bootstrap.
    """

    scale: tuple[Factor, Factor] = (0.92, 1.02)
    broadening: Annotated[float, Field(ge=LEAST_BROADENING, le=500, description="cm⁻¹")] | None = (
        None
    )
    exponent: Annotated[float, Field(ge=0.1, le=2)] = 0.5
    window: tuple[float, float] = WINDOW
    max_lag: float = 1000.0
    lag_window: str = "hann"
    friction: float = 0.0
    without_saturated: bool = False
    samples: Annotated[int, Field(ge=1)] = 400

    def __post_init__(self):
        low, high = self.scale
        if low > high:
            raise ValueError(
                f"scale = [{low:g}, {high:g}]: the first factor should not be above the second"
            )

    def bounds(self, candidate: Spectrum) -> tuple[float, float]:
        """Return the bounds of the scale factor; a measured spectrum needs none."""
        return (1.0, 1.0) if candidate.measured else self.scale

    def factors(self, candidate: Spectrum) -> np.ndarray:
        """Return the scale factors that are tried, ``[factors]``."""
        low, high = self.bounds(candidate)
        return np.linspace(low, high, 1 + round((high - low) / FACTOR_STEP))

    def broadened(self, spectrum: Spectrum) -> Spectrum:
        """Return a spectrum whose lines have the additional width; blocks are kept."""
        if self.broadening is None:
            return spectrum
        lag = lag_of_width(self.broadening, "hann", 0.0)
        whole = at_resolution(spectrum, lag)
        if spectrum.blocks is None:
            return whole
        parts = [
            at_resolution(replace(spectrum, intensity=block, blocks=None), lag).intensity
            for block in spectrum.blocks
        ]
        return replace(whole, blocks=np.array(parts))

    def equal(self, measured: Spectrum) -> Spectrum:
        """Return a measured spectrum at the resolution of computed ones."""
        return at_resolution(measured, self.max_lag, window=self.lag_window, friction=self.friction)


@dataclass(frozen=True)
class Match:
    """How well a candidate matches the record.

    Attributes
    ----------
    name : str
        Of the candidate.
    similarity : float
        Pearson correlation with the record, of intensities to the power of
        :attr:`Matching.exponent`, at the best scale; 0 if one of the two has no bands.
    scale : float
        The factor of the candidate's wavenumbers.
    pearson : float
        Correlation of the intensities themselves at that scale, without additional width; NaN if
        one of the two is flat.
    bounds : tuple of float
        Between which the factor was fitted.
    draws : numpy.ndarray
        Shape ``[samples]``: similarities of samples drawn anew, the same parts of the record for
        all candidates.
    scales : numpy.ndarray
        Shape ``[samples]``: their scale factors.
    """

    name: str
    similarity: float
    scale: float
    pearson: float
    bounds: tuple[float, float]
    draws: np.ndarray = field(repr=False)
    scales: np.ndarray = field(repr=False)

    @cached_property
    def interval(self) -> tuple[float, float]:
        """5th and 95th percentile of the similarity."""
        return _interval(self.draws)

    @cached_property
    def scale_interval(self) -> tuple[float, float]:
        """5th and 95th percentile of the scale factor."""
        return _interval(self.scales)

    @property
    def at_bound(self) -> bool:
        """Whether the best factor is the smallest or the largest that was allowed."""
        edges = [abs(self.scale - bound) < FACTOR_STEP / 2 for bound in self.bounds]
        return self.bounds[0] < self.bounds[1] and self.similarity > 0 and any(edges)

    def ahead(self, other: "Match") -> tuple[float, float, float]:
        """Return by how much it is more similar than another, with 5th and 95th percentile.

        The percentiles are of paired differences: both are compared with the same parts of the
        record.
        """
        return self.similarity - other.similarity, *_interval(self.draws - other.draws)

    def is_like(self, other: "Match") -> bool:
        """Tell whether the difference to another match lies within its interval of zero."""
        _, low, high = self.ahead(other)
        return low <= 0 <= high


def _interval(draws: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(draws, PERCENTILES)
    return float(low), float(high)


def compared_range(
    record: Spectrum, candidates: Mapping[str, Spectrum], matching: Matching
) -> tuple[float, float]:
    """Return the range that record and all candidates cover at any scale [cm⁻¹].

    Raises
    ------
    PalirsError
        If there is less than 100 cm⁻¹ of it.
    """
    low = max(matching.window[0], record.wavenumber[0])
    high = min(matching.window[1], record.wavenumber[-1])
    for name, spectrum in candidates.items():
        smallest, largest = matching.bounds(spectrum)
        begin, end = spectrum.wavenumber[0] * largest, spectrum.wavenumber[-1] * smallest
        low, high = max(low, begin), min(high, end)
        if high - low < OVERLAP:
            raise PalirsError(
                f"candidate {name!r}: its spectrum, from {spectrum.wavenumber[0]:.0f} to "
                f"{spectrum.wavenumber[-1]:.0f} cm⁻¹, leaves less than {OVERLAP:.0f} cm⁻¹ that all "
                "candidates and the record cover; leave it out"
            )
    return float(low), float(high)


def matches(
    record: Spectrum, candidates: Mapping[str, Spectrum], matching: Matching
) -> list[Match]:
    """Compare candidates with a record; the most similar comes first.

    The similarity of each is the largest over the scale factors. Its interval comes from a
    bootstrap (Efron 1979, doi:10.1214/aos/1176344552) of parts of the record, 200 cm⁻¹ wide, and
    of the blocks of a spectrum from MD; the factor is fitted to each sample anew.

    Parameters
    ----------
    record : Spectrum
        Measured, without baseline.
    candidates : mapping
        Computed spectra by name, at the resolution that ``matching`` states. Measured ones are
        given at that resolution (:meth:`Matching.equal`).
    matching : Matching
        How they are compared.
    """
    equal = matching.equal(record)
    low, high = compared_range(equal, candidates, matching)
    grid = np.arange(low, high, STEP)
    kept = np.ones(len(grid), dtype=bool)
    for begin, end in (*record.gaps, *(record.saturated if matching.without_saturated else ())):
        kept &= (grid < begin) | (grid > end)
    grid = grid[kept]
    if len(grid) < 3:
        raise PalirsError(
            f"record {record.label!r}: nothing was measured between {low:.0f} and {high:.0f} cm⁻¹"
        )
    if grid[-1] - grid[0] < PARTS * NARROWEST:
        raise PalirsError(
            f"record {record.label!r}: {low:.0f} to {high:.0f} cm⁻¹ are compared, too little to "
            f"say how sure a similarity is; at least {PARTS * NARROWEST:.0f} cm⁻¹ of record, "
            "spectrum.window and candidates"
        )
    target = _raised(matching.broadened(equal).on(grid), matching.exponent)
    found = [
        _match(name, spectrum, (equal, grid, target), matching)
        for name, spectrum in candidates.items()
    ]
    return sorted(found, key=lambda match: -match.similarity)


def _raised(intensity: np.ndarray, exponent: float) -> np.ndarray:
    """Return intensities, those below zero as zero, to a power."""
    return np.clip(intensity, 0, None) ** exponent


def _match(
    name: str,
    spectrum: Spectrum,
    measured: tuple[Spectrum, np.ndarray, np.ndarray],
    matching: Matching,
) -> Match:
    """Compare a candidate with a record, given with grid and raised intensities there."""
    equal, grid, target = measured
    segment = min(SEGMENT, (grid[-1] - grid[0]) / PARTS)
    parts = np.unique(((grid - grid[0]) // segment).astype(int), return_index=True)[1]
    rng = np.random.default_rng(stream(0, "parts of the record"))
    counts = rng.multinomial(len(parts), np.full(len(parts), 1 / len(parts)), size=matching.samples)
    counts = np.vstack([np.ones(len(parts)), counts])  # first the record as it is
    broad = matching.broadened(spectrum)
    curves = np.vstack([broad.intensity[None], _drawn(broad, name, matching.samples)])
    factors = matching.factors(spectrum)
    values = np.empty((len(factors), matching.samples + 1))
    for number, factor in enumerate(factors):
        x = _raised(_on(broad.wavenumber * factor, curves, grid), matching.exponent)
        values[number] = _correlations(x, target, counts, parts)
    best = values.argmax(axis=0)
    largest = values[best, np.arange(matching.samples + 1)]
    scale = float(factors[best[0]])
    try:
        plain = pearson(spectrum.scaled(scale), equal, (grid[0], grid[-1]))
    except FlatError:
        plain = float("nan")
    return Match(
        name,
        float(largest[0]),
        scale,
        plain,
        matching.bounds(spectrum),
        largest[1:],
        factors[best[1:]],
    )


def _drawn(spectrum: Spectrum, name: str, samples: int) -> np.ndarray:
    """Return intensities of blocks drawn anew, ``[samples, points]``, or the one there is."""
    if spectrum.blocks is None:
        return np.empty((0, len(spectrum.wavenumber)))
    rng = np.random.default_rng(stream(0, "blocks of a candidate", name))
    count = len(spectrum.blocks)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=samples)
    return weights @ spectrum.blocks / count


def _on(wavenumber: np.ndarray, curves: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Interpolate curves ``[curves, points]`` linearly on a grid within their wavenumbers."""
    right = np.clip(np.searchsorted(wavenumber, grid), 1, len(wavenumber) - 1)
    share = (grid - wavenumber[right - 1]) / (wavenumber[right] - wavenumber[right - 1])
    return curves[:, right - 1] * (1 - share) + curves[:, right] * share


def _correlations(
    x: np.ndarray, y: np.ndarray, counts: np.ndarray, parts: np.ndarray
) -> np.ndarray:
    """Return Pearson correlations of samples of parts, ``[samples]``; 0 where one has no bands.

    ``x``: ``[1 or samples, points]``; ``y``: ``[points]``; ``counts``: how often each part is in
    each sample, ``[samples, parts]``; ``parts``: first point of each.
    """

    def summed(values: np.ndarray) -> np.ndarray:
        return (counts * np.add.reduceat(np.atleast_2d(values), parts, axis=1)).sum(axis=1)

    size = summed(np.ones(len(y)))
    mean_x, mean_y = summed(x) / size, summed(y) / size
    spread_x = summed(x**2) / size - mean_x**2
    spread_y = summed(y**2) / size - mean_y**2
    together = summed(x * y) / size - mean_x * mean_y
    bands = (spread_x > FLAT * mean_x**2) & (spread_y > FLAT * mean_y**2)
    return np.where(bands, together, 0.0) / np.sqrt(np.where(bands, spread_x * spread_y, 1.0))
