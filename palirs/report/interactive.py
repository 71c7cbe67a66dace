"""Interactive figures of spectra for a browser."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from matplotlib.colors import to_rgb

from palirs.report import band_tables
from palirs.report.figures import MEASURED, PREDICTED, REFERENCE, colour
from palirs.report.spectral_figures import spectrum as drawn
from palirs.spectra import Spectrum

COLOURS = {"predicted": PREDICTED, "reference": REFERENCE, "experiment": MEASURED}
NAMES = {"predicted": "prediction", "reference": "reference MD", "experiment": "experiment"}
WINDOW = (500.0, 4000.0)


def spectra_figure(
    title: str, spectra: Mapping[str, Spectrum], bands: Sequence[Mapping[str, float | str]] = ()
) -> go.Figure:
    """Draw spectra on one axis of wavenumbers, falling from left to right.

    Parameters
    ----------
    title : str
        Molecule and temperature.
    spectra : mapping
        ``predicted``, ``reference``, ``experiment``, those there are. An experiment has no absolute
        intensity; it is drawn as high as the highest of the others.
    bands : sequence of mapping
        Rows of :func:`palirs.production.assign`; their assignments appear at the bands of the
        prediction.
    """
    figure = go.Figure()
    computed = [
        spectrum.within(*WINDOW)
        for key, spectrum in spectra.items()
        if key in ("predicted", "reference")
    ]
    top = max((float(spectrum.intensity.max()) for spectrum in computed), default=1.0) or 1.0
    for key in (key for key in NAMES if key in spectra):
        _add(figure, key, spectra[key].within(*WINDOW), top)
    for row in sorted(bands, key=lambda row: -float(row["area_km_per_mol"]))[:7]:
        height = max(_height(spectrum, float(row["position_cm1"])) for spectrum in computed)
        text = f"{row['position_cm1']:.0f} {escape(str(row['assignment']))}"
        position = {
            "x": row["position_cm1"],
            "y": height,
            "xanchor": "center",
            "yanchor": "bottom",
            "yshift": 6,
        }
        figure.add_annotation(text=text, textangle=-90, font_size=11, showarrow=False, **position)
    _lay_out(
        figure,
        title,
        next((spectrum.unit for key, spectrum in spectra.items() if key != "experiment"), ""),
    )
    reach = max(
        (_height(spectrum, float(row["position_cm1"])) for spectrum in computed for row in bands),
        default=top,
    )
    figure.update_yaxes(range=[0, max(1.1 * top, 1.7 * reach)])
    return figure


def overlay(title: str, spectra: Mapping[str, Spectrum], reference: Spectrum | None) -> go.Figure:
    """Draw predictions of several studies and the engine's own MD over one another.

    Parameters
    ----------
    title : str
        Molecule and temperature.
    spectra : mapping
        Name of each study, and its spectrum.
    reference : Spectrum or None
        Of the engine's own MD.
    """
    figure = go.Figure()
    named = [
        (name, spectrum, {"color": colour(number), "width": 1.6})
        for number, (name, spectrum) in enumerate(spectra.items())
    ]
    named += (
        [("reference MD", reference, {"color": REFERENCE, "width": 1.6, "dash": "dot"})]
        if reference is not None
        else []
    )
    for name, spectrum, line in named:
        part = spectrum.within(*WINDOW)
        figure.add_scatter(
            x=np.round(part.wavenumber, 2),
            y=_short(part.intensity),
            name=name,
            line=line,
            hovertemplate="%{y:.3g}",
        )
    _lay_out(figure, title, next(iter(spectra.values())).unit)
    figure.update_yaxes(rangemode="tozero")
    return figure


def _lay_out(figure: go.Figure, title: str, unit: str) -> None:
    """Give a figure its axes, wavenumbers falling from left to right, and its legend below."""
    legend = {"orientation": "h", "y": -0.2, "x": 0.5, "xanchor": "center", "yanchor": "top"}
    figure.update_layout(
        title=title, template="simple_white", hovermode="x unified", height=580, legend=legend
    )
    figure.update_xaxes(title="wavenumber (cm⁻¹)", range=[WINDOW[1], WINDOW[0]])
    figure.update_yaxes(title=f"absorption ({unit})")


def _add(figure: go.Figure, key: str, spectrum: Spectrum, top: float) -> None:
    """Add a spectrum, and a band of twice its standard error with a legend entry of its own."""
    scale = top / max(float(spectrum.intensity.max()), 1e-30) if key == "experiment" else 1.0
    name = f"{spectrum.label or NAMES[key]}" + (" (scaled)" if key == "experiment" else "")
    x, y = np.round(spectrum.wavenumber, 2), scale * spectrum.intensity
    figure.add_scatter(
        x=x,
        y=_short(y),
        name=name,
        line={"color": COLOURS[key], "width": 1.6},
        hovertemplate="%{y:.3g}",
    )
    if key != "experiment" and spectrum.error is not None and np.isfinite(spectrum.error).all():
        edge = {
            "mode": "lines",
            "line": {"width": 0},
            "hoverinfo": "skip",
            "legendgroup": f"{key} error",
        }
        figure.add_scatter(x=x, y=_short(y + 2 * spectrum.error), showlegend=False, **edge)
        red, green, blue = (round(255 * part) for part in to_rgb(COLOURS[key]))
        band = {"fill": "tonexty", "fillcolor": f"rgba({red},{green},{blue},0.25)"}
        figure.add_scatter(
            x=x,
            y=_short(y - 2 * spectrum.error),
            name=f"± 2 standard errors, {NAMES[key]}",
            **edge,
            **band,
        )


def _height(spectrum: Spectrum, wavenumber: float) -> float:
    """Return how high a spectrum and its error band reach near a wavenumber [cm⁻¹]."""
    near = np.abs(spectrum.wavenumber - wavenumber) < 40
    error = (
        np.nan_to_num(spectrum.error)
        if spectrum.error is not None
        else np.zeros_like(spectrum.intensity)
    )
    return float((spectrum.intensity + 2 * error)[near].max(initial=0.0))


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def write_page(figures: Sequence[go.Figure], file: Path) -> Path:
    """Write figures as a page that needs no other file and no network."""
    parts = [
        figure.to_html(full_html=False, include_plotlyjs=not number, div_id=f"spectrum-{number}")
        for number, figure in enumerate(figures)
    ]
    head = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Spectra</title></head>'
        "<body>"
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([head, *parts, "</body></html>"]), encoding="utf-8")
    return file


def summary(
    title: str,
    spectrum: Spectrum,
    bands: Sequence[Mapping[str, float | str]],
    warnings: Sequence[str],
) -> str:
    """Return a predicted spectrum as HTML for a notebook: warnings, figure, table of bands."""
    buffer = io.BytesIO()
    figure = drawn(title, {"predicted": spectrum}, WINDOW, {}, bands)
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    picture = base64.b64encode(buffer.getvalue()).decode()
    notes = "".join(f"<p><b>Warning:</b> {escape(text)}</p>" for text in warnings)
    rows = [
        {key.partition(" (engine")[0]: value for key, value in row.items()}
        for row in band_tables.in_words(bands)
    ]
    for row in rows:
        row["harmonic"] = str(row["harmonic"]).partition(" (")[0]  # there is no engine
    head = "".join(f"<th>{escape(str(key))}</th>" for key in rows[0]) if rows else ""
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row.values()) + "</tr>"
        for row in rows
    )
    image = (
        f'<img alt="{escape(title)}" style="max-width:100%" src="data:image/png;base64,{picture}">'
    )
    return f"{notes}{image}<table><tr>{head}</tr>{body}</table>"
