"""One self-contained HTML page: figures and scripts are embedded, for mail, offline and print."""

import base64
import math
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
SPECTRA = {
    "ml": "prediction",
    "ref": "reference MD",
    "exp": "experiment",
    "moved": "prediction with quantum shifts",
}
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
    """A chapter of a page, with an entry in its table of contents.

    Attributes
    ----------
    title : str
        Its heading.
    sections : sequence of Section
        In order.
    text : str
        Before the sections; escaped unless it is Markup.
    """

    title: str
    sections: Sequence[Section] = ()
    text: str = ""

    @property
    def anchor(self) -> str:
        """The id that links point to."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


def write(
    path: Path,
    title: str,
    summary: Sequence[str],
    caveats: Sequence[str],
    chapters: Sequence[Chapter],
) -> Path:
    """Write a page, atomically.

    Parameters
    ----------
    path : Path
        The HTML file.
    title : str
        Heading.
    summary, caveats : sequence of str
        Sentences at the top.
    chapters : sequence of Chapter
        Empty ones are left out.
    """
    chapters = [chapter for chapter in chapters if chapter.text or chapter.sections]
    plots = any(section.plot is not None for chapter in chapters for section in chapter.sections)
    script = Markup(get_plotlyjs()) if plots else ""
    text = render(
        "page.html",
        title=title,
        summary=summary,
        caveats=caveats,
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
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "number": "{:g}".format,
        "percent": "{:.0%}".format,
        "cell": cell,
        "head": head,
        "picture": _picture,
        "plot": _plot,
        "columns": _columns,
        "linked": _linked,
    }
    environment.globals["style"] = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
    return environment


def cell(value: object) -> str:
    """Return the text of a table cell: few digits, empty for NaN."""
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def head(key: str) -> str:
    """Return the heading of a column: ``forces MAE (meV/Å)`` for ``forces.mae_meV_per_A``."""
    score = re.fullmatch(r"(pcc|wd)_(ml|ref|exp|moved)_(ml|ref|exp)(_equal)?(_scaled)?", key)
    if score:
        kind, a, b, equal, scaled = score.groups()
        pair = f"{SPECTRA[a]} and {SPECTRA[b]}"
        if a == b == "ref":
            pair = "the two halves of the reference MD"
        resolution = " at its resolution" if equal else ""
        return f"{kind.upper()}, {pair}{resolution}{', scaled' if scaled else ''}"
    if not re.fullmatch(r"[\w.]+", key):  # words already, or the name of a study
        return key
    unit = next((suffix for suffix in UNITS if key.endswith(suffix)), "")
    text = " ".join(WORDS.get(part, part) for part in re.split(r"[._]", key.removesuffix(unit)))
    return f"{text} ({UNITS[unit]})" if unit else text


def _linked(text: str) -> Markup:
    """Return a reference with its DOI or arXiv number as a link."""
    homes = {"doi": "https://doi.org/", "arXiv": "https://arxiv.org/abs/"}
    link = r'<a href="{}\2">\1:\2</a>'
    return Markup(
        re.sub(
            r"(doi|arXiv):(\S+)",
            lambda match: match.expand(link.format(homes[match[1]])),
            str(escape(text)),
        )
    )


def _columns(rows: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """Return the CSS class of each column: ``text`` (left-aligned) or ``number``."""
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
