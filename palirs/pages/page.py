"""One HTML page that needs nothing else: figures and scripts are inside, so it can be sent by mail, read offline and printed."""

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from palirs.report.sections import Section

TEMPLATES = Path(__file__).parent / "templates"
UNITS = {
    "_meV_per_A": "meV/Å",
    "_eV_per_A": "eV/Å",
    "_km_per_mol": "km/mol",
    "_meV": "meV",
    "_cm1": "cm⁻¹",
    "_mD": "mDebye",
    "_MiB": "MiB",
    "_ps": "ps",
    "_K": "K",
    "_s": "s",
}
SPECTRA = {"ml": "prediction", "ref": "reference MD", "exp": "experiment"}
WORDS = {
    "mae": "MAE",
    "rmse": "RMSE",
    "se": "standard error",
    "pcc": "PCC",
    "wd": "WD",
    "std": "spread",
    "max": "largest",
}


@dataclass(frozen=True)
class Chapter:
    """A part of a page.

    Attributes
    ----------
    title : str
        Its heading, and its entry in the table of contents.
    sections : sequence of Section
        Drawn in order.
    text : str
        Before them; Markup, or it is escaped.
    """

    title: str
    sections: Sequence[Section] = ()
    text: str = ""

    @property
    def anchor(self) -> str:
        """What links point to."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


def write(
    path: Path,
    title: str,
    summary: Sequence[str],
    warnings: Sequence[str],
    chapters: Sequence[Chapter],
) -> Path:
    """Write a page, atomically.

    Parameters
    ----------
    path : Path
        The HTML file.
    title : str
        Heading.
    summary, warnings : sequence of str
        Sentences at the top; what should be known before a number is used.
    chapters : sequence of Chapter
        Those that hold nothing are left out.
    """
    chapters = [chapter for chapter in chapters if chapter.text or chapter.sections]
    plots = any(section.plot is not None for chapter in chapters for section in chapter.sections)
    script = Markup(get_plotlyjs()) if plots else ""
    text = render(
        "page.html",
        title=title,
        summary=summary,
        warnings=warnings,
        chapters=chapters,
        script=script,
    )
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    return path


def render(template: str, **values: Any) -> Markup:
    """Fill a template of :data:`TEMPLATES`; values are escaped unless they are Markup."""
    return Markup(_environment().get_template(template).render(**values))


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters |= {
        "number": "{:g}".format,
        "percent": "{:.0%}".format,
        "cell": cell,
        "head": head,
        "picture": _picture,
        "plot": _plot,
        "columns": _columns,
        "linked": _linked,
    }
    made.globals["style"] = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
    return made


def cell(value: object) -> str:
    """Return what stands in a table: few digits, nothing for what is not a number."""
    if isinstance(value, float):
        return "" if value != value else f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    return str(value)


def head(key: str) -> str:
    """Return the head of a column for readers: ``forces.mae_meV_per_A`` becomes ``forces MAE (meV/Å)``."""
    if alike := re.fullmatch(r"(pcc|wd)_(\w+?)_(\w+?)(_equal)?(_scaled)?", key):
        kind, a, b, equal, scaled = alike.groups()
        if a in SPECTRA and b in SPECTRA:
            pair = (
                f"{SPECTRA[a]}, its halves" if a == b == "ref" else f"{SPECTRA[a]} and {SPECTRA[b]}"
            )
            return f"{kind.upper()}, {pair}{' at its resolution' if equal else ''}{', scaled' if scaled else ''}"
    if not re.fullmatch(r"[\w.]+", key):  # in words already, or the name of a study
        return key
    unit = next((suffix for suffix in UNITS if key.endswith(suffix)), "")
    words = " ".join(WORDS.get(part, part) for part in re.split(r"[._]", key.removesuffix(unit)))
    return f"{words} ({UNITS[unit]})" if unit else words


def _linked(text: str) -> Markup:
    """Return a reference with its DOI or arXiv number as a link."""
    homes = {"doi": "https://doi.org/", "arXiv": "https://arxiv.org/abs/"}
    link = r'<a href="{}\2">\1:\2</a>'
    return Markup(
        re.sub(
            r"(doi|arXiv):(\S+)",
            lambda found: found.expand(link.format(homes[found[1]])),
            str(escape(text)),
        )
    )


def _columns(rows: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """Return the keys of all rows, each with the class of its column: ``text`` stands on the left, numbers on the right."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {
        key: "text"
        if any(re.search(r"[^\W\d_]{3}", cell(row.get(key, ""))) for row in rows)
        else "number"
        for key in keys
    }


def _picture(file: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"


def _plot(figure: Any, name: str) -> Markup:
    return Markup(
        figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=name,
            config={"responsive": True, "displaylogo": False},
        )
    )
