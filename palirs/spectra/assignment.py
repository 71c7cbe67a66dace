"""Assignment of the bands of a computed spectrum to normal modes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from palirs.spectra.bands import Band, bands
from palirs.spectra.spectrum import Spectrum

NEAREST = {"reference": 60.0, "experiment": 200.0}
"""Largest distance [cm⁻¹] of bands of other spectra that are listed with a predicted one; an engine
may be far from the experiment."""
CLEAR = 0.8
"""Share of a band from which its name keeps ``symmetric`` or ``antisymmetric``; modes of both kinds
often lie close together."""
ALONE, SECOND = 0.6, 0.25
"""Share of a band from which one motion names it; else least share of a second motion."""
EXPLAINED = 0.4
"""Least share of the area of a fundamental that the harmonic intensities of the modes at its
wavenumbers explain; a band below it is an overtone or a combination."""
WIDTH = 15.0
"""Standard deviation of the line [cm⁻¹] of a mode whose motion was not recorded."""


@dataclass(frozen=True)
class Modes:
    """Names, frequencies and intensities of the normal modes of a molecule.

    Attributes
    ----------
    names : list of str
        Motion of each mode in words.
    frequencies, intensities : numpy.ndarray
        Shape ``[modes]`` [cm⁻¹], [km/mol], by the potential of the spectrum.
    engine_frequencies : numpy.ndarray
        Shape ``[modes]`` [cm⁻¹], by the reference engine.
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
        ``predicted``; ``reference`` and ``experiment`` if there are any, the latter at the same
        resolution.
    window : tuple of float
        [cm⁻¹].
    modes : Modes
        Of the molecule.
    densities : tuple or None
        Wavenumbers and densities of the modes along the MD; without them each mode is a line at its
        harmonic frequency.
    """
    grid = spectra["predicted"].wavenumber
    wavenumber, density = densities or (grid, harmonic_densities(modes.frequencies, grid))
    others = {kind: bands(spectra[kind], window) for kind in NEAREST if kind in spectra}
    rows: list[dict[str, float | str]] = []
    for band in bands(spectra["predicted"], window):
        areas = contributions(band, wavenumber, density, modes.intensities)
        name, share = assignment(modes.names, areas)
        if areas.sum() < EXPLAINED * band.area:
            name = f"no fundamental ({name})"
        strongest = int(areas.argmax())
        row: dict[str, float | str] = {
            "position_cm1": band.position,
            "position_error_cm1": band.position_error,
            "area_km_per_mol": band.area,
            "area_error_km_per_mol": band.area_error,
            "assignment": name,
            "share": share,
            "harmonic_area_km_per_mol": float(areas.sum()),
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
    """Return the harmonic area that each mode adds to a band, ``[modes]`` [km/mol]."""
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
    if max(shares.values()) < CLEAR:  # merge symmetric and antisymmetric motions
        merged: dict[str, float] = defaultdict(float)
        for name, share in shares.items():
            merged[name.replace("antisymmetric ", "").replace("symmetric ", "")] += share
        shares = merged
    (first, largest), *others = sorted(shares.items(), key=lambda item: -item[1])
    if largest < ALONE and others and others[0][1] >= SECOND:
        return f"{first}; {others[0][0]}", largest + others[0][1]
    return first, largest


def _nearest(band: Band, others: Sequence[Band], cutoff: float) -> float:
    """Return the position of the nearest band of another spectrum [cm⁻¹]; NaN beyond the cutoff."""
    distance, position = min(
        ((abs(other.position - band.position), other.position) for other in others),
        default=(np.inf, np.nan),
    )
    return position if distance <= cutoff else float("nan")
