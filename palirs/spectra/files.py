"""CSV files of spectra: a comment line with label and unit, then named columns."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from palirs.spectra.spectrum import Spectrum


def write_csv(path: Path, content: Spectrum | Mapping[str, np.ndarray]) -> None:
    """Write a spectrum, or named columns of equal length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Spectrum):
        described = {key: getattr(content, key) for key in ("label", "unit", "made", "time")}
        comment = json.dumps(described, ensure_ascii=False)
        error = np.full(len(content.wavenumber), np.nan) if content.error is None else content.error
        columns = {
            "wavenumber_cm1": content.wavenumber,
            "intensity": content.intensity,
            "standard_error": error,
        }
        if content.unit == "km/mol per cm⁻¹":
            columns["molar_absorption_L_per_mol_cm"] = content.molar_absorption
    else:
        comment = ""
        columns = dict(content)
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        if comment:
            file.write(f"# {comment}\n")
        file.write(",".join(columns) + "\n")
        np.savetxt(file, np.column_stack(list(columns.values())), delimiter=",", fmt="%.8g")
    part.replace(path)


def read_csv(path: Path) -> Spectrum:
    """Read a spectrum that :func:`write_csv` wrote."""
    with path.open(encoding="utf-8") as file:
        described = json.loads(file.readline().lstrip("# "))
    wavenumber, intensity, error = np.loadtxt(
        path, delimiter=",", skiprows=2, usecols=(0, 1, 2), unpack=True, encoding="utf-8"
    )
    return Spectrum(wavenumber, intensity, error, **described)
