"""One HTML page with everything a study found; figures are inside the file, so it can be sent by mail."""

import base64
import csv
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; }}
table {{ border-collapse: collapse; margin: 1rem 0; }} th, td {{ padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }}
th:first-child, td:first-child {{ text-align: left; }} img {{ max-width: 100%; }} h2 {{ margin-top: 2.5rem; }}
pre {{ background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: .85rem; }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""


def write(
    path: Path,
    title: str,
    summary: Sequence[str],
    tables: Sequence[tuple[str, Sequence[Mapping[str, object]]]],
    figures: Sequence[tuple[str, Path]],
    config: str,
) -> Path:
    """Write the report.

    Parameters
    ----------
    path : Path
        The HTML file.
    title : str
        Heading.
    summary : sequence of str
        Sentences at the top.
    tables : sequence of (heading, rows)
        Rows are mappings with the same keys.
    figures : sequence of (heading, PNG file)
        Drawn in order.
    config : str
        Resolved settings, shown at the end.
    """
    parts = [f"<p>{html.escape(sentence)}</p>" for sentence in summary]
    for heading, picture in figures:
        data = base64.b64encode(picture.read_bytes()).decode()
        parts.append(f'<h2>{html.escape(heading)}</h2><img alt="{html.escape(heading)}" src="data:image/png;base64,{data}">')
    for heading, rows in tables:
        parts.append(f"<h2>{html.escape(heading)}</h2>{_table(rows)}")
    parts.append(f"<h2>Settings</h2><pre>{html.escape(config)}</pre>")
    path.write_text(_PAGE.format(title=html.escape(title), body="\n".join(parts)), encoding="utf-8")
    return path


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    if not rows:
        return "<p>none</p>"
    head = "".join(f"<th>{html.escape(key)}</th>" for key in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(_text(value))}</td>" for value in row.values()) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the same keys as CSV, atomically."""
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()} for row in rows)
    part.replace(path)
