"""Conversion of measured data to absorbance over wavenumber, with checks of their size."""

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
"""Transmittance at and below which a sample counts as opaque, its absorbance as unknown."""
PER_CENT = 2.0
"""A transmittance whose 95th percentile lies above this is in per cent."""
BRIGHTEST = 1.5
"""Largest 95th percentile of a transmittance, as a fraction."""
PLATEAU = (60.0, 110.0)
"""Range of the 95th percentile of a transmittance in per cent."""
HIGHEST = 10.0
"""Largest median of an absorbance: nothing would pass through such a sample."""
DIPS = 3.0
"""Bands point down if values reach this many times further below their median than above it."""


def wavenumbers(block: Block, x: np.ndarray, unit: str) -> np.ndarray:
    """Return the wavenumbers [cm⁻¹] of abscissas in a unit."""
    kind = understood(unit).abscissa
    where = block.labels["XUNITS"][1] if "XUNITS" in block.labels else None
    if kind not in (WAVENUMBERS, MICROMETRES, NANOMETRES):
        block.fail(f"XUNITS = {unit!r}: it should be 1/CM, MICROMETERS or NANOMETERS", where)
    if not np.isfinite(x).all() or (kind != WAVENUMBERS and not (x > 0).all()):
        block.fail("abscissas should be finite, and wavelengths positive")
    wavenumber = x if kind == WAVENUMBERS else {MICROMETRES: 1e4, NANOMETRES: 1e7}[kind] / x
    if wavenumber.min() < -1 or wavenumber.max() > 50_000:
        block.fail(
            f"from {wavenumber.min():.6g} to {wavenumber.max():.6g} cm⁻¹ is no infrared spectrum; "
            f"is XUNITS = {unit!r} right?",
            where,
        )
    return wavenumber


def absorbances(block: Block, y: np.ndarray, unit: str) -> tuple[np.ndarray, str, np.ndarray]:
    """Return absorbance, its unit, and at which points the sample is opaque."""
    text = re.sub(r"\s+", " ", unit.lower()).strip()
    where = block.labels["YUNITS"][1] if "YUNITS" in block.labels else None
    present = y[~np.isnan(y)]
    if len(present) < 2 or not np.isfinite(present).all() or np.ptp(present) == 0:
        block.fail("ordinates are gaps, infinite or all the same")
    if "transmit" in text or re.fullmatch(r"%\s*t\.?|t\s*\(?%\)?|t", text):
        bulk = float(np.percentile(present, 95))
        share = y / 100 if bulk > PER_CENT else y
        bulk = bulk / 100 if bulk > PER_CENT else bulk
        if not 0 < bulk <= BRIGHTEST:
            block.fail(
                f"a transmittance of {100 * bulk:.3g} % over most of the spectrum; is YFACTOR "
                "right?",
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
            f"YUNITS = {unit!r}{instead}: it should be ABSORBANCE, TRANSMITTANCE or an absorption "
            "coefficient",
            where,
        )
    return y, text, np.zeros(len(y), dtype=bool)


def doubt(y: np.ndarray) -> str:
    """Return what is odd about an absorbance; empty if nothing is."""
    finite = y[np.isfinite(y)]
    if not _is_no_absorbance(finite):
        return ""
    return (
        f"called absorbance, but most values lie about {np.median(finite):.3g}; is it per cent "
        "transmittance?"
    )


class Ordinates(NamedTuple):
    """The ordinates of a text file.

    Attributes
    ----------
    values : numpy.ndarray
        Shape ``[rows]``; a transmittance is a fraction.
    quantity : str
        What was measured.
    per_cent : bool
        Whether they are in per cent in the file.
    doubt : str
        Caveat where the quantity is a guess; empty if there is none.
    """

    values: np.ndarray
    quantity: str
    per_cent: bool = False
    doubt: str = ""


