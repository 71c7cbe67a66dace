"""Columns of numbers in a text file: how they are separated, which mark is decimal, where they begin and end.

Libraries for tables have to be told the decimal mark, or guess it from a few lines; a wrong guess
makes wavenumbers of thousands of four. Here a layout is taken only if it reads every row, and what
looks like a damaged row is named.
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
"""What stands where there is no value."""
COMMENT = ("#", "%", "!", "//", "*")
"""Beginnings of lines that are remarks."""
SAMPLE = 100
"""Lines that a layout is chosen by, spread over the file; all lines are then read by it."""
EXACT = {"0", "1", "100"}
"""Values that programs write without decimals, where they are exact."""
ENOUGH = 20
"""Rows of one format, from which a row of another one is taken for damaged."""


@dataclass(frozen=True)
class Layout:
    """How a line becomes numbers.

    Attributes
    ----------
    separator : str
        Between columns; a blank stands for any number of blanks.
    decimal : str
        Decimal mark, ``.`` or ``,``.
    grouped : bool
        Thousands are set apart, as in ``4,000.0``, ``4.000,0``, ``4 000,0`` and ``4'000.0``.
    """

    separator: str
    decimal: str
    grouped: bool = False

    def __str__(self) -> str:
        marks = "decimal commas" if self.decimal == "," else "decimal points"
        return f"separated by {SEPARATORS[self.separator]}, {marks}"

    def cells(self, line: str) -> list[str]:
        """Return the texts of the columns of a line."""
        if self.separator == " ":
            return [cell.strip("\"'") for cell in re.split(r"[ \t]+", line.strip())]
        if self.separator == self.decimal and '"' not in line:
            return []  # nothing tells the two commas apart
        try:
            row = next(csv.reader([line], delimiter=self.separator, skipinitialspace=True), [])
        except csv.Error:
            return []
        return [cell.strip() for cell in row]

    def row(self, line: str) -> list[str] | None:
        """Return the cells of a line that is a row of numbers, two at least; ``None`` for any other line."""
        cells = self.cells(line.partition("#")[0])
        if len(cells) < 2 or all(cell.lower() in MISSING for cell in cells):
            return None
        is_row = all(cell.lower() in MISSING or self.is_number(cell) for cell in cells)
        return cells if is_row else None

    def is_number(self, cell: str) -> bool:
        """Tell whether a text is a number of this layout."""
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
    mark, other = re.escape(decimal), "," if decimal == "." else r"\."
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
"""In the order in which they are preferred where several read as much."""


@dataclass(frozen=True)
class Rows:
    """The rows of numbers of a text file, and what stands before them.

    Attributes
    ----------
    path : Path
        Of the file.
    layout : Layout
        How they are written.
    headings : list of str
        Lines before the first row as they are, without empty ones.
    cells : list of list of str
        Of each row, all of one length.
    lines : list of int
        Number of the line of each row.
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
        """Raise the error that says where and why."""
        where = f", line {self.lines[row]}" if row is not None else ""
        raise RecordError(f"{self.path}{where}: {reason}")


def read_rows(path: Path) -> Rows:
    """Read the rows of numbers of a text file.

    Raises
    ------
    RecordError
        If there are none, or lines that may be damaged rows, or no way to tell decimal commas from
        commas between columns.
    """
    lines = _text(path).splitlines()
    layout = _layout(lines)
    marker = next((n for n, line in enumerate(lines) if line.strip().upper() == "#DATA"), -1)
    rows = [
        (n, cells) for n, line in enumerate(lines) if n > marker and (cells := layout.row(line))
    ]
    while rows and rows[0][1][0] == "":  # it is a heading
        del rows[0]
    if not rows:
        alone = next((n for n, line in enumerate(lines) if _one_number(line)), None)
        if alone is not None and not re.search("[^\\W\\d]", "".join(lines)):
            reason = "one number; two columns are needed, wavenumber and absorbance"
            raise RecordError(f"{path}, line {alone + 1}: {reason}")
        raise RecordError(f"{path}: neither JCAMP-DX (##TITLE=) nor two columns of numbers")
    width = Counter(len(cells) for _, cells in rows).most_common(1)[0][0]
    first, last = rows[0][0], rows[-1][0]
    _check_between(path, lines, {n for n, cells in rows if len(cells) == width}, first, last)
    _check_edges(path, lines, first, last, marker, len(rows))
    if len(rows) < 2:
        raise RecordError(f"{path}: one row of numbers is no spectrum")
    found = Rows(
        path,
        layout,
        [line for line in lines[:first] if line.strip()],
        [cells for _, cells in rows],
        [n + 1 for n, _ in rows],
    )
    _check_commas(found)
    _check_format(found)
    return found


