"""Data tables of JCAMP-DX: ordinates in fixed, packed, squeezed or difference form, or pairs."""

import re

import numpy as np

from palirs.spectra.measured.jcampdx import TABLES, Block

POINTS = 4_000_000
"""Largest number of points of a spectrum."""
HALF = 0.5
"""Largest deviation of the abscissa of a line from that of the line before, in steps."""
ONE = 0.6
"""Further steps by which all lines but the first may be shifted together: NIST's quantitative
collection, among others, gives them the abscissa of the point before."""
SLACK = 0.005
"""Relative tolerance of FIRSTY, MAXY and MINY beyond their rounding.

One of them has to be right; rarely all are.
"""
_TOKEN = re.compile(
    r"(?P<affn>[+-]?(?:\d+\.?\d*|\.\d+)(?:[Ee][+-]\d+)?)|(?P<sqz>[@A-Ia-i]\d*\.?\d*)"
    r"|(?P<dif>[%J-Rj-r]\d*)|(?P<dup>[S-Zs]\d*)|(?P<gap>\?)|(?P<space>[\s,;]+)"
)
_SQZ = {
    letter: f"{sign}{digit}"
    for sign, letters in (("", "@ABCDEFGHI"), ("-", "@abcdefghi"))
    for digit, letter in enumerate(letters)
    if letter != "@" or not sign
}
_DIF = {"%": "0"} | {
    letter: f"{sign}{digit}"
    for sign, letters in (("", "JKLMNOPQR"), ("-", "jklmnopqr"))
    for digit, letter in enumerate(letters, 1)
}
_DUP = dict(zip("STUVWXYZs", "123456789", strict=True))


def table(block: Block) -> tuple[np.ndarray, np.ndarray]:
    """Return abscissas and ordinates of a block, in the units of the file; gaps are NaN.

    Raises
    ------
    RecordError
        If the table contradicts itself or the labels, or is not a continuous spectrum.
    """
    kind = next(label for label in TABLES if label in block.labels)
    form = re.sub(r"\s", "", block.text(kind)).upper()
    line = block.labels[kind][1]
    if kind not in ("XYDATA", "XYPOINTS"):
        block.fail(f"##{kind}= is no continuous spectrum; ##XYDATA= is needed", line)
    points = block.number("NPOINTS")
    if points != round(points) or not 2 <= points <= POINTS:
        block.fail(
            f"NPOINTS = {block.text('NPOINTS')}: it should be a whole number between 2 and "
            f"{POINTS}",
            block.labels["NPOINTS"][1],
        )
    if form.startswith("(X++(Y..Y)"):
        x, y = _even(block, int(points))
    elif form.startswith("(XY..XY"):
        x, y = _pairs(block, int(points))
    else:
        block.fail(f"##{kind}={block.text(kind)[:30]}: it should be (X++(Y..Y)) or (XY..XY)", line)
    return x, _scaled(block, y)