def judged(rows: Rows, columns: Columns) -> Ordinates:
    """Return the ordinates of a text file, with the quantity that they are.

    Parameters
    ----------
    rows : Rows
        Of the file.
    columns : Columns
        The two of the spectrum, and the meaning of their headings.

    Raises
    ------
    RecordError
        If the numbers contradict the stated quantity, or nothing identifies it.
    """
    y = rows.values[:, columns.ordinate]
    finite = y[np.isfinite(y)]
    if len(finite) < 2 or np.ptp(finite) == 0:
        rows.fail("ordinates are gaps, infinite or all the same")
    if columns.quantity == TRANSMITTANCE:
        factor = _full_transmittance(rows, finite, columns.per_cent)
        return Ordinates(y / factor, TRANSMITTANCE, factor > 1)
    if columns.quantity == ABSORBANCE and _is_no_absorbance(finite):
        rows.fail(
            f"{doubt(y)} Then write 'wavenumber,transmittance (%)' above the numbers; if it is "
            "another measure of absorption, 'wavenumber,absorption coefficient'"
        )
    return Ordinates(y, columns.quantity) if columns.quantity else _by_shape(rows, y, finite)


def _is_no_absorbance(finite: np.ndarray) -> bool:
    median, bulk = float(np.median(finite)), float(np.percentile(finite, 95))
    return median > HIGHEST or (PLATEAU[0] <= bulk <= PLATEAU[1] and _dips(finite))


def _dips(finite: np.ndarray) -> bool:
    """Tell whether bands point down."""
    median = np.median(finite)
    return bool(median - finite.min() > DIPS * (finite.max() - median))


def _full_transmittance(rows: Rows, finite: np.ndarray, per_cent: bool) -> float:
    """Return the value of full transmittance in a file, 1 or 100."""
    bulk, median = float(np.percentile(finite, 95)), float(np.median(finite))
    if per_cent and bulk <= PER_CENT:
        rows.fail(
            f"called per cent, but 95 % of the values lie below {bulk:.3g}: if they are shares of "
            f"1, write 'wavenumber,transmittance' above the numbers"
        )
    factor = 100.0 if bulk > PER_CENT else 1.0
    if finite.max() - median > DIPS * (median - finite.min()) and median < 0.2 * factor:
        rows.fail(
            f"called transmittance, but its bands point up, from {median:.3g}: if it is "
            f"absorbance, write 'wavenumber,absorbance' above the numbers"
        )
    if not 0 < bulk / factor <= BRIGHTEST:
        rows.fail(f"a transmittance of {100 * bulk / factor:.3g} % over most of the spectrum")
    return factor


def _by_shape(rows: Rows, y: np.ndarray, finite: np.ndarray) -> Ordinates:
    """Return ordinates without a stated quantity, if their shape identifies it."""
    bulk, median = float(np.percentile(finite, 95)), float(np.median(finite))
    advice = "write what they are above the numbers: "
    advice += "wavenumber,absorbance or wavenumber,transmittance"
    for factor in (100.0, 1.0):
        plateau = PLATEAU[0] <= 100 * bulk / factor <= PLATEAU[1] and median >= 0.5 * bulk
        if plateau and _dips(finite) and finite.min() > -0.2 * factor:
            name = "per cent transmittance" if factor > 1 else TRANSMITTANCE
            caveat = (
                f"nothing says what the ordinates are; most lie about {median:.3g} and bands point "
                f"down, so they are read as {name}; {advice} if they are not"
            )
            return Ordinates(y / factor, TRANSMITTANCE, factor > 1, caveat)
    if _dips(finite) or (bulk >= 0.5 and median >= 0.25 * bulk):
        rows.fail(
            f"nothing says what the ordinates are, from {finite.min():.3g} to {finite.max():.3g} "
            f"and most about {median:.3g}, which may be absorbance or transmittance; {advice}"
        )
    if finite.max() > HIGHEST:
        rows.fail(
            f"nothing says what the ordinates are, up to {finite.max():.4g}, which is high for an "
            f"absorbance; {advice}, or wavenumber,absorption coefficient"
        )
    return Ordinates(y, ABSORBANCE)
