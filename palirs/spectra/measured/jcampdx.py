"""Labels and blocks of JCAMP-DX files, versions 4.24 and 5; ``ordinates.py`` reads the tables.

McDonald and Wilks 1988, doi:10.1366/0003702884428734; Davies and Lampen 1993,
doi:10.1366/0003702934067874. All redundancy of the format is checked: number of points, first and
last abscissa, the abscissa of every line, the repeated ordinate of difference form, first and
extreme ordinates. The jcamp package checks none of it and gives wrong axes silently; where it is
right, tests compare with it.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np

LARGEST = 2**25
"""Largest file [bytes]; the largest infrared spectra have a million points."""
TABLES = ("XYDATA", "XYPOINTS", "PEAKTABLE", "PEAKASSIGNMENTS", "NTUPLES", "DATATABLE", "RADATA")
CHECKED = ("NPOINTS", "FIRSTX", "LASTX", "DELTAX", "XFACTOR", "YFACTOR")
CHECKED += ("XUNITS", "YUNITS", "DATATYPE")
"""Labels that may be repeated in a block only with the same value."""


class RecordError(ValueError):
    """A file that is not certainly a spectrum; the message gives file, line and reason."""


@dataclass
class Block:
    """One block of a file, from ``##TITLE=`` to ``##END=``.

    Attributes
    ----------
    path : Path
        Of the file.
    labels : dict
        Value and line number by label, in capitals without spaces, dashes, slashes and underscores.
    table : list
        Line number and text of each line of the data table.
    """

    path: Path
    labels: dict[str, tuple[str, int]] = field(default_factory=dict)
    table: list[tuple[int, str]] = field(default_factory=list)

    def text(self, label: str) -> str:
        """Return the first line of the value of a label; empty if there is none."""
        return self.labels[label][0].strip() if label in self.labels else ""

    def number(self, label: str, default: float | None = None) -> float:
        """Return the value of a label as a number; raise if it is missing and has no default."""
        if label not in self.labels:
            if default is None:
                self.fail(f"{label} is missing")
            return default
        text = self.text(label)
        try:
            value = float(text.replace(",", ".", 1))
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            self.fail(f"{label} = {text!r} is no number", self.labels[label][1])
        return value

    def fail(self, reason: str, line: int | None = None) -> NoReturn:
        """Raise :class:`RecordError` with file, line and reason."""
        raise RecordError(f"{self.path}{f', line {line}' if line is not None else ''}: {reason}")


def blocks(path: str | Path) -> list[Block]:
    """Return the blocks of a file that have a table, in order.

    Raises
    ------
    RecordError
        If it is not a JCAMP-DX file.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        raw = path.read_bytes() if size <= LARGEST else b""
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
    if size > LARGEST:
        raise RecordError(
            f"{path}: {size / 2**20:.0f} MiB; a spectrum has at most {LARGEST // 2**20}"
        )
    raw = raw.removeprefix(b"\xef\xbb\xbf").partition(b"\x1a")[0]  # DOS ends files with Ctrl-Z
    finished: list[Block] = []
    open_blocks: list[Block] = []
    label = ""
    for number, line in enumerate(raw.decode("latin-1").splitlines(), 1):
        line = line.partition("$$")[0].rstrip()
        if not line.startswith("##"):
            if label in TABLES and open_blocks and line.strip():
                open_blocks[-1].table.append((number, line))
            continue  # other labels over several lines are remarks
        name, equals, value = line[2:].partition("=")
        if not equals and name.strip().upper() != "END":  # some programs write ##END alone
            raise RecordError(f"{path}, line {number}: {line[:40]!r} is a label without '='")
        label = re.sub(r"[\s\-/_]", "", name).upper()
        if label == "TITLE":
            open_blocks.append(Block(path))
        elif not open_blocks:
            if label:
                raise RecordError(
                    f"{path}, line {number}: a JCAMP-DX file begins with ##TITLE=, not with "
                    f"##{name[:30]}="
                )
            continue
        if label == "END":
            ended = open_blocks.pop()
            finished += [ended] if ended.table else []
            label = ""
            continue
        _put(open_blocks[-1], label, value, number)
    finished += [block for block in reversed(open_blocks) if block.table]  # without END
    if not finished:
        raise RecordError(f"{path}: no JCAMP-DX file with a table of data (##TITLE=, ##XYDATA=)")
    return finished


def _put(block: Block, label: str, value: str, number: int) -> None:
    """Add a label to a block; refuse a second table and a repeated label of another value."""
    if label in TABLES and any(other in block.labels for other in TABLES):
        block.fail(f"a second table in one block, ##{label}=", number)
    repeated = label in CHECKED and label in block.labels
    if repeated and block.labels[label][0].split() != value.split():
        block.fail(f"{label} is given twice, {block.text(label)!r} and {value.strip()!r}", number)
    if label:
        block.labels.setdefault(label, (value, number))
