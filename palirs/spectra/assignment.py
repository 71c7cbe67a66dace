"""Which normal modes the bands of a computed spectrum come from."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from palirs.spectra.bands import Band, bands
from palirs.spectra.spectrum import Spectrum

NEAREST = {"reference": 60.0, "experiment": 200.0}
"""Bands of other spectra further away than this [cm⁻¹] are not listed beside one of the prediction;
an engine may be far from the experiment."""
CLEAR = 0.8
"""Share of a band that stretches or deformations of one symmetry must have to be called by it; the
other symmetry is rarely far."""
ALONE, SECOND = 0.6, 0.25
"""A band is called by one motion if it has this share; otherwise by two, if the second has at least
that share."""
EXPLAINED = 0.4
"""Share of its area that the modes which move there must make by their harmonic intensities; a band
of which they make less is an overtone or a combination."""
WIDTH = 15.0
"""Standard deviation of the lines [cm⁻¹] that stand for modes whose motion was not recorded."""


@dataclass(frozen=True)
class Modes:
    """The normal modes of a molecule, as far as an assignment needs them.

    Attributes
    ----------
    names : list of str
        What moves.
    frequencies, intensities : numpy.ndarray
        Shape ``[modes]`` [cm⁻¹], [km/mol], of what made the spectrum.
    engine_frequencies : numpy.ndarray
        Shape ``[modes]`` [cm⁻¹], of the reference engine.
    """

    names: Sequence[str]
    frequencies: np.ndarray
    intensities: np.ndarray
    engine_frequencies: np.ndarray


def assigned_bands(
    spectra: Mapping[str, Spectrum],
    window: tuple[float, float],
    modes: Modes,
    densities: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[dict[str, float | str]]:
    """Return a row for each band of the predicted spectrum.

    Parameters
    ----------
    spectra : mapping
        ``predicted``; ``reference`` and ``experiment`` if there are, the latter at the same
        resolution.
    window : tuple of float
        [cm⁻¹].
    modes : Modes
        Of the molecule.
    densities : tuple or None
        Wavenumbers and densities of the modes along the MD; without them each mode is taken to move
        at its harmonic frequency.
    """
    grid = spectra["predicted"].wavenumber
    wavenumber, density = densities or (grid, harmonic_densities(modes.frequencies, grid))
    others = {kind: bands(spectra[kind], window) for kind in NEAREST if kind in spectra}
    rows: list[dict[str, float | str]] = []
    for band in bands(spectra["predicted"], window):
        given = contributions(band, wavenumber, density, modes.intensities)
        name, share = assignment(modes.names, given)
        if given.sum() < EXPLAINED * band.area:
            name = f"no fundamental ({name})"
        strongest = int(given.argmax())
        row: dict[str, float | str] = {
            "position_cm1": band.position,
            "position_error_cm1": band.position_error,
            "area_km_per_mol": band.area,
            "area_error_km_per_mol": band.area_error,
            "assignment": name,
            "share": share,
            "harmonic_area_km_per_mol": float(given.sum()),
            "mode": strongest + 1,
            "harmonic_cm1": float(modes.frequencies[strongest]),
            "engine_harmonic_cm1": float(modes.engine_frequencies[strongest]),
        }
        for kind, neighbours in others.items():
            row[f"{kind}_cm1"] = _nearest(band, neighbours, NEAREST[kind])
        rows.append(row)
    return rows


def harmonic_densities(frequencies: np.ndarray, wavenumber: np.ndarray) -> np.ndarray:
    """Return lines of unit area at harmonic frequencies, ``[modes, points]`` [1/cm⁻¹]."""
    lines = np.exp(-0.5 * ((wavenumber[None] - np.asarray(frequencies)[:, None]) / WIDTH) ** 2)
    return lines / (WIDTH * np.sqrt(2 * np.pi))


def contributions(
    band: Band, wavenumber: np.ndarray, densities: np.ndarray, intensities: np.ndarray
) -> np.ndarray:
    """Return the area each mode adds to a band if harmonic, ``[modes]`` [km/mol]."""
    inside = (wavenumber >= band.low) & (wavenumber <= band.high)
    return intensities * np.trapezoid(densities[:, inside], wavenumber[inside], axis=1)


def assignment(names: Sequence[str], contributed: np.ndarray) -> tuple[str, float]:
    """Return the name of a band and the share of its area that the name covers.

    ``names`` are those of the modes, ``contributed`` the areas of :func:`contributions`.
    """
    total = float(contributed.sum())
    if total <= 0:
        return "", 0.0
    shares: dict[str, float] = defaultdict(float)
    for name, area in zip(names, contributed / total, strict=True):
        shares[name] += float(area)
    if max(shares.values()) < CLEAR:  # symmetric and antisymmetric ones together
        merged: dict[str, float] = defaultdict(float)
        for name, share in shares.items():
            merged[name.replace("antisymmetric ", "").replace("symmetric ", "")] += share
        shares = merged
    (first, largest), *rest = sorted(shares.items(), key=lambda item: -item[1])
    if largest < ALONE and rest and rest[0][1] >= SECOND:
        return f"{first}; {rest[0][0]}", largest + rest[0][1]
    return first, largest


def _nearest(band: Band, others: Sequence[Band], most: float) -> float:
    """Return the position of the nearest band of another spectrum [cm⁻¹]; NaN if none is near."""
    distance, position = min(
        ((abs(other.position - band.position), other.position) for other in others),
        default=(np.inf, np.nan),
    )
    return position if distance <= most else float("nan")