def _even(block: Block, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Read lines of an abscissa and the ordinates that follow it at even steps."""
    first, last = block.number("FIRSTX"), block.number("LASTX")
    factor = block.number("XFACTOR", 1.0)
    step = (last - first) / (points - 1)
    if step == 0 or factor == 0:
        block.fail("FIRSTX and LASTX are the same" if step == 0 else "XFACTOR is 0")
    values: list[float] = []
    difference, shift, coarse = False, 0.0, False
    for count, (number, line) in enumerate(block.table):
        (abscissa, rounding), ordinates, ends_in_difference = _line(
            block, number, line, values[-1] if difference else None
        )
        point = len(values) - 1 if difference else len(values)
        off = (abscissa * factor - first) / step - point
        slack = max(HALF, 1.01 * rounding * abs(factor / step))
        coarse = coarse or slack > HALF
        if abs(off) > slack + (ONE if count else 0.0) or (count > 1 and abs(off - shift) > slack):
            block.fail(
                f"the line begins at {abscissa * factor:.10g}, but point {point + 1} of {points} "
                f"lies at {first + point * step:.10g}: there are too few or too many points before "
                "it, or FIRSTX, LASTX, NPOINTS or XFACTOR is wrong",
                number,
            )
        values += ordinates
        difference, shift = ends_in_difference, off
        if len(values) > points:
            block.fail(f"more than NPOINTS = {points} values", number)
    if len(values) != points:
        block.fail(
            f"NPOINTS = {points}, but there are {len(values)} values", block.labels["NPOINTS"][1]
        )
    # coarse abscissas leave the step unchecked
    if coarse and abs(abs(block.number("DELTAX", step)) - abs(step)) > 0.01 * abs(step):
        block.fail(
            f"DELTAX = {block.text('DELTAX')}, but FIRSTX, LASTX and NPOINTS give {step:g}",
            block.labels["DELTAX"][1],
        )
    return np.linspace(first, last, points), np.array(values)


def _line(
    block: Block, number: int, line: str, check: float | None
) -> tuple[tuple[float, float], list[float], bool]:
    """Decode a line: its abscissa and the rounding of that, its ordinates, the form of its end.

    The last value is whether it ends in difference form. ``check`` is the last ordinate of the line
    before if that did: it is repeated as the first.
    """
    tokens = _tokens(block, number, line)
    if not tokens or tokens[0][0] not in ("affn", "sqz"):
        block.fail(f"the line begins with {line.strip()[:20]!r}; it should be an abscissa", number)
    text = tokens[0][1]
    digits = text.partition(".")[2] if "." in text and "e" not in text.lower() else ""
    values: list[float] = []
    before: tuple[str, float] | None = None  # last token that is not a repetition
    for kind, text in tokens[1:]:
        if kind == "dup":
            if before is None or not int(text):
                block.fail("a repetition with nothing to repeat", number)
            if len(values) + int(text) > POINTS:
                block.fail(f"more than {POINTS} values", number)
            for _ in range(int(text) - 1):
                values.append(values[-1] + before[1] if before[0] == "dif" else before[1])
            continue
        value = float(text)
        if kind == "dif" and (not values or np.isnan(values[-1])):
            block.fail("a difference with no value before it", number)
        values.append(values[-1] + value if kind == "dif" else value)
        before = (kind, value)
    if not values:
        block.fail("an abscissa without ordinates", number)
    if check is not None:
        if values[0] != check:
            block.fail(
                "the line should repeat the last value of the line before, "
                f"{check:.10g}, and has {values[0]:.10g}",
                number,
            )
        values = values[1:]
    ends_in_difference = before is not None and before[0] == "dif"
    return (float(tokens[0][1]), 10.0 ** -len(digits)), values, ends_in_difference


def _tokens(block: Block, number: int, line: str) -> list[tuple[str, str]]:
    """Split a line into kind and text of each number, with compressed digits expanded."""
    tokens, start = [], 0
    while start < len(line):
        match = _TOKEN.match(line, start)
        if match is None:
            block.fail(f"{line[start : start + 10]!r} is no number", number)
        kind, text, start = str(match.lastgroup), match.group(), match.end()
        if len(text) > 40 and kind != "space":
            block.fail(f"a number of {len(text)} digits", number)
        if kind in ("sqz", "dif", "dup"):
            text = {"sqz": _SQZ, "dif": _DIF, "dup": _DUP}[kind][text[0]] + text[1:]
        if kind == "gap":
            kind, text = "affn", "nan"
        if kind == "dup" and len(text) > 7:
            block.fail("a repetition of more than a million", number)
        if kind != "space":
            tokens.append((kind, text))
    return tokens


def _pairs(block: Block, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Read pairs of abscissa and ordinate."""
    numbers: list[float] = []
    for number, line in block.table:
        for text in re.split(r"[\s,;]+", line.strip()):
            if not text:
                continue
            try:
                numbers.append(np.nan if text == "?" and len(numbers) % 2 else float(text))
            except ValueError:
                block.fail(f"{text[:20]!r} is no number", number)
        if len(numbers) % 2:
            block.fail("the line does not hold pairs of numbers", number)
    if len(numbers) != 2 * points:
        block.fail(
            f"NPOINTS = {points}, but there are {len(numbers) // 2} pairs",
            block.labels["NPOINTS"][1],
        )
    x, y = np.array(numbers[::2]) * block.number("XFACTOR", 1.0), np.array(numbers[1::2])
    steps = np.diff(x)
    if not (np.isfinite(x).all() and ((steps > 0).all() or (steps < 0).all())):
        wrong = int(np.argmin(steps * np.sign(np.median(steps)))) + 1
        block.fail(
            f"abscissas should all ascend or all descend; point {wrong + 1} at {x[wrong]:.10g} "
            "does not"
        )
    for label, index in (("FIRSTX", 0), ("LASTX", -1)):
        value = block.number(label, x[index])
        if abs(value - x[index]) > 0.5 * np.abs(steps).max():
            block.fail(
                f"{label} = {value:.10g}, but the table has {x[index]:.10g}", block.labels[label][1]
            )
    return x, y


def _rounding(text: str) -> float | None:
    """Return half of the last digit of a number as written; ``None`` if it is not a number."""
    match = re.fullmatch(r"[+-]?(?:\d+\.?(\d*)|\.(\d+))(?:[Ee]([+-]?\d{1,3}))?", text)
    if match is None:
        return None
    return 0.5 * 10.0 ** (int(match[3] or 0) - len(match[1] or match[2] or ""))


def _is_significant(text: str) -> bool:
    """Tell whether a number as written is larger than its rounding."""
    rounding = _rounding(text)
    return rounding is not None and abs(float(text)) > 3 * rounding


def _agrees(text: str, value: float) -> bool:
    """Tell whether the text of a label agrees with a value."""
    return abs(float(text) - value) <= SLACK * abs(value) + 1.2 * (_rounding(text) or 0.0)


def _scaled(block: Block, y: np.ndarray) -> np.ndarray:
    """Multiply ordinates by YFACTOR and check them against FIRSTY, MAXY and MINY."""
    factor = block.number("YFACTOR", 1.0)
    if factor == 0:
        block.fail("YFACTOR is 0", block.labels["YFACTOR"][1])
    y = y * factor
    finite = y[np.isfinite(y)]
    if len(finite) < 2:
        block.fail("there are no ordinates but gaps")
    actual = {"MAXY": finite.max(), "MINY": finite.min(), "FIRSTY": y[0]}
    given = [
        label
        for label, value in actual.items()
        if _is_significant(block.text(label)) and np.isfinite(value)
    ]
    if given and not any(_agrees(block.text(label), actual[label]) for label in given):
        label = given[0]
        block.fail(
            f"{label} = {block.text(label)}, but the table times YFACTOR = {factor:g} has "
            f"{actual[label]:g}",
            block.labels[label][1],
        )
    if "YFACTOR" not in block.labels and not (
        given and all(_agrees(block.text(label), actual[label]) for label in given)
    ):
        block.fail("YFACTOR is missing, and FIRSTY, MAXY and MINY do not say that it is 1")
    return y
