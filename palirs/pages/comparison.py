"""Several studies beside each other: those of a sweep, or any that are named.

Everything is read from their directories.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from palirs.journal import Journal
from palirs.learning.completed import complete_iterations, expected_errors
from palirs.learning.quality.convergence import EXPECTED
from palirs.pages import page
from palirs.pages.page import Chapter
from palirs.report import figures, interactive, spectral_figures
from palirs.report.sections import Section
from palirs.results.tables import write_table
from palirs.settings.flat import flat
from palirs.spectra import Spectrum, pearson, wasserstein
from palirs.spectra.compare import FlatError
from palirs.spectra.files import read_csv

SUMMARY = "summary.json"
COLUMNS = {
    "harmonic.mae_cm1": "harmonic MAE (cm⁻¹)",
    "forces.mae_meV_per_A": "forces MAE on test frames (meV/Å)",
    EXPECTED: "forces, expected along MD (meV/Å)",
    "harmonic.intensity_relative": "intensities, relative error",
    "band_error": "strong bands, relative error",
    "pcc_ml_ref": "spectrum and reference MD, PCC",
    "labels.used": "labels",
    "seconds": "time (s)",
}
"""What is told of each study, and its head in the table."""
DRAWN = ("harmonic.mae_cm1", EXPECTED, "labels.used", "seconds")
MOST = 12
"""Spectra in one figure."""
SAME = ("study", "task", "tracker", "executor", "labels")
"""Settings that make no difference to results."""


def write_summary(place: Path, told: Mapping[str, float]) -> None:
    """Write down what a study came to besides the metrics of its iterations: how sure and how good its spectra are."""
    part = place / f"{SUMMARY}.part"
    part.write_text(json.dumps({key: value for key, value in told.items() if np.isfinite(value)}))
    part.replace(place / SUMMARY)


def outcome(place: Path) -> dict[str, float]:
    """Return what a study came to, by the keys of :data:`COLUMNS`; seconds are those of all its stages but the drawing of reports."""
    metrics = [
        json.loads((one / "metrics.json").read_text())["metrics"]
        for one in complete_iterations(place)
    ]
    told = dict(metrics[-1]) if metrics else {}
    told.pop(EXPECTED, None)  # which is that of the committee before
    expected = expected_errors(place)[-1:]
    told |= {EXPECTED: expected[0]} if np.isfinite(expected).all() and expected else {}
    told |= json.loads((place / SUMMARY).read_text()) if (place / SUMMARY).exists() else {}
    seconds = sum(
        one["seconds"] for name, one in Journal(place).stages().items() if name != "report"
    )
    return {key: told[key] for key in COLUMNS if key in told} | (
        {"seconds": seconds} if seconds else {}
    )


def write(
    places: Mapping[str, Path], base: Path, stem: str, title: str, summary: Sequence[str]
) -> list[Path]:
    """Write page, table and figure of several studies; return the files.

    Parameters
    ----------
    places : mapping
        Name of each study, and its directory.
    base : Path
        Where ``<stem>.html``, ``.csv`` and ``.png`` go.
    stem, title : str
        Of the files; of the page.
    summary : sequence of str
        Sentences at the top.
    """
    base.mkdir(parents=True, exist_ok=True)
    found = {name: outcome(place) for name, place in places.items()}
    rows = [
        {"study": name, **{head: told[key] for key, head in COLUMNS.items() if key in told}}
        for name, told in found.items()
    ]
    write_table(base / f"{stem}.csv", [{"study": name, **told} for name, told in found.items()])
    drawn = figures.save(
        figures.bars(found, {key: COLUMNS[key] for key in DRAWN}), base / f"{stem}.png"
    )
    chapters = [
        Chapter("Studies", [Section("Studies", rows=rows), Section("Beside each other", drawn)]),
        Chapter("Spectra", _spectra(places, base / f"{stem}-figures")),
        Chapter("Learning", _learning(places, base / f"{stem}-learning.png")),
        Chapter("Settings that differ", _settings(places)),
    ]
    return [
        page.write(base / f"{stem}.html", title, summary, (), chapters),
        base / f"{stem}.csv",
        drawn,
    ]


def _spectra(places: Mapping[str, Path], folder: Path) -> list[Section]:
    """Draw the predicted spectra of each molecule and temperature over one another, and the engine's own if one study has it."""
    known: dict[tuple[str, str], dict[str, Spectrum]] = {}
    for name, place in places.items():
        for file in sorted((place / "spectra").glob("*-predicted.csv")):
            if match := re.fullmatch(r"(.+)-([\d.e+]+)K-predicted\.csv", file.name):
                known.setdefault((match[1], match[2]), {})[name] = read_csv(file)
    sections = []
    for (molecule, temperature), spectra in known.items():
        title, first = f"{molecule}, {temperature} K", next(iter(spectra))
        shown = dict(list(spectra.items())[:MOST])
        references = [
            place / "spectra" / f"{molecule}-{temperature}K-reference.csv"
            for place in places.values()
        ]
        reference = next((read_csv(file) for file in references if file.exists()), None)
        drawn = spectral_figures.overlay(title, shown, reference, interactive.WINDOW)
        rows = [
            {
                "study": name,
                **_alike(one, spectra[first], first),
                **_alike(one, reference, "reference MD"),
            }
            for name, one in shown.items()
        ]
        note = f"{len(spectra) - MOST} more are not drawn. " if len(spectra) > MOST else ""
        note += (
            "The reference is the engine's own MD of the first study that has it. "
            if reference is not None
            else ""
        )
        made = {
            one.made
            for one in (*shown.values(), *([reference] if reference is not None else []))
            if one.made
        }
        note += (
            f"They were made in different ways, so lines differ in width: {'; '.join(sorted(made))}."
            if len(made) > 1
            else ""
        )
        sections.append(
            Section(
                title,
                figures.save(drawn, folder / f"{molecule}-{temperature}K.png"),
                rows,
                interactive.overlay(title, shown, reference),
                note,
            )
        )
    return sections


def _alike(one: Spectrum, other: Spectrum | None, name: str) -> dict[str, object]:
    if other is None:
        return {}
    try:
        return {
            f"PCC with {name}": f"{pearson(one, other):.3f}",
            f"WD with {name}": f"{wasserstein(one, other):.3f}",
        }
    except FlatError:
        return {}


def _learning(places: Mapping[str, Path], file: Path) -> list[Section]:
    """Draw errors against labels, a line for each study."""
    courses = {}
    for name, place in places.items():
        rows = [
            json.loads((one / "metrics.json").read_text())["metrics"]
            for one in complete_iterations(place)
        ]
        if rows and all("labels.used" in row for row in rows):
            courses[name] = rows
    if not courses:
        return []
    return [
        Section(
            "Errors against reference calculations", figures.save(figures.courses(courses), file)
        )
    ]


def _settings(places: Mapping[str, Path]) -> list[Section]:
    """Return a table of the settings in which the studies differ."""
    settings = {
        name: flat(
            {
                key: value
                for key, value in yaml.safe_load(file.read_text()).items()
                if key not in SAME
            }
        )
        for name, place in places.items()
        if (file := place / "config.yaml").exists()
    }
    rows = []
    for key in dict.fromkeys(key for one in settings.values() for key in one):
        values = {name: str(one.get(key, "")) for name, one in settings.items()}
        if len(set(values.values())) > 1:
            rows.append({"setting": key, **values})
    return [Section("Settings that differ", rows=rows)] if settings else []
