"""Tables as CSV files."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as CSV, atomically; a column for every key that any of them has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(
            file, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(
            {
                key: f"{value:.6g}" if isinstance(value, float) else value
                for key, value in row.items()
            }
            for row in rows
        )
    part.replace(path)


def read_table(path: Path) -> list[dict[str, float | str]]:
    """Read a CSV table; numbers as floats, empty cells left out."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {key: _value(text) for key, text in row.items() if text} for row in csv.DictReader(file)
        ]


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
