"""Checks of a column of abscissas: monotonic, and without outliers where the steps are even."""

import re

import numpy as np

from palirs.spectra.measured.rows import MISSING, Rows

EVEN = 0.9
"""Share of equal steps above which all steps should be equal, except for gaps and damage."""
FEWEST = 10
"""Number of steps below which they are not checked."""


def check_abscissas(rows: Rows, column: int) -> None:
    """Raise :class:`RecordError` for abscissas that are missing, out of order or off even steps."""
    x = rows.values[:, column]
    for n, row in enumerate(rows.cells):
        if row[column].lower() in MISSING:
            rows.fail("the abscissa is missing", n)
    steps = np.diff(x)
    direction = np.sign(np.median(steps))
    wrong = np.flatnonzero(np.sign(steps) != direction)
    if direction == 0 or len(wrong):
        n = int(wrong[0]) + 1 if len(wrong) else 1
        reason = "twice" if x[n] == x[n - 1] else "out of order"
        rows.fail(
            f"the abscissa {rows.cells[n][column]} comes {reason}, after "
            f"{rows.cells[n - 1][column]}; abscissas should be distinct and go one way",
            n,
        )
    rounding = _rounding(rows, column)
    _check_even(rows, column, x, np.full(len(x), rounding))
    if (x > 0).all():  # records over wavelength are often even in wavenumber
        _check_even(rows, column, 1 / x, rounding / x**2)


def _check_even(rows: Rows, column: int, x: np.ndarray, rounding: np.ndarray) -> None:
    """Raise for a single point that lies off even steps; gaps between points are allowed."""
    steps = np.diff(x)
    rounded = np.maximum(rounding[1:], rounding[:-1])
    sharp = rounded <= np.median(rounded)
    usual = float(np.median(steps[sharp]))
    slack = np.maximum(1.01 * rounded, 1e-6 * abs(usual))
    if np.ptp(rounded):  # the usual step itself is uncertain by the rounding of its points
        slack = slack + np.median(rounded[sharp])
    off = np.abs(steps - usual) > slack
    if len(steps) < FEWEST or off.mean() > 1 - EVEN or np.median(slack) > 0.5 * abs(usual):
        return
    outliers = np.flatnonzero(off)
    for n in outliers:
        at_end = n in (0, len(steps) - 1)
        pair = n + 1 in outliers and abs(steps[n] + steps[n + 1] - 2 * usual) <= 2 * slack[n]
        if at_end or pair:
            row = 0 if n == 0 and not pair else int(n) + 1
            rows.fail(
                f"the abscissa {rows.cells[row][column]} lies off the even steps of the others; "
                "is it damaged?",
                row,
            )


def _rounding(rows: Rows, column: int) -> float:
    """Return the rounding of the abscissas, by their number of decimals."""
    mark = re.escape(rows.layout.decimal)
    cells = [row[column] for row in rows.cells]
    if any(re.search("[eEdD]", cell) for cell in cells):
        return float(np.abs(rows.values[:, column]).max() * 1e-3)
    return 10.0 ** -max(len("".join(re.findall(rf"{mark}(\d*)", cell))) for cell in cells)
