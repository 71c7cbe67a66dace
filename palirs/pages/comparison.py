"""Comparison of several studies, of a sweep or named by the user, read from their directories."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from palirs.journal import Journal
from palirs.learning.completed import MEASURED, complete_iterations, expected_errors
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
    "harmonic.held_out_mae_cm1": "harmonic MAE, modes held out (cm⁻¹)",
    "forces.mae_meV_per_A": "forces MAE on test frames (meV/Å)",
    EXPECTED: "forces, expected along MD (meV/Å)",
    MEASURED: "forces, measured along MD (meV/Å)",
    "harmonic.intensity_relative": "intensities, relative error",
    "band_error": "strong bands, relative error",
    "pcc_ml_ref": "spectrum and reference MD, PCC",
    "labels.used": "labels",
    "seconds": "time (s)",
}
"""Results that are compared, and their headings in the table."""
DRAWN = ("harmonic.mae_cm1", EXPECTED, "labels.used", "seconds")
MOST = 12
"""Spectra in one figure."""
SAME = ("study", "task", "tracker", "executor", "labels")
"""Settings that make no difference to results."""


def write_summary(study: Path, results: Mapping[str, float]) -> None:
    """Save the results of a study besides those of its iterations: errors of its spectra."""
    part = study / f"{SUMMARY}.part"
    finite = {key: value for key, value in results.items() if np.isfinite(value)}
    part.write_text(json.dumps(finite))
    part.replace(study / SUMMARY)


def outcome(study: Path) -> dict[str, float]:
    """Return the results of a study, by the keys of :data:`COLUMNS`.

    Seconds are those of all stages but the report.
    """
    metrics = _metrics(study)
    results = dict(metrics[-1]) if metrics else {}
    results.pop(EXPECTED, None)  # which belongs to the committee before
    expected = expected_errors(study)[-1:]
    if expected and np.isfinite(expected[0]):
        results[EXPECTED] = expected[0]
    if (study / SUMMARY).exists():
        results |= json.loads((study / SUMMARY).read_text())
    stages = Journal(study).stages()
    seconds = sum(spent["seconds"] for name, spent in stages.items() if name != "report")
    if seconds:
        results["seconds"] = seconds
    return {key: results[key] for key in COLUMNS if key in results}


def _metrics(study: Path) -> list[dict[str, float]]:
    """Return the metrics of each iteration."""
    return [
        json.loads((iteration / "metrics.json").read_text())["metrics"]
        for iteration in complete_iterations(study)
    ]


def write(
    studies: Mapping[str, Path], base: Path, stem: str, title: str, summary: Sequence[str]
) -> list[Path]:
    """Write page, table and figure of several studies; return the files.

    Parameters
    ----------
    studies : mapping
        Name and directory of each study.
    base : Path
        Where ``<stem>.html``, ``.csv`` and ``.png`` go.
    stem, title : str
        Of the files; of the page.
    summary : sequence of str
        Sentences at the top.
    """
    base.mkdir(parents=True, exist_ok=True)
    results = {name: outcome(study) for name, study in studies.items()}
    rows = [
        {"study": name, **{head: numbers[key] for key, head in COLUMNS.items() if key in numbers}}
        for name, numbers in results.items()
    ]
    table = base / f"{stem}.csv"
    write_table(table, [{"study": name, **numbers} for name, numbers in results.items()])
    bars = figures.bars(results, {key: COLUMNS[key] for key in DRAWN})
    figure = figures.save(bars, base / f"{stem}.png")
    chapters = [
        Chapter("Studies", [Section("Studies", rows=rows), Section("Results", figure)]),
        Chapter("Spectra", _spectra(studies, base / f"{stem}-figures")),
        Chapter("Learning", _learning(studies, base / f"{stem}-learning.png")),
        Chapter("Settings that differ", _settings(studies)),
    ]
    return [page.write(base / f"{stem}.html", title, summary, (), chapters), table, figure]


def _spectra(studies: Mapping[str, Path], folder: Path) -> list[Section]:
    """Return a section for each molecule and temperature of which there are predictions."""
    predictions: dict[tuple[str, str], dict[str, Spectrum]] = {}
    for name, study in studies.items():
        for file in sorted((study / "spectra").glob("*-predicted.csv")):
            match = re.fullmatch(r"(.+)-([\d.e+]+)K-predicted\.csv", file.name)
            if match:
                predictions.setdefault((match[1], match[2]), {})[name] = read_csv(file)
    sections = []
    for (molecule, temperature), spectra in predictions.items():
        file = f"{molecule}-{temperature}K-reference.csv"
        references = [study / "spectra" / file for study in studies.values()]
        reference = next((read_csv(file) for file in references if file.exists()), None)
        figure = folder / f"{molecule}-{temperature}K.png"
        sections.append(_overlay(f"{molecule}, {temperature} K", spectra, reference, figure))
    return sections


def _overlay(
    title: str, spectra: Mapping[str, Spectrum], reference: Spectrum | None, file: Path
) -> Section:
    """Draw predicted spectra over one another, with the reference MD if a study has it."""
    first = next(iter(spectra))
    drawn = dict(list(spectra.items())[:MOST])
    rows = [
        {
            "study": name,
            **_similarity(spectrum, spectra[first], first),
            **_similarity(spectrum, reference, "reference MD"),
        }
        for name, spectrum in drawn.items()
    ]
    notes = []
    if len(spectra) > MOST:
        notes.append(f"{len(spectra) - MOST} more are not drawn.")
    if reference is not None:
        notes.append("The reference is the engine's own MD of the first study that has it.")
    compared = [*drawn.values(), *([] if reference is None else [reference])]
    ways = sorted({spectrum.made for spectrum in compared if spectrum.made})
    if len(ways) > 1:
        notes.append(
            f"They were made in different ways, so lines may differ in width: {'; '.join(ways)}."
        )
    figure = spectral_figures.overlay(title, drawn, reference, interactive.WINDOW)
    return Section(
        title,
        figures.save(figure, file),
        rows,
        interactive.overlay(title, drawn, reference),
        " ".join(notes),
    )


def _similarity(spectrum: Spectrum, other: Spectrum | None, name: str) -> dict[str, object]:
    if other is None:
        return {}
    try:
        return {
            f"PCC with {name}": f"{pearson(spectrum, other):.3f}",
            f"WD with {name}": f"{wasserstein(spectrum, other):.3f}",
        }
    except FlatError:
        return {}


def _learning(studies: Mapping[str, Path], file: Path) -> list[Section]:
    """Draw errors against labels, a line for each study that counted its labels."""
    courses = {name: _metrics(study) for name, study in studies.items()}
    courses = {
        name: rows
        for name, rows in courses.items()
        if rows and all("labels.used" in row for row in rows)
    }
    if not courses:
        return []
    figure = figures.save(figures.courses(courses), file)
    return [Section("Errors against reference calculations", figure)]


def _settings(studies: Mapping[str, Path]) -> list[Section]:
    """Return a table of the settings in which the studies differ."""
    settings = {}
    for name, study in studies.items():
        file = study / "config.yaml"
        if file.exists():
            config = yaml.safe_load(file.read_text())
            settings[name] = flat({key: config[key] for key in config if key not in SAME})
    rows = []
    for key in dict.fromkeys(key for config in settings.values() for key in config):
        values = {name: str(config.get(key, "")) for name, config in settings.items()}
        if len(set(values.values())) > 1:
            rows.append({"setting": key, **values})
    return [Section("Settings that differ", rows=rows)] if settings else []
