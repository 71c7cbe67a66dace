"""Read measured infrared spectra from JCAMP-DX files or columns of text."""

import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from palirs.spectra.measured.abscissas import check_abscissas
from palirs.spectra.measured.columns import chosen
from palirs.spectra.measured.jcampdx import TABLES, Block, RecordError, blocks
from palirs.spectra.measured.ordinates import table
from palirs.spectra.measured.quantities import absorbances, doubt, judged, wavenumbers
from palirs.spectra.measured.rows import read_rows
from palirs.spectra.spectrum import Spectrum

log = logging.getLogger(__name__)

_JCAMP = re.compile(
    r"^\W{0,3}##\s*(TITLE|JCAMP|DATA ?TYPE|XY ?DATA|XUNITS|YUNITS|END|ORIGIN|OWNER|NPOINTS)[^\n]*=",
    re.MULTILINE | re.IGNORECASE,
)
FLAT = 5
"""Number of equal values in a row at the maximum that mark the end of the instrument's range."""


def read_spectrum(path: str | Path) -> Spectrum:
    """Read a measured infrared spectrum from a JCAMP-DX file or columns of text.

    Parameters
    ----------
    path : path
        Of the file; its format is recognised by its content.

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
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
    return read_jcamp(path) if _JCAMP.search(head) else read_columns(path)


def read_jcamp(path: str | Path) -> Spectrum:
    """Read an infrared spectrum from a JCAMP-DX file.

    Transmittance T becomes absorbance −log₁₀ T, wavelengths become wavenumbers. Of several infrared
    spectra those in the gas phase are preferred, then the one with most points, then the first; the
    log says which was read.

    Returns
    -------
    Spectrum
        Ascending in wavenumber [cm⁻¹]; ``measured`` is true and ``unit`` is that of the absorbance.
        Missing ordinates ("?") are ``gaps``, those beyond the instrument's range ``saturated``.

    Raises
    ------
    ValueError
        That names file, line and reason.
    """
    block = _infrared(blocks(path), path)
    x, y = table(block)
    xunit, yunit = block.text("XUNITS"), block.text("YUNITS")
    spectrum = _spectrum(block, x, y, xunit, yunit, block.text("TITLE") or Path(path).stem)
    is_absorbance = spectrum.unit == "absorbance" and "transmit" not in yunit.lower()
    caveat = doubt(y) if is_absorbance else ""
    return _described(spectrum, f"JCAMP-DX, {yunit} over {xunit}", caveat)


def read_columns(path: str | Path) -> Spectrum:
    """Read an infrared spectrum from two columns of a text file.

    They are wavenumber [cm⁻¹] or wavelength, and absorbance, transmittance or an absorption
    coefficient. Columns are separated by commas, semicolons, tabs or blanks; numbers have decimal
    points or commas. Headings (:mod:`palirs.spectra.measured.headings`) identify the columns.
    Without them the first two are wavenumber and absorbance, or transmittance if their shape leaves
    no doubt; ``read_as`` of the spectrum says what was read. Other lines before and after the
    numbers are remarks.

    Returns
    -------
    Spectrum
        As :func:`read_jcamp` returns it.

    Raises
    ------
    ValueError
        That names file, line and reason: data that are not an absorption, ambiguous columns, and
        rows that look damaged.
    """
    rows = read_rows(Path(path))
    columns = chosen(rows)
    check_abscissas(rows, columns.abscissa)
    y, quantity, per_cent, caveat = judged(rows, columns)
    description = (
        f"columns {columns.abscissa + 1} and {columns.ordinate + 1} of {len(rows.cells[0])}, "
        f"{columns.unit} and {quantity}{' (per cent)' if per_cent else ''} as {columns.told_by} "
        f"tell; {rows.layout}"
    )
    x = rows.values[:, columns.abscissa]
    spectrum = _spectrum(Block(rows.path), x, y, columns.unit, quantity, rows.path.stem)
    return _described(spectrum, description, caveat)


def _described(spectrum: Spectrum, description: str, caveat: str) -> Spectrum:
    """Return the spectrum with the record of how it was read."""
    low, high = spectrum.wavenumber[0], spectrum.wavenumber[-1]
    read_as = f"{description}; {len(spectrum.wavenumber)} points from {low:.6g} to {high:.6g} cm⁻¹"
    return replace(spectrum, read_as=read_as, doubt=caveat)


def _infrared(candidates: list[Block], path: str | Path) -> Block:
    """Return the infrared spectrum of a file, as :func:`read_jcamp` chooses it."""
    infrared = [block for block in candidates if _is_infrared(block)]
    if not infrared:
        kinds = dict.fromkeys(_kind(block) for block in candidates)
        raise RecordError(f"{path}: {'; '.join(kinds)}")
    gas = [
        block for block in infrared if re.search(r"\b(gas|vapou?r)", block.text("STATE").lower())
    ]
    chosen = max(gas or infrared, key=lambda block: block.number("NPOINTS"))
    if len(infrared) > 1:
        log.info("%s: %d infrared spectra, taken is %r", path, len(infrared), chosen.text("TITLE"))
    return chosen


def _is_infrared(block: Block) -> bool:
    kind = re.sub(r"[\s\-_./]", "", block.text("DATATYPE")).lower()
    other = re.search("interferogram|peak|assign|raman|background|singlebeam", kind)
    named = re.fullmatch(r"(ft|[mfn]|mid|far|near)?ir(spectr(um|a|e))?(data)?", kind)
    return _is_continuous(block) and not other and bool(not kind or named or "infrared" in kind)


def _is_continuous(block: Block) -> bool:
    return "XYDATA" in block.labels or "XYPOINTS" in block.labels


def _kind(block: Block) -> str:
    """Return what a block is that is not an infrared spectrum."""
    kind = block.text("DATATYPE").lower() or "no DATA TYPE"
    if _is_continuous(block):
        return f"no infrared spectrum, but {kind}"
    table = next(label for label in TABLES if label in block.labels)
    return f"{kind} as ##{table}=, no continuous spectrum; ##XYDATA= is needed"


def _spectrum(
    block: Block, x: np.ndarray, y: np.ndarray, xunit: str, yunit: str, label: str
) -> Spectrum:
    wavenumber = wavenumbers(block, x, xunit)
    intensity, unit, opaque = absorbances(block, y, yunit)
    order = np.argsort(wavenumber)
    wavenumber, intensity, opaque = wavenumber[order], intensity[order], opaque[order]
    if not (np.diff(wavenumber) > 0).all():
        block.fail("wavenumbers should be distinct")
    missing = np.isnan(intensity)
    saturated = opaque | _flat_top(intensity)
    filled = np.interp(wavenumber, wavenumber[~missing], intensity[~missing])
    return Spectrum(
        wavenumber,
        filled,
        label=label,
        unit=unit,
        measured=True,
        gaps=_ranges(wavenumber, missing),
        saturated=_ranges(wavenumber, saturated),
    )


def _flat_top(intensity: np.ndarray) -> np.ndarray:
    """Tell which points belong to a run of equal values at the top."""
    top = intensity >= np.nanmax(intensity) * (1 - 1e-9)
    runs = np.split(np.arange(len(top)), np.flatnonzero(np.diff(top)) + 1)
    flat = np.zeros(len(top), dtype=bool)
    for run in runs:
        flat[run] = bool(top[run[0]]) and len(run) >= FLAT
    return flat


def _ranges(wavenumber: np.ndarray, which: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return runs of points as ranges of wavenumbers, up to half way to their neighbours."""
    edges = np.concatenate(
        [wavenumber[:1], (wavenumber[1:] + wavenumber[:-1]) / 2, wavenumber[-1:]]
    )
    runs = np.split(np.arange(len(which)), np.flatnonzero(np.diff(which)) + 1)
    return tuple((float(edges[run[0]]), float(edges[run[-1] + 1])) for run in runs if which[run[0]])
