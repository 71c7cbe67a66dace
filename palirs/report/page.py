"""One HTML page with everything a study found; figures are inside the file, so it can be sent by mail."""

import base64
import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from palirs.report.sections import Section

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; }}
table {{ border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }}
th, td {{ padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }}
th:first-child, td:first-child {{ text-align: left; }} img {{ max-width: 100%; }} h2 {{ margin-top: 2.5rem; }}
pre {{ background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: .85rem; }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""


def write(path: Path, title: str, summary: Sequence[str], sections: Sequence[Section], config: str) -> Path:
    """Write the report.

    Parameters
    ----------
    path : Path
        The HTML file.
    title : str
        Heading.
    summary : sequence of str
        Sentences at the top.
    sections : sequence of Section
        Drawn in order.
    config : str
        Resolved settings, shown at the end.
    """
    parts = [f"<p>{html.escape(sentence)}</p>" for sentence in summary]
    for section in sections:
        parts.append(f"<h2>{html.escape(section.heading)}</h2>")
        if section.figure is not None:
            data = base64.b64encode(section.figure.read_bytes()).decode()
            parts.append(f'<img alt="{html.escape(section.heading)}" src="data:image/png;base64,{data}">')
        if section.rows is not None:
            parts.append(_table(section.rows))
    parts.append(f"<h2>Settings</h2><pre>{html.escape(config)}</pre>")
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(_PAGE.format(title=html.escape(title), body="\n".join(parts)), encoding="utf-8")
    part.replace(path)
    return path


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    if not rows:
        return "<p>none</p>"
    columns = list(dict.fromkeys(key for row in rows for key in row))
    head = "".join(f"<th>{html.escape(key)}</th>" for key in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(_text(row.get(key, '')))}</td>" for key in columns) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