def _text(path: Path) -> str:
    """Return the text of a file: UTF-8, UTF-16 with its mark, or else Windows' western encoding."""
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
    """Raise for a line between rows that is none, unless it is empty or a remark."""
    for n in range(first, last + 1):
        line = lines[n].strip()
        if n not in rows and line and not line.startswith(COMMENT):
            raise RecordError(
                f"{path}, line {n + 1}: {line[:40]!r} is no row of numbers like the others"
            )


def _check_edges(
    path: Path, lines: list[str], first: int, last: int, marker: int, count: int
) -> None:
    """Raise for a line beside the rows that may be a damaged one, and for a stated number of rows that is another."""
    before = lines[first - 1] if first - 1 > marker else ""
    after = next((line for line in lines[last + 1 :] if line.strip()), "")
    for n, line in ((first - 1, before), (lines.index(after, last + 1) if after else 0, after)):
        if _one_number(line) and line.strip() == str(count):
            continue
        if line[:1] in ",;\t" and n < first:  # a heading ",0" of a table with unnamed columns
            continue
        if _may_be_row(line):
            shown = line.strip()[:40]
            raise RecordError(
                f"{path}, line {n + 1}: {shown!r} is no row of numbers like the others; is it damaged? Put a '#' before a remark"
            )
    stated = re.search(
        r"^\W*(?:npoints|(?:nr|number) of (?:data )?points|data points)\W+(\d+)\W*$",
        "\n".join(lines),
        re.IGNORECASE | re.MULTILINE,
    )
    if stated and int(stated.group(1)) != count:
        raise RecordError(f"{path}: {stated.group(1)} points are announced, there are {count}")


def _may_be_row(line: str) -> bool:
    """Tell whether a line has numbers and next to nothing else; a date is no row."""
    text = line.strip()
    if text.startswith(COMMENT) or re.search(r"\d{1,4}([-/.:])\d{1,2}\1\d{1,4}", text):
        return False
    return bool(re.search(r"\d", text)) and len(re.sub(r"[\d\W_eEdD]", "", text)) <= 1


def _one_number(line: str) -> bool:
    return re.fullmatch(r"[+-]?\d+([.,]\d*)?([eEdD][+-]?\d+)?", line.strip()) is not None


def _check_commas(rows: Rows) -> None:
    """Raise where commas may be decimal marks as well as separators."""
    if (
        rows.layout.separator != "," or rows.layout.decimal == ","
    ):  # which only quotes can tell apart
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
    """Raise for a row or two that have other decimals than all the rest: digits are lost or too many there."""
    if len(rows.cells) < ENOUGH:
        return
    mark = re.escape(rows.layout.decimal)
    for column in range(len(rows.cells[0])):
        forms = [
            (len(match.group(1) or ""), len(match.group(2) or ""))
            if (match := re.fullmatch(rf"[^eEdD]*?(?:{mark}(\d*))?([eEdD].*)?", row[column]))
            else None
            for row in rows.cells
        ]
        usual, often = Counter(forms).most_common(1)[0]
        others = [
            n
            for n, form in enumerate(forms)
            if form != usual and rows.cells[n][column].lower() not in {*MISSING, *EXACT}
        ]
        if 0 < len(others) <= min(2, len(forms) - often) and usual != (0, 0):
            n = others[0]
            rows.fail(
                f"{rows.cells[n][column]!r} has other decimals than all other numbers "
                f"of its column ({rows.cells[(n + 1) % len(forms)][column]!r}); is it damaged?",
                n,
            )
