"""Read the rows of numbers of a text file: separator, decimal mark, first and last row.

Libraries for tables need to know the decimal mark, or guess it from a few lines; a wrong guess
turns wavenumbers of four thousand into four. Here a layout has to read every row, and rows that
look damaged are errors.
"""

import csv
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np

from palirs.spectra.measured.jcampdx import LARGEST, RecordError

SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas", " ": "blanks"}
MISSING = {"", "nan", "na", "n/a", "null", "none", "-", "--", "---", "?"}
"""Texts of missing values, in lower case."""
COMMENT = ("#", "%", "!", "//", "*")
"""Beginnings of remarks."""
SAMPLE = 100
"""Number of lines, spread over the file, by which the layout is chosen."""
EXACT = {"0", "1", "100"}
"""Exact values, which some programs write without decimals."""
ENOUGH = 20
"""Number of rows from which one of another number format counts as damaged."""


@dataclass(frozen=True)
class Layout:
    """How numbers are written in a line.

    Attributes
    ----------
    separator : str
        Between columns; a blank stands for any number of blanks.
    decimal : str
        Decimal mark, ``.`` or ``,``.
    grouped : bool
        Whether thousands are grouped, as in ``4,000.0``, ``4.000,0``, ``4 000,0`` and ``4'000.0``.
    """

    separator: str
    decimal: str
    grouped: bool = False

    def __str__(self) -> str:
        marks = "decimal commas" if self.decimal == "," else "decimal points"
        return f"separated by {SEPARATORS[self.separator]}, {marks}"

    def cells(self, line: str) -> list[str]:
        """Return the text of each column of a line."""
        if self.separator == " ":
            return [cell.strip("\"'") for cell in re.split(r"[ \t]+", line.strip())]
        if self.separator == self.decimal and '"' not in line:
            return []  # separator and decimal mark cannot be told apart
        try:
            row = next(csv.reader([line], delimiter=self.separator, skipinitialspace=True), [])
        except csv.Error:
            return []
        return [cell.strip() for cell in row]

    def row(self, line: str) -> list[str] | None:
        """Return the cells of a row of at least two numbers; ``None`` for any other line."""
        cells = self.cells(line.partition("#")[0])
        if len(cells) < 2 or all(cell.lower() in MISSING for cell in cells):
            return None
        is_row = all(cell.lower() in MISSING or self.is_number(cell) for cell in cells)
        return cells if is_row else None

    def is_number(self, cell: str) -> bool:
        """Tell whether a text is a number in this layout."""
        return _pattern(self.decimal, self.grouped).fullmatch(cell) is not None

    def number(self, cell: str) -> float:
        """Return the value of a cell; NaN where it is missing."""
        if cell.lower() in MISSING:
            return np.nan
        other = "," if self.decimal == "." else "."
        plain = re.sub(rf"[{other} '’\u00a0\u202f]", "", cell) if self.grouped else cell
        return float(re.sub("[dD]", "e", plain.replace(self.decimal, ".").replace("−", "-")))


@cache
def _pattern(decimal: str, grouped: bool) -> re.Pattern[str]:
    mark = re.escape(decimal)
    other = "," if decimal == "." else r"\."
    plain = rf"[+−-]?(?:\d+(?:{mark}\d*)?|{mark}\d+)(?:[eEdD][+−-]?\d+)?"
    if not grouped:
        return re.compile(plain)
    thousands = rf"(?:[{other} '’\u00a0\u202f]\d{{3}})+"
    return re.compile(rf"{plain}|[+−-]?[1-9]\d{{0,2}}{thousands}(?:{mark}\d*)?")


LAYOUTS = [
    Layout(separator, decimal, grouped)
    for grouped in (False, True)
    for separator in SEPARATORS
    for decimal in (".", ",")
]
"""Layouts by preference, where several read as many lines."""


@dataclass(frozen=True)
class Rows:
    """The rows of numbers of a text file, and the lines before them.

    Attributes
    ----------
    path : Path
        Of the file.
    layout : Layout
        Of all rows.
    headings : list of str
        Lines before the first row that are not empty.
    cells : list of list of str
        Text of each number, by row and column.
    lines : list of int
        Line number of each row.
    """

    path: Path
    layout: Layout
    headings: list[str]
    cells: list[list[str]]
    lines: list[int]

    @cached_property
    def values(self) -> np.ndarray:
        """The numbers, ``[rows, columns]``; NaN where one is missing."""
        return np.array([[self.layout.number(cell) for cell in row] for row in self.cells])

    def fail(self, reason: str, row: int | None = None) -> NoReturn:
        """Raise :class:`RecordError` with file, line and reason."""
        where = f", line {self.lines[row]}" if row is not None else ""
        raise RecordError(f"{self.path}{where}: {reason}")


def read_rows(path: Path) -> Rows:
    """Read the rows of numbers of a text file.

    Raises
    ------
    RecordError
        If there are no rows, or damaged ones, or decimal commas cannot be told from commas between
        columns.
    """
    lines = _text(path).splitlines()
    layout = _layout(lines)
    marker = next((n for n, line in enumerate(lines) if line.strip().upper() == "#DATA"), -1)
    rows = [
        (n, cells) for n, line in enumerate(lines) if n > marker and (cells := layout.row(line))
    ]
    while rows and rows[0][1][0] == "":  # a heading
        del rows[0]
    if not rows:
        single = next((n for n, line in enumerate(lines) if _is_one_number(line)), None)
        if single is not None and not re.search("[^\\W\\d]", "".join(lines)):
            reason = "one number; two columns are needed, wavenumber and absorbance"
            raise RecordError(f"{path}, line {single + 1}: {reason}")
        raise RecordError(f"{path}: neither JCAMP-DX (##TITLE=) nor two columns of numbers")
    width = Counter(len(cells) for _, cells in rows).most_common(1)[0][0]
    first, last = rows[0][0], rows[-1][0]
    _check_between(path, lines, {n for n, cells in rows if len(cells) == width}, first, last)
    _check_edges(path, lines, first, last, marker, len(rows))
    if len(rows) < 2:
        raise RecordError(f"{path}: one row of numbers is no spectrum")
    table = Rows(
        path,
        layout,
        [line for line in lines[:first] if line.strip()],
        [cells for _, cells in rows],
        [n + 1 for n, _ in rows],
    )
    _check_commas(table)
    _check_format(table)
    return table


