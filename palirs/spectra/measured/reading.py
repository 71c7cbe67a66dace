"""Measured spectra from JCAMP-DX files or two columns of text: one that can be trusted, or an error that says where and why not."""

import logging
import re
from pathlib import Path

import numpy as np

from palirs.spectra.jcampdx import LARGEST, Block, JcampError, blocks
from palirs.spectra.ordinates import table
from palirs.spectra.spectrum import Spectrum

log = logging.getLogger(__name__)

OPAQUE = 1e-3
"""Transmittance at and below which nothing can be told of the absorbance."""
PER_CENT = 2.0
"""A transmittance whose bulk (95th percentile) lies above this is in per cent: no sample is half as bright again."""
BRIGHTEST = 1.5
FLAT = 5
"""As many equal values in a row at the top of a spectrum are the end of the instrument's range."""
_LENGTHS = {
    "cm-1": "1/cm 1/cm. cm-1 cm^-1 cm**-1 cm⁻¹ wavenumber wavenumbers wavenumber(cm-1) 1/centimeters reciprocalcentimeters kayser",
    "µm": "micrometers micrometer micrometres micrometre microns micron um µm μm",
    "nm": "nanometers nanometer nanometres nanometre nm",
}
UNITS = {name: unit for unit, names in _LENGTHS.items() for name in names.split()}


