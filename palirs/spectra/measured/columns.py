"""Find the two columns of a text file that are the spectrum, by their headings or numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palirs.spectra.measured.headings import (
    ABSORBANCE,
    COEFFICIENT,
    MICROMETRES,
    NANOMETRES,
    OTHER_ABSCISSAS,
    REFUSED,
    TRANSMITTANCE,
    WAVELENGTHS,
    WAVENUMBERS,
    Heading,
    understood,
)
from palirs.spectra.measured.rows import LAYOUTS, Rows

SHORTEST, LONGEST = 1.0, 60.0
"""Range of infrared wavelengths [µm]; no infrared spectrum has all its wavenumbers in it."""
FREE_TEXT = (TRANSMITTANCE, ABSORBANCE)
"""Quantities of the ordinate that remarks may name where there are no headings."""
SHORT = 40
"""Most characters of a remark that names a quantity; in longer ones a word like "phase" means
something else."""


@dataclass(frozen=True)
class Columns:
    """The two columns of a spectrum.

    Attributes
    ----------
    abscissa, ordinate : int
        Column numbers, from 0.
    unit : str
        Of the abscissa: ``cm-1``, ``µm`` or ``nm``.
    quantity : str
        Of the ordinate; empty if it is not stated.
    per_cent : bool
        Whether a heading states per cent.
    told_by : str
        What the columns were identified by, in words.
    """

    abscissa: int
    ordinate: int
    unit: str
    quantity: str
    per_cent: bool
    told_by: str


def chosen(rows: Rows) -> Columns:
    """Return which columns are the spectrum.

    Raises
    ------
    RecordError
        If the columns are ambiguous, or not an absorption over wavenumber or wavelength.
    """
    values = rows.values
    columns = range(values.shape[1])
    used = [n for n in columns if len(columns) == 2 or not np.isnan(values[:, n]).all()]
    headings = _headings(rows)
    if headings is None:
        quantity, per_cent = _in_remarks(rows)
        abscissa, ordinate = _by_numbers(rows, values, used)
        unit = _stated_unit(rows) or _unit_by_size(rows, values[:, abscissa], WAVELENGTHS, False)
        told_by = "lines above the numbers" if quantity else "the numbers"
        return Columns(abscissa, ordinate, unit, quantity, per_cent, told_by)
    abscissa = _abscissa(rows, headings, values, used)
    ordinate = _ordinate(rows, headings, used, abscissa)
    unit = _unit_by_size(rows, values[:, abscissa], headings[abscissa].abscissa, True)
    heading = headings[ordinate]
    return Columns(abscissa, ordinate, unit, heading.ordinate, heading.per_cent, "headings")


def _headings(rows: Rows) -> list[Heading] | None:
    """Return the heading of each column, from the last line before the numbers that names any."""
    width = len(rows.cells[0])
    lines = [_cells(line, rows, width) for line in rows.headings]
    for number in reversed(range(len(lines))):
        cells = lines[number]
        if cells is None or _is_statement(cells):
            continue
        headings = [understood(cell) for cell in cells]
        if not _names_columns(headings):
            continue
        above = lines[number - 1] if number else None
        if above is not None and not _is_statement(above):  # units stand below names
            joined = [understood(f"{a} ({b})") for a, b in zip(above, cells, strict=True)]
            if sum(h.says for h in joined) > sum(h.says for h in headings):
                return joined
            if any(h.refused for h in joined) and not any(h.ordinate for h in headings):
                return joined
        return headings
    return None


def _names_columns(headings: Sequence[Heading]) -> bool:
    """Tell whether cells are headings; a remark that only names another quantity is not."""
    if any(heading.abscissa or heading.ordinate for heading in headings):
        return True
    remark = any(re.search(r":$|^[\d.,]+$", heading.text) for heading in headings)
    return not remark and any(heading.refused for heading in headings)


def _cells(line: str, rows: Rows, width: int) -> list[str] | None:
    """Return the cells of a line of headings; ``None`` if their number is not ``width``."""
    text = re.sub(r"^ *[#!/*]+ ?", "", line)
    candidates = [rows.layout.cells(text), text.split("\t"), re.split(r"\s{2,}", text.strip())]
    candidates += [layout.cells(text) for layout in LAYOUTS[:8]]
    candidates += [re.split(r"\s+[-–]\s+", text)]
    for cells in candidates:
        if len(cells) == width:
            return [cell.strip() for cell in cells]
    return None


def _is_statement(cells: Sequence[str]) -> bool:
    """Tell whether a line is a key and a value, such as ``title`` and its text, not headings."""
    key = re.sub(r"[\W_]", "", cells[0]).lower()
    return len(cells) == 2 and bool(
        re.match(
            r"[xy](axis|unit|label|data)|title|file|name|sample|date|time|operator|user|origin"
            r"|owner|comment|resolution|scan|accumul|apodi|detector|source|instrument|model|serial"
            r"|delta|first|last|npoints|max|min|spectr|gain|aperture|zero|mode|data|method|path"
            r"|temperature|pressure|accessory|cell|product|nr|number",
            key,
        )
    )


def _stated(rows: Rows, key: str) -> str:
    """Return the value of a key in the lines before the numbers, such as ``YUNITS  ABSORBANCE``.

    Empty if no line states it.
    """
    for line in rows.headings:
        match = re.match(
            rf"\W*{key}(?:[ _-]?(?:units?|axis|label))?\b[\s:=,;\"]+(.+)", line, re.IGNORECASE
        )
        if match:
            return match.group(1).strip(' "')
    return ""


def _stated_unit(rows: Rows) -> str:
    heading = understood(_stated(rows, "x"))
    if heading.refused:
        rows.fail(f"the abscissa is {heading.refused}; wavenumbers or wavelengths are needed")
    return heading.abscissa if heading.abscissa != WAVELENGTHS else ""


def _in_remarks(rows: Rows) -> tuple[str, bool]:
    """Return the quantity that lines before the numbers state, and whether it is in per cent."""
    kind = understood(_stated(rows, "data type"))
    if kind.refused:
        rows.fail(_no_absorption(kind))
    remarks = [understood(line.strip('#!/*" \t;,')) for line in rows.headings]
    short = [h for h in remarks if len(h.text) <= SHORT and not re.search(r"[\d:=]", h.text)]
    for heading in (understood(_stated(rows, "y")), *short):
        if heading.refused in REFUSED:
            rows.fail(_no_absorption(heading))
        if heading.ordinate:
            return heading.ordinate, heading.per_cent
    quantities = {h.ordinate for h in remarks if h.ordinate in FREE_TEXT}
    return (quantities.pop(), False) if len(quantities) == 1 else ("", False)


def _no_absorption(heading: Heading) -> str:
    return (
        f"{heading.text[:60]!r} is {heading.refused}, no absorption; absorbance, transmittance or "
        f"an absorption coefficient over wavenumbers or wavelengths is needed"
    )


def _abscissa(
    rows: Rows, headings: Sequence[Heading], values: np.ndarray, used: Sequence[int]
) -> int:
    named = [n for n in used if headings[n].abscissa]
    preferred = [n for n in named if headings[n].abscissa == WAVENUMBERS] or named
    if len(preferred) > 1:
        rows.fail(
            f"several columns are abscissas, {_listed(headings, preferred)}; keep one spectrum, "
            "wavenumber and absorbance or transmittance"
        )
    if preferred:
        return preferred[0]
    wrong = [n for n in used if headings[n].refused in OTHER_ABSCISSAS]
    if wrong:
        rows.fail(_no_absorption(headings[wrong[0]]))
    unnamed = [n for n in used if not headings[n].says] or [n for n in used if headings[n].counts]
    fitting = [n for n in unnamed if _is_monotonic(values[:, n]) and not _counts(values[:, n])]
    if not fitting:
        rows.fail(
            f"no column is called wavenumber or wavelength, there are {_listed(headings, used)}; "
            f"name it in the line above the numbers, as in: wavenumber,absorbance"
        )
    return fitting[0]


def _ordinate(rows: Rows, headings: Sequence[Heading], used: Sequence[int], abscissa: int) -> int:
    others = [n for n in used if n != abscissa and not headings[n].is_error]
    others = [n for n in others if not headings[n].abscissa]
    for quantity in (ABSORBANCE, COEFFICIENT, TRANSMITTANCE):
        named = [n for n in others if headings[n].ordinate == quantity]
        if len(named) > 1:
            rows.fail(
                f"several columns are {quantity}, {_listed(headings, named)}; keep one spectrum"
            )
        if named:
            return named[0]
    refused = [n for n in others if headings[n].refused]
    if refused:
        rows.fail(_no_absorption(headings[refused[0]]))
    candidates = [n for n in others if not headings[n].counts]
    if len(candidates) > 1:
        rows.fail(
            f"several columns may be the spectrum, {_listed(headings, candidates)}; keep one, or "
            "call one of them absorbance or transmittance"
        )
    if not candidates:
        rows.fail(
            "no column is called absorbance or transmittance, there are "
            f"{_listed(headings, used)}; name it in the line above the numbers"
        )
    return candidates[0]


def _listed(headings: Sequence[Heading], which: Sequence[int]) -> str:
    return ", ".join(repr(headings[n].text[:40]) for n in which)


def _by_numbers(rows: Rows, values: np.ndarray, used: Sequence[int]) -> tuple[int, int]:
    """Return abscissa and ordinate where there are no headings: the first two after row numbers."""
    columns = list(used)
    if len(columns) > 2 and _counts(values[:, columns[0]]) and _is_monotonic(values[:, columns[1]]):
        columns = columns[1:]
    if len(columns) < 2:
        rows.fail("one column of numbers; two are needed, wavenumber and absorbance")
    first, second = columns[:2]
    if _counts(values[:, first]):
        rows.fail(
            "the first column counts 0, 1, 2, …: if these are row numbers, wavenumbers are "
            "missing; if they are wavenumbers, write 'wavenumber,absorbance' above them"
        )
    exchanged = _is_monotonic(values[:, second]) and values[:, second].min() > LONGEST
    if len(columns) == 2 and exchanged and not _is_monotonic(values[:, first]):
        return second, first
    return first, second


def _is_monotonic(column: np.ndarray) -> bool:
    steps = np.diff(column)
    return bool((steps > 0).all() or (steps < 0).all())


def _counts(column: np.ndarray) -> bool:
    """Tell whether a column holds row numbers, from 0 or 1."""
    return bool(column[0] in (0, 1)) and bool((np.diff(column) == 1).all())


def _unit_by_size(rows: Rows, abscissa: np.ndarray, unit: str, named: bool) -> str:
    """Return the unit of the abscissa: as named, or else by its range, if that is unambiguous."""
    low, high = float(np.nanmin(abscissa)), float(np.nanmax(abscissa))
    if named and unit not in ("", WAVELENGTHS):
        return unit
    if unit == WAVELENGTHS and named:
        if low >= SHORTEST and high <= LONGEST:
            return MICROMETRES
        if low >= 1000 * SHORTEST and high <= 1000 * LONGEST:
            return NANOMETRES
        rows.fail(f"wavelengths from {low:g} to {high:g}: say the unit, as in: wavelength (nm)")
    if low > 0 and high <= LONGEST:
        rows.fail(
            f"the abscissas go from {low:g} to {high:g}: if they are micrometres, write "
            "'wavelength (um),absorbance' above them"
        )
    if low >= 2000 and high > 8000:
        rows.fail(
            f"the abscissas go from {low:g} to {high:g}, which may be wavenumbers or nanometres; "
            "write 'wavenumber,absorbance' or 'wavelength (nm),absorbance' above them"
        )
    return WAVENUMBERS
