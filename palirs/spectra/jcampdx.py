"""Computed spectra as JCAMP-DX files, which the programs of spectrometers read.

McDonald and Wilks 1988, doi:10.1366/0003702884428734: version 4.24, ordinates as integers times a
factor. The quantity is the absorbance of 1 mol/L over 1 cm, since the format has no unit for a
molar absorption coefficient; its numbers are those of the decadic one in L mol⁻¹ cm⁻¹.
"""

import os
from pathlib import Path

import numpy as np

from palirs.spectra.spectrum import Spectrum
from palirs.version import VERSION

LARGEST_ORDINATE = 10**9
"""The integer that the largest ordinate becomes; the standard allows 32 bits."""
PER_LINE = 5
ORIGIN = "palirs, computed"
"""What the files say of where they come from."""
ABSOLUTE_ZERO = -273.15


def write_jcamp(
    path: Path,
    spectrum: Spectrum,
    *,
    title: str,
    temperature: float,
    resolution: float,
    method: str = "",
) -> None:
    """Write a computed spectrum, atomically.

    Parameters
    ----------
    path : Path
        Of the file.
    spectrum : Spectrum
        In km/mol per cm⁻¹. The file has as many points at even distances; those of computed spectra
        are not quite even where the shift of lines by the time step is corrected.
    title : str
        Name of the molecule.
    temperature : float
        [K]; the format wants °C.
    resolution : float
        Full width of a sharp line at half of its height [cm⁻¹].
    method : str
        How it was made.

    Raises
    ------
    ValueError
        For a spectrum in another unit.
    """
    if spectrum.unit != "km/mol per cm⁻¹":
        raise ValueError(f"{spectrum.label!r} is in {spectrum.unit!r}, which is no absorption")
    first, last, count = spectrum.wavenumber[0], spectrum.wavenumber[-1], len(spectrum.wavenumber)
    x, step = np.linspace(first, last, count, retstep=True)
    y = np.interp(x, spectrum.wavenumber, spectrum.molar_absorption)
    factor = max(float(np.abs(y).max()), 1e-30) / LARGEST_ORDINATE
    ordinates = np.round(y / factor).astype(int)
    labels = {
        "TITLE": title,
        "JCAMP-DX": f"4.24 $$ palirs {VERSION}",
        "DATA TYPE": "INFRARED SPECTRUM",
        "ORIGIN": ORIGIN,
        "OWNER": "its author",
        "STATE": "gas, isolated molecule",
        "TEMPERATURE": f"{temperature + ABSOLUTE_ZERO:.2f}",
        "PATH LENGTH": "1.0",
        "RESOLUTION": f"{resolution:.1f}",
        "DATA PROCESSING": _ascii(f"{spectrum.label}; {method}".rstrip("; ")),
        "COMMENTS": "absorbance of 1 mol/L over 1 cm: decadic molar absorption coefficient in "
        "L/(mol cm); times ln(10)/100 it is the absorption in km/mol per 1/cm"
        + _of_error(spectrum),
        "XUNITS": "1/CM",
        "YUNITS": "ABSORBANCE",
        "XFACTOR": "1.0",
        "YFACTOR": repr(factor),
        "FIRSTX": repr(float(x[0])),
        "LASTX": repr(float(x[-1])),
        "DELTAX": repr(float(step)),
        "NPOINTS": str(len(x)),
        "FIRSTY": repr(float(ordinates[0] * factor)),
        "MAXY": repr(float(ordinates.max() * factor)),
        "MINY": repr(float(ordinates.min() * factor)),
        "XYDATA": "(X++(Y..Y))",
    }
    lines = [f"##{label}={value}" for label, value in labels.items()]
    for begin in range(0, len(x), PER_LINE):
        row = ordinates[begin : begin + PER_LINE]
        lines.append(f"{x[begin]:.6f}" + "".join(f" {value}" for value in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text("\n".join([*lines, "##END=", ""]), encoding="ascii", errors="replace")
    part.replace(path)


def _of_error(spectrum: Spectrum) -> str:
    """Return the standard error at the highest point as a remark, if it is known."""
    top = int(spectrum.intensity.argmax())
    error = np.nan if spectrum.error is None else spectrum.error[top]
    if not np.isfinite(error) or spectrum.intensity[top] <= 0:
        return ""
    return f"; standard error at the highest point {error / spectrum.intensity[top]:.1%}"


def _ascii(text: str) -> str:
    """Return a text in the characters of the format."""
    for character, plain in (("×", "x"), ("⁻¹", "-1"), ("–", "-"), ("é", "e")):
        text = text.replace(character, plain)
    return text