def read_spectrum(path: str | Path) -> Spectrum:
    """Read a measured infrared spectrum: JCAMP-DX, or text with wavenumber [cm⁻¹] and absorbance in two columns.

    Parameters
    ----------
    path : path
        Of the file; what it is, is told by its content.

    Returns
    -------
    Spectrum
        As :func:`read_jcamp` returns it.

    Raises
    ------
    ValueError
        That names file, line and reason.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(4096).decode("latin-1")
    except OSError as error:
        raise JcampError(f"{path}: cannot be read ({error.strerror})") from error
    return read_jcamp(path) if re.search(r"^\W{0,3}##", head, re.MULTILINE) else read_columns(path)


def read_jcamp(path: str | Path) -> Spectrum:
    """Read an infrared spectrum from a JCAMP-DX file; transmittance becomes absorbance −log₁₀ T, wavelengths become wavenumbers.

    Of several blocks only infrared spectra count, of these those in the gas phase if there are any, of these the one with most points, the
    first of equals; the log says which.

    Returns
    -------
    Spectrum
        Ascending in wavenumber [cm⁻¹]; ``measured`` is true and ``unit`` is that of the absorbance. Ordinates that are missing ("?") are
        ``gaps``, those beyond the instrument's range ``saturated``.

    Raises
    ------
    ValueError
        That names file, line and reason.
    """
    block = _chosen(blocks(path), path)
    x, y = table(block)
    return _spectrum(block, x, y, block.text("XUNITS"), block.text("YUNITS"), block.text("TITLE") or Path(path).stem)


def read_columns(path: str | Path) -> Spectrum:
    """Read two columns of text, wavenumber [cm⁻¹] and absorbance (or, if a heading says so, transmittance or wavelength).

    Columns are separated by commas, semicolons, tabs or spaces; lines before the numbers and after ``#`` are comments or headings.
    """
    path = Path(path)
    if path.stat().st_size > LARGEST:
        raise JcampError(f"{path}: {path.stat().st_size / 2**20:.0f} MiB; a spectrum has at most {LARGEST // 2**20}")
    rows: list[list[float]] = []
    heading = ""
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").splitlines(), 1):
        words = [word for word in re.split(r"[\s,;]+", line.partition("#")[0].strip()) if word]
        try:
            row = [float(word) for word in words]
        except ValueError:
            if rows:
                raise JcampError(f"{path}, line {number}: {line.strip()[:40]!r} is no row of numbers") from None
            heading += f" {line.lower()}"
            continue
        if row and len(row) < 2:
            raise JcampError(f"{path}, line {number}: one number; two columns are needed, wavenumber and absorbance")
        rows += [row[:2]] if row else []
    if len(rows) < 2:
        raise JcampError(f"{path}: neither JCAMP-DX (##TITLE=) nor two columns of numbers")
    x, y = np.array(rows).T
    unit = "nm" if re.search(r"\bnm\b|nanomet", heading) else "µm" if re.search(r"\b[uµμ]m\b|micro(n|m)", heading) else "cm-1"
    kind = "transmittance" if re.search(r"transmit|%\s*t\b", heading) else "absorbance"
    return _spectrum(Block(path), x, y, unit, kind, path.stem)


def _chosen(found: list[Block], path: str | Path) -> Block:
    """Return the infrared spectrum of a file."""
    infrared = [block for block in found if _is_infrared(block)]
    if not infrared:
        kinds = ", ".join(sorted({block.text("DATATYPE").lower() or "no DATA TYPE" for block in found}))
        raise JcampError(f"{path}: no infrared spectrum, but {kinds}")
    gas = [block for block in infrared if re.search(r"\b(gas|vapou?r)", block.text("STATE").lower())]
    chosen = max(gas or infrared, key=lambda block: block.number("NPOINTS"))
    if len(infrared) > 1:
        log.info("%s: %d infrared spectra, taken is %r", path, len(infrared), chosen.text("TITLE"))
    return chosen


def _is_infrared(block: Block) -> bool:
    kind = re.sub(r"[\s\-]", "", block.text("DATATYPE")).lower()
    continuous = "XYDATA" in block.labels or "XYPOINTS" in block.labels
    return continuous and (kind in ("", "irspectrum") or ("infrared" in kind and not re.search("interferogram|peak|assign", kind)))


def _spectrum(block: Block, x: np.ndarray, y: np.ndarray, xunit: str, yunit: str, label: str) -> Spectrum:
    wavenumber = _wavenumber(block, x, xunit)
    intensity, unit, opaque = _absorbance(block, y, yunit)
    order = np.argsort(wavenumber)
    wavenumber, intensity, opaque = wavenumber[order], intensity[order], opaque[order]
    if not (np.diff(wavenumber) > 0).all():
        block.fail("wavenumbers should be distinct")
    missing = np.isnan(intensity)
    saturated = opaque | _flat_top(intensity)
    known = np.interp(wavenumber, wavenumber[~missing], intensity[~missing])
    return Spectrum(
        wavenumber,
        known,
        label=label,
        unit=unit,
        measured=True,
        gaps=_ranges(wavenumber, missing),
        saturated=_ranges(wavenumber, saturated),
    )


def _wavenumber(block: Block, x: np.ndarray, unit: str) -> np.ndarray:
    known = UNITS.get(re.sub(r"\s", "", unit).lower().strip("()[]"))
    where = block.labels["XUNITS"][1] if "XUNITS" in block.labels else None
    if known is None:
        block.fail(f"XUNITS = {unit!r}: it should be 1/CM, MICROMETERS or NANOMETERS", where)
    if not (np.isfinite(x).all() and (x > 0).all() if known != "cm-1" else np.isfinite(x).all()):
        block.fail("abscissas should be finite, and wavelengths positive")
    wavenumber = x if known == "cm-1" else (1e4 if known == "µm" else 1e7) / x
    if wavenumber.min() < -1 or wavenumber.max() > 50_000:
        block.fail(
            f"from {wavenumber.min():.6g} to {wavenumber.max():.6g} cm⁻¹ is no infrared spectrum; is XUNITS = {unit!r} right?", where
        )
    return wavenumber


def _absorbance(block: Block, y: np.ndarray, unit: str) -> tuple[np.ndarray, str, np.ndarray]:
    """Return absorbance, its unit, and where nothing came through."""
    text, where = re.sub(r"\s+", " ", unit.lower()).strip(), block.labels["YUNITS"][1] if "YUNITS" in block.labels else None
    known = y[~np.isnan(y)]
    if len(known) < 2 or not np.isfinite(known).all() or np.ptp(known) == 0:
        block.fail("ordinates are gaps, infinite or all the same")
    if "transmit" in text or re.fullmatch(r"%\s*t\.?|t\s*\(?%\)?|t", text):
        bulk = float(np.percentile(known, 95))
        share = y / 100 if bulk > PER_CENT else y
        bulk = bulk / 100 if bulk > PER_CENT else bulk
        if not 0 < bulk <= BRIGHTEST:
            block.fail(f"a transmittance of {100 * bulk:.3g} % over most of the spectrum; is YFACTOR right?", where)
        with np.errstate(invalid="ignore"):
            opaque = share <= OPAQUE
        return -np.log10(np.clip(share, OPAQUE, None)), "absorbance", opaque
    if not ("absorb" in text or "micromol" in text or "absorption coefficient" in text or text in ("a", "au", "a.u.")):
        block.fail(f"YUNITS = {unit!r}: it should be ABSORBANCE, TRANSMITTANCE or an absorption coefficient", where)
    return y, text, np.zeros(len(y), dtype=bool)


def _flat_top(intensity: np.ndarray) -> np.ndarray:
    """Tell which points belong to a run of equal values at the top."""
    top = intensity >= np.nanmax(intensity) * (1 - 1e-9)
    runs = np.split(np.arange(len(top)), np.flatnonzero(np.diff(top)) + 1)
    flat = np.zeros(len(top), dtype=bool)
    for run in runs:
        flat[run] = bool(top[run[0]]) and len(run) >= FLAT
    return flat


def _ranges(wavenumber: np.ndarray, which: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return stretches of points as ranges of wavenumbers, up to half way to the neighbours."""
    edges = np.concatenate([wavenumber[:1], (wavenumber[1:] + wavenumber[:-1]) / 2, wavenumber[-1:]])
    runs = np.split(np.arange(len(which)), np.flatnonzero(np.diff(which)) + 1)
    return tuple((float(edges[run[0]]), float(edges[run[-1] + 1])) for run in runs if which[run[0]])
