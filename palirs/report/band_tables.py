"""Tables of bands and of normal modes, for readers."""

from collections.abc import Mapping, Sequence

import numpy as np

from palirs.spectra.assignment import NEAREST
from palirs.vibrations import Harmonic
from palirs.vibrations.naming import characters


def in_words(
    rows: Sequence[Mapping[str, float | str]], fundamentals: Mapping[int, str] | None = None
) -> list[dict[str, object]]:
    """Return the rows of :func:`palirs.spectra.assignment.assigned_bands` as text, with errors.

    Parameters
    ----------
    rows : sequence of mapping
        Of a spectrum.
    fundamentals : mapping, optional
        Anharmonic fundamental of each mode, numbered from 1, as text.
    """

    def with_error(row: Mapping[str, float | str], name: str, unit: str) -> str:
        error = float(row[f"{name}_error_{unit}"])
        return f"{row[f'{name}_{unit}']:.0f}" + (f" ± {error:.1f}" if np.isfinite(error) else "")

    texts = []
    for row in rows:
        text: dict[str, object] = {
            "band (cm⁻¹)": with_error(row, "position", "cm1"),
            "area (km/mol)": with_error(row, "area", "km_per_mol"),
            "assignment": row["assignment"],
            "share": f"{row['share']:.0%}",
            "area if harmonic": f"{row['harmonic_area_km_per_mol']:.0f}",
            "harmonic (engine's)": f"{row['harmonic_cm1']:.0f} ({row['engine_harmonic_cm1']:.0f})",
        }
        if fundamentals:
            text["anharmonic"] = fundamentals.get(int(float(row["mode"])), "")
        for kind in NEAREST:
            if f"{kind}_cm1" in row:
                position = float(row[f"{kind}_cm1"])
                text[kind] = "" if np.isnan(position) else f"{position:.0f}"
        texts.append(text)
    return texts


def mode_table(reference: Harmonic, predicted: Harmonic | None) -> list[dict[str, object]]:
    """Return wavenumber and intensity by engine and committee, and motion, of each normal mode."""
    rows = []
    for number, character in enumerate(characters(reference)):
        row: dict[str, object] = {"mode": number + 1}
        for name, vibrations in (("engine", reference), ("committee", predicted)):
            if vibrations is not None:
                row[f"{name}_cm1"] = float(vibrations.frequencies[number])
                if vibrations.intensities is not None:
                    row[f"{name}_km_per_mol"] = float(vibrations.intensities[number])
        row["motion"] = ", ".join(
            f"{name} {share:.0%}" for name, share in character.shares.items() if share >= 0.1
        )
        rows.append(row)
    return rows