def _text(path: Path) -> str:
    """Return the text of a file: UTF-8, UTF-16 with a byte order mark, or else Windows-1252."""
    if path.stat().st_size > LARGEST:
        size = f"{path.stat().st_size / 2**20:.0f} MiB"
        raise RecordError(f"{path}: {size}; a spectrum has at most {LARGEST // 2**20}")
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    if b"\0" in raw:
        raise RecordError(
            f"{path}: a binary file; export the spectrum as JCAMP-DX (.dx, .jdx) or as text"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _layout(lines: list[str]) -> Layout:
    """Return the layout that reads most lines as rows of one length."""
    full = [line for line in lines if line.strip()]
    sample = full[:: max(1, len(full) // SAMPLE)]
    counts = []
    for layout in LAYOUTS:
        widths = Counter(len(cells) for line in sample if (cells := layout.row(line)))
        counts.append(max(widths.values(), default=0))
    return LAYOUTS[int(np.argmax(counts))]


def _check_between(path: Path, lines: list[str], rows: set[int], first: int, last: int) -> None:
    """Raise for a line between rows that is not a row, unless it is empty or a remark."""
    for n in range(first, last + 1):
        line = lines[n].strip()
        if n not in rows and line and not line.startswith(COMMENT):
            raise RecordError(
                f"{path}, line {n + 1}: {line[:40]!r} is no row of numbers like the others"
            )


def _check_edges(
    path: Path, lines: list[str], first: int, last: int, marker: int, count: int
) -> None:
    """Raise for a damaged row before or after the others, or a wrong stated number of rows."""
    before = lines[first - 1] if first - 1 > marker else ""
    after = next((line for line in lines[last + 1 :] if line.strip()), "")
    for n, line in ((first - 1, before), (lines.index(after, last + 1) if after else 0, after)):
        if _is_one_number(line) and line.strip() == str(count):
            continue
        if line[:1] in ",;\t" and n < first:  # a heading ",0" of a table with unnamed columns
            continue
        if _may_be_row(line):
            shown = line.strip()[:40]
            raise RecordError(
                f"{path}, line {n + 1}: {shown!r} is no row of numbers like the others; is it "
                "damaged? Put a '#' before a remark"
            )
    stated = re.search(
        r"^\W*(?:npoints|(?:nr|number) of (?:data )?points|data points)\W+(\d+)\W*$",
        "\n".join(lines),
        re.IGNORECASE | re.MULTILINE,
    )
    if stated and int(stated.group(1)) != count:
        raise RecordError(f"{path}: {stated.group(1)} points are announced, there are {count}")


def _may_be_row(line: str) -> bool:
    """Tell whether a line holds little but numbers, and is not a remark or a date."""
    text = line.strip()
    if text.startswith(COMMENT) or re.search(r"\d{1,4}([-/.:])\d{1,2}\1\d{1,4}", text):
        return False
    return bool(re.search(r"\d", text)) and len(re.sub(r"[\d\W_eEdD]", "", text)) <= 1


def _is_one_number(line: str) -> bool:
    return re.fullmatch(r"[+-]?\d+([.,]\d*)?([eEdD][+-]?\d+)?", line.strip()) is not None


def _check_commas(rows: Rows) -> None:
    """Raise where commas may be decimal marks as well as separators."""
    if rows.layout.separator != "," or rows.layout.decimal == ",":  # the latter with quotes
        return
    cells = [cell for row in rows.cells for cell in row if cell.lower() not in MISSING]
    whole = all(re.fullmatch(r"[+-]?\d+", cell) for cell in cells)
    zeros = any(re.fullmatch(r"[+-]?0\d+", cell) for cell in cells)
    if whole and (zeros or len(rows.cells[0]) > 2):
        rows.fail(
            "decimal commas and commas between columns cannot be told apart; "
            "export it with semicolons or tabs between columns, or with decimal points",
            0,
        )


def _check_format(rows: Rows) -> None:
    """Raise if one or two rows differ in their number of decimals: digits may be missing there."""
    if len(rows.cells) < ENOUGH:
        return
    mark = re.escape(rows.layout.decimal)
    for column in range(len(rows.cells[0])):
        number = re.compile(rf"[^eEdD]*?(?:{mark}(\d*))?([eEdD].*)?")
        matches = [number.fullmatch(row[column]) for row in rows.cells]
        forms = [match and tuple(len(part or "") for part in match.groups()) for match in matches]
        usual, count = Counter(forms).most_common(1)[0]
        others = [
            n
            for n, form in enumerate(forms)
            if form != usual and rows.cells[n][column].lower() not in {*MISSING, *EXACT}
        ]
        if 0 < len(others) <= min(2, len(forms) - count) and usual != (0, 0):
            n = others[0]
            rows.fail(
                f"{rows.cells[n][column]!r} has other decimals than all other numbers "
                f"of its column ({rows.cells[(n + 1) % len(forms)][column]!r}); is it damaged?",
                n,
            )
