"""From what a record gives to absorbance over wavenumbers, and whether its numbers can be what they are called."""

import re
from typing import NamedTuple

import numpy as np

from palirs.spectra.measured.columns import Columns
from palirs.spectra.measured.headings import (
    ABSORBANCE,
    COEFFICIENT,
    MICROMETRES,
    NANOMETRES,
    TRANSMITTANCE,
    WAVENUMBERS,
    understood,
)
from palirs.spectra.measured.jcampdx import Block
from palirs.spectra.measured.rows import Rows

OPAQUE = 1e-3
"""Transmittance at and below which nothing can be told of the absorbance."""
PER_CENT = 2.0
"""A transmittance whose bulk (95th percentile) lies above this is in per cent: no sample is half as
bright again."""
BRIGHTEST = 1.5
PLATEAU = (60.0, 110.0)
"""Where most values of a per cent transmittance lie."""
HIGHEST = 10.0
"""Median of an absorbance, above which it is none: nothing comes through such a sample."""
DIPS = 3.0
"""Bands point down where values reach so many times further below their median than above it."""


def wavenumbers(block: Block, x: np.ndarray, unit: str) -> np.ndarray:
    """Return wavenumbers [cm⁻¹] of abscissas in a unit."""
    known = understood(unit).abscissa
    where = block.labels["XUNITS"][1] if "XUNITS" in block.labels else None
    if known not in (WAVENUMBERS, MICROMETRES, NANOMETRES):
        block.fail(f"XUNITS = {unit!r}: it should be 1/CM, MICROMETERS or NANOMETERS", where)
    if not (
        np.isfinite(x).all() and (x > 0).all() if known != WAVENUMBERS else np.isfinite(x).all()
    ):
        block.fail("abscissas should be finite, and wavelengths positive")
    wavenumber = x if known == WAVENUMBERS else (1e4 if known == MICROMETRES else 1e7) / x
    if wavenumber.min() < -1 or wavenumber.max() > 50_000:
        block.fail(
            f"from {wavenumber.min():.6g} to {wavenumber.max():.6g} cm⁻¹ is no infrared spectrum; is XUNITS = {unit!r} right?",
            where,
        )
    return wavenumber


def absorbances(block: Block, y: np.ndarray, unit: str) -> tuple[np.ndarray, str, np.ndarray]:
    """Return absorbance, its unit, and where nothing came through."""
    text, where = (
        re.sub(r"\s+", " ", unit.lower()).strip(),
        block.labels["YUNITS"][1] if "YUNITS" in block.labels else None,
    )
    known = y[~np.isnan(y)]
    if len(known) < 2 or not np.isfinite(known).all() or np.ptp(known) == 0:
        block.fail("ordinates are gaps, infinite or all the same")
    if "transmit" in text or re.fullmatch(r"%\s*t\.?|t\s*\(?%\)?|t", text):
        bulk = float(np.percentile(known, 95))
        share = y / 100 if bulk > PER_CENT else y
        bulk = bulk / 100 if bulk > PER_CENT else bulk
        if not 0 < bulk <= BRIGHTEST:
            block.fail(
                f"a transmittance of {100 * bulk:.3g} % over most of the spectrum; is YFACTOR right?",
                where,
            )
        with np.errstate(invalid="ignore"):
            opaque = share <= OPAQUE
        return -np.log10(np.clip(share, OPAQUE, None)), "absorbance", opaque
    stated = understood(unit)
    usual = "absorb" in text or "micromol" in text or "absorption coefficient" in text
    usual = usual or text in ("a", "au", "a.u.")
    if not usual and stated.ordinate not in (ABSORBANCE, COEFFICIENT):
        instead = f" ({stated.refused})" if stated.refused else ""
        block.fail(
            f"YUNITS = {unit!r}{instead}: it should be ABSORBANCE, TRANSMITTANCE or an absorption coefficient",
            where,
        )
    return y, text, np.zeros(len(y), dtype=bool)


def doubt(y: np.ndarray) -> str:
    """Return what is odd about an absorbance; empty if nothing is."""
    known = y[np.isfinite(y)]
    if not _is_no_absorbance(known):
        return ""
    return f"called absorbance, but most values lie about {np.median(known):.3g}; is it per cent transmittance?"


