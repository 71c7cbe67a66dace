"""Measured spectra from JCAMP-DX files."""

from pathlib import Path
from typing import Any

import jcamp
import numpy as np

from palirs.spectra.spectrum import Spectrum


def read_jcamp(path: str | Path) -> Spectrum:
    """Read an infrared spectrum; transmittance becomes absorbance −log₁₀ T, wavelengths become wavenumbers.

    Parameters
    ----------
    path : path
        A JCAMP-DX file with one spectrum.

    Returns
    -------
    Spectrum
        Ascending in wavenumber [cm⁻¹]; ``measured`` is true and ``unit`` is that of the absorbance.

    Raises
    ------
    ValueError
        If the file cannot be read, or its units are neither of these.
    """
    try:
        record: dict[str, Any] = jcamp.readfile(str(path))
        x, y = np.asarray(record["x"], dtype=float), np.asarray(record["y"], dtype=float)
    except Exception as error:  # the parser raises whatever its line of text made it stumble over
        raise ValueError(f"{path}: not a readable JCAMP-DX spectrum ({type(error).__name__}: {error})") from error
    wavenumber = _wavenumber(x, str(record.get("xunits", "")), path)
    intensity, unit = _absorbance(y, str(record.get("yunits", "")), path)
    order = np.argsort(wavenumber)
    return Spectrum(wavenumber[order], intensity[order], label=str(record.get("title", Path(path).stem)), unit=unit, measured=True)


def _wavenumber(x: np.ndarray, unit: str, path: str | Path) -> np.ndarray:
    text = unit.lower().replace(" ", "")
    if text in {"1/cm", "cm-1", "cm^-1", "cm⁻¹"}:
        return x
    if text.startswith(("micromet", "microns", "um", "µm")):
        return 1e4 / x
    raise ValueError(f"{path}: XUNITS = {unit!r}; it should be 1/CM or MICROMETERS")


def _absorbance(y: np.ndarray, unit: str, path: str | Path) -> tuple[np.ndarray, str]:
    text = unit.lower()
    if "transmit" in text:
        share = y / 100 if np.nanmax(y) > 2 or "%" in text or "percent" in text else y
        return -np.log10(np.clip(share, 1e-4, None)), "absorbance"
    if "absorb" in text or "micromol" in text:
        return y, unit.lower()
    raise ValueError(f"{path}: YUNITS = {unit!r}; it should be ABSORBANCE, TRANSMITTANCE or an absorption coefficient")
