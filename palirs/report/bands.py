"""What the bands of a computed spectrum are: which modes move there, and what harmonic analysis, reference and experiment have."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from palirs.spectra import Spectrum
from palirs.spectra.bands import Band, bands
from palirs.vibrations import Harmonic
from palirs.vibrations.naming import ALONE, SECOND, characters

NEAREST = {"reference": 60.0, "experiment": 200.0}
"""Bands of others further away than this [cm⁻¹] are not named beside one of the prediction; an
engine may be far from the experiment."""
CLEAR = 0.8
"""Share of a band that stretches or deformations of one symmetry must have to be called by it; the
other symmetry is rarely far."""
EXPLAINED = 0.4
"""Share of its area that the modes which move there must make by their harmonic intensities; a band
of which they make less is an overtone or a combination."""
WIDTH = 15.0
"""Standard deviation of the lines [cm⁻¹] that stand for modes whose motion was not recorded."""


def harmonic_densities(frequencies: np.ndarray, wavenumber: np.ndarray) -> np.ndarray:
    """Return lines of unit area at harmonic frequencies, ``[modes, points]`` [1/cm⁻¹]."""
    lines = np.exp(-0.5 * ((wavenumber[None] - np.asarray(frequencies)[:, None]) / WIDTH) ** 2)
    return lines / (WIDTH * np.sqrt(2 * np.pi))


def contributions(
    band: Band, wavenumber: np.ndarray, densities: np.ndarray, intensities: np.ndarray
) -> np.ndarray:
    """Return what each mode gives to a band if its intensity is the harmonic one, ``[modes]`` [km/mol]."""
    inside = (wavenumber >= band.low) & (wavenumber <= band.high)
    return intensities * np.trapezoid(densities[:, inside], wavenumber[inside], axis=1)


def assignment(names: Sequence[str], given: np.ndarray) -> tuple[str, float]:
    """Return the name of a band and the share of it that this name covers, from the names of the modes and what they give to it."""
    total = float(given.sum())
    if total <= 0:
        return "", 0.0
    shares: dict[str, float] = defaultdict(float)
    for name, part in zip(names, given / total, strict=True):
        shares[name] += float(part)
    if max(shares.values()) < CLEAR:  # symmetric and antisymmetric ones together
        merged: dict[str, float] = defaultdict(float)
        for name, share in shares.items():
            merged[name.replace("antisymmetric ", "").replace("symmetric ", "")] += share
        shares = merged
    (first, most), *rest = sorted(shares.items(), key=lambda item: -item[1])
    if most < ALONE and rest and rest[0][1] >= SECOND:
        return f"{first}; {rest[0][0]}", most + rest[0][1]
    return first, most


def table(
    spectra: Mapping[str, Spectrum],
    window: tuple[float, float],
    known: Harmonic,
    own: Harmonic | None,
    moving: tuple[np.ndarray, np.ndarray] | None,
) -> list[dict[str, object]]:
    """Return a row for each band of the predicted spectrum.

    Parameters
    ----------
    spectra : mapping
        ``predicted``; ``reference`` and ``experiment`` if there are, the latter at the same
        resolution.
    window : tuple of float
        [cm⁻¹].
    known : Harmonic
        Of the engine.
    own : Harmonic or None
        Of committee and dipole model, in the same order of modes; that of the engine stands in.
    moving : tuple or None
        Wavenumbers and densities of the modes along the MD; else each mode is taken to move at its
        harmonic frequency.
    """
    mine = known if own is None or own.intensities is None else own
    if mine.intensities is None:
        return []
    grid = spectra["predicted"].wavenumber
    wavenumber, densities = (
        (grid, harmonic_densities(mine.frequencies, grid)) if moving is None else moving
    )
    names = [str(character) for character in characters(known)]
    others = {kind: bands(spectra[kind], window) for kind in NEAREST if kind in spectra}
    rows: list[dict[str, object]] = []
    for band in bands(spectra["predicted"], window):
        given = contributions(band, wavenumber, densities, mine.intensities)
        name, share = assignment(names, given)
        if given.sum() < EXPLAINED * band.area:
            name = f"no fundamental ({name})"
        partner = int(given.argmax())
        rows.append(
            {
                "position_cm1": band.position,
                "position_error_cm1": band.position_error,
                "area_km_per_mol": band.area,
                "area_error_km_per_mol": band.area_error,
                "assignment": name,
                "share": share,
                "harmonic_area_km_per_mol": float(given.sum()),
                "mode": partner + 1,
                "harmonic_cm1": float(mine.frequencies[partner]),
                "engine_harmonic_cm1": float(known.frequencies[partner]),
                **{
                    f"{kind}_cm1": _nearest(band, found, NEAREST[kind])
                    for kind, found in others.items()
                },
            }
        )
    return rows


def _nearest(band: Band, others: Sequence[Band], most: float) -> float:
    """Return where the nearest band of another spectrum is [cm⁻¹]; NaN if none is near."""
    near = min(others, key=lambda other: abs(other.position - band.position), default=None)
    return (
        near.position
        if near is not None and abs(near.position - band.position) <= most
        else float("nan")
    )


def in_words(rows: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Return the rows for readers: numbers with their errors, few digits."""

    def with_error(row: Mapping[str, object], name: str, unit: str) -> str:
        error = float(str(row[f"{name}_error_{unit}"]))
        return f"{row[f'{name}_{unit}']:.0f}" + (f" ± {error:.1f}" if np.isfinite(error) else "")

    told = []
    for row in rows:
        one: dict[str, object] = {
            "band (cm⁻¹)": with_error(row, "position", "cm1"),
            "area (km/mol)": with_error(row, "area", "km_per_mol"),
            "assignment": row["assignment"],
            "share": f"{row['share']:.0%}",
            "area if harmonic": f"{row['harmonic_area_km_per_mol']:.0f}",
            "harmonic (engine's)": f"{row['harmonic_cm1']:.0f} ({row['engine_harmonic_cm1']:.0f})",
        }
        for kind in NEAREST:
            if f"{kind}_cm1" in row:
                one[kind] = (
                    "" if np.isnan(float(str(row[f"{kind}_cm1"]))) else f"{row[f'{kind}_cm1']:.0f}"
                )
        told.append(one)
    return told


def mode_table(known: Harmonic, own: Harmonic | None) -> list[dict[str, object]]:
    """Return a row for each normal mode: what it is, and wavenumber and intensity by the engine and by the committee."""
    rows = []
    for number, character in enumerate(characters(known)):
        row: dict[str, object] = {
            "mode": number + 1,
            "engine_cm1": float(known.frequencies[number]),
        }
        if known.intensities is not None:
            row["engine_km_per_mol"] = float(known.intensities[number])
        if own is not None:
            row["committee_cm1"] = float(own.frequencies[number])
            if own.intensities is not None:
                row["committee_km_per_mol"] = float(own.intensities[number])
        row["motion"] = ", ".join(
            f"{name} {share:.0%}" for name, share in character.shares.items() if share >= 0.1
        )
        rows.append(row)
    return rows