class Ordinates(NamedTuple):
    """The ordinates of a text file.

    Attributes
    ----------
    values : numpy.ndarray
        ``[rows]``; of a transmittance as a share of 1.
    quantity : str
        What they are.
    per_cent : bool
        Whether the file has them in per cent.
    doubt : str
        What should be known of how that was told; empty if nothing.
    """

    values: np.ndarray
    quantity: str
    per_cent: bool = False
    doubt: str = ""


def judged(rows: Rows, columns: Columns) -> Ordinates:
    """Return the ordinates of a text file.

    Parameters
    ----------
    rows : Rows
        Of the file.
    columns : Columns
        Which of them, and what headings say.

    Raises
    ------
    RecordError
        If the numbers cannot be what they are called, or nothing tells what they are.
    """
    y = rows.values[:, columns.ordinate]
    known = y[np.isfinite(y)]
    if len(known) < 2 or np.ptp(known) == 0:
        rows.fail("ordinates are gaps, infinite or all the same")
    if columns.quantity == TRANSMITTANCE:
        factor = _whole(rows, known, columns.per_cent)
        return Ordinates(y / factor, TRANSMITTANCE, factor > 1)
    if columns.quantity == ABSORBANCE and _is_no_absorbance(known):
        rows.fail(
            f"{doubt(y)} Then write 'wavenumber,transmittance (%)' above the numbers; if it is another measure of "
            f"absorption, 'wavenumber,absorption coefficient'"
        )
    return Ordinates(y, columns.quantity) if columns.quantity else _told_by_shape(rows, y, known)


def _is_no_absorbance(known: np.ndarray) -> bool:
    median, bulk = float(np.median(known)), float(np.percentile(known, 95))
    return median > HIGHEST or (PLATEAU[0] <= bulk <= PLATEAU[1] and _dips(known))


def _dips(known: np.ndarray) -> bool:
    """Tell whether bands point down."""
    median = np.median(known)
    return bool(median - known.min() > DIPS * (known.max() - median))


def _whole(rows: Rows, known: np.ndarray, per_cent: bool) -> float:
    """Return what a transmittance of all light is in a file, 1 or 100."""
    bulk, median = float(np.percentile(known, 95)), float(np.median(known))
    if per_cent and bulk <= PER_CENT:
        rows.fail(
            f"called per cent, but 95 % of the values lie below {bulk:.3g}: if they are shares of 1, "
            f"write 'wavenumber,transmittance' above the numbers"
        )
    factor = 100.0 if bulk > PER_CENT else 1.0
    if known.max() - median > DIPS * (median - known.min()) and median < 0.2 * factor:
        rows.fail(
            f"called transmittance, but its bands point up, from {median:.3g}: if it is absorbance, "
            f"write 'wavenumber,absorbance' above the numbers"
        )
    if not 0 < bulk / factor <= BRIGHTEST:
        rows.fail(f"a transmittance of {100 * bulk / factor:.3g} % over most of the spectrum")
    return factor


def _told_by_shape(rows: Rows, y: np.ndarray, known: np.ndarray) -> Ordinates:
    """Return ordinates that nothing names, and what they are where their shape leaves no doubt."""
    bulk, median = float(np.percentile(known, 95)), float(np.median(known))
    advice = (
        "write what they are above the numbers: wavenumber,absorbance or wavenumber,transmittance"
    )
    for factor in (100.0, 1.0):
        plateau = PLATEAU[0] <= 100 * bulk / factor <= PLATEAU[1] and median >= 0.5 * bulk
        if plateau and _dips(known) and known.min() > -0.2 * factor:
            said = "per cent transmittance" if factor > 1 else TRANSMITTANCE
            reason = f"nothing says what the ordinates are; most lie about {median:.3g} and bands point down, so they are read as {said}"
            return Ordinates(
                y / factor, TRANSMITTANCE, factor > 1, f"{reason}; {advice} if they are not"
            )
    if _dips(known) or (bulk >= 0.5 and median >= 0.25 * bulk):
        rows.fail(
            f"nothing says what the ordinates are, from {known.min():.3g} to {known.max():.3g} and most "
            f"about {median:.3g}, which may be absorbance or transmittance; {advice}"
        )
    if known.max() > HIGHEST:
        rows.fail(
            f"nothing says what the ordinates are, up to {known.max():.4g}, which is high for an "
            f"absorbance; {advice}, or wavenumber,absorption coefficient"
        )
    return Ordinates(y, ABSORBANCE)
