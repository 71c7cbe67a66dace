"""Which columns of a text file are the spectrum: told by headings, else by the numbers, and refused where neither tells."""

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
"""Range of wavelengths in micrometres; wavenumbers that all lie in it are none of infrared
spectra."""
FREE_TEXT = (TRANSMITTANCE, ABSORBANCE)
"""What remarks without a heading may say of the ordinate."""
SHORT = 40
"""Characters of a remark that is nothing but the name of a quantity; in longer ones words like
"phase" mean something else."""


@dataclass(frozen=True)
class Columns:
    """The two columns of a spectrum.

    Attributes
    ----------
    abscissa, ordinate : int
        Their numbers, from 0.
    unit : str
        Of the abscissa: ``cm-1``, ``µm`` or ``nm``.
    quantity : str
        Of the ordinate; empty where nothing says it.
    per_cent : bool
        Whether a heading says so.
    told_by : str
        What the columns were told by, in words.
    """

    abscissa: int
    ordinate: int
    unit: str
    quantity: str
    per_cent: bool
    told_by: str


def chosen(rows: Rows) -> Columns:
    """Return the columns of the spectrum.

    Raises
    ------
    RecordError
        If they cannot be told, or what they hold is no absorption over wavenumber or wavelength.
    """
    values = rows.values
    every = range(values.shape[1])
    used = [n for n in every if len(every) == 2 or not np.isnan(values[:, n]).all()]
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
    """Return what the headings say of each column: the last line of as many cells as columns of which one is understood."""
    width = len(rows.cells[0])
    lines = [_cells(line, rows, width) for line in rows.headings]
    for number in reversed(range(len(lines))):
        cells = lines[number]
        if cells is None or _is_statement(cells):
            continue
        told = [understood(cell) for cell in cells]
        if not _names_columns(told):
            continue
        above = lines[number - 1] if number else None
        if above is not None and not _is_statement(above):  # units stand below names
            joined = [understood(f"{a} ({b})") for a, b in zip(above, cells, strict=True)]
            if sum(h.says for h in joined) > sum(h.says for h in told):
                return joined
            if any(h.refused for h in joined) and not any(h.ordinate for h in told):
                return joined
        return told
    return None


def _names_columns(headings: Sequence[Heading]) -> bool:
    """Tell whether cells are headings; of what is none of an absorption only where nothing else is said, so that remarks are none."""
    if any(heading.abscissa or heading.ordinate for heading in headings):
        return True
    remark = any(re.search(r":$|^[\d.,]+$", heading.text) for heading in headings)
    return not remark and any(heading.refused for heading in headings)


def _cells(line: str, rows: Rows, width: int) -> list[str] | None:
    """Return the cells of a line of headings; ``None`` if it has not as many as there are columns."""
    text = re.sub(r"^ *[#!/*]+ ?", "", line)
    ways = [rows.layout.cells(text), text.split("\t"), re.split(r"\s{2,}", text.strip())]
    ways += [layout.cells(text) for layout in LAYOUTS[:8]]
    ways += [re.split(r"\s+[-–]\s+", text)]
    for cells in ways:
        if len(cells) == width:
            return [cell.strip() for cell in cells]
    return None


def _is_statement(cells: Sequence[str]) -> bool:
    """Tell whether a line says something of the file, key and value, and not what its columns are."""
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
    """Return what a line of key and value says, such as ``YUNITS  ABSORBANCE``; empty if there is none."""
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
    """Return quantity and whether it is in per cent, as lines before the numbers say without being headings of columns."""
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
    spoken = {h.ordinate for h in remarks if h.ordinate in FREE_TEXT}
    return (spoken.pop(), False) if len(spoken) == 1 else ("", False)


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
            f"several columns are abscissas, {_listed(headings, preferred)}; keep one spectrum, wavenumber and absorbance or transmittance"
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
    left = [n for n in others if not headings[n].counts]
    if len(left) > 1:
        rows.fail(
            f"several columns may be the spectrum, {_listed(headings, left)}; keep one, or call one of them absorbance or transmittance"
        )
    if not left:
        rows.fail(
            f"no column is called absorbance or transmittance, there are {_listed(headings, used)}; name it in the line above the numbers"
        )
    return left[0]


def _listed(headings: Sequence[Heading], which: Sequence[int]) -> str:
    return ", ".join(repr(headings[n].text[:40]) for n in which)


def _by_numbers(rows: Rows, values: np.ndarray, used: Sequence[int]) -> tuple[int, int]:
    """Return abscissa and ordinate of columns without headings: the first two, or the first that does not only count."""
    left = list(used)
    if len(left) > 2 and _counts(values[:, left[0]]) and _is_monotonic(values[:, left[1]]):
        left = left[1:]
    if len(left) < 2:
        rows.fail("one column of numbers; two are needed, wavenumber and absorbance")
    first, second = left[:2]
    if _counts(values[:, first]):
        rows.fail(
            "the first column counts 0, 1, 2, …: if these are row numbers, wavenumbers are missing; "
            "if they are wavenumbers, write 'wavenumber,absorbance' above them"
        )
    exchanged = _is_monotonic(values[:, second]) and values[:, second].min() > LONGEST
    if len(left) == 2 and exchanged and not _is_monotonic(values[:, first]):
        return second, first
    return first, second


def _is_monotonic(column: np.ndarray) -> bool:
    steps = np.diff(column)
    return bool((steps > 0).all() or (steps < 0).all())


def _counts(column: np.ndarray) -> bool:
    """Tell whether a column holds row numbers, from 0 or 1."""
    return bool(column[0] in (0, 1)) and bool((np.diff(column) == 1).all())


def _unit_by_size(rows: Rows, abscissa: np.ndarray, unit: str, named: bool) -> str:
    """Return the unit of the abscissa, by its size where nothing says it: refused where it may be either."""
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
            f"the abscissas go from {low:g} to {high:g}: if they are micrometres, write 'wavelength (um),absorbance' above them"
        )
    if low >= 2000 and high > 8000:
        rows.fail(
            f"the abscissas go from {low:g} to {high:g}, which may be wavenumbers or nanometres; write "
            f"'wavenumber,absorbance' or 'wavelength (nm),absorbance' above them"
        )
    return WAVENUMBERS
