"""Sections of the report on learning and errors: figures and tables of the results of a study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go

from palirs import keys
from palirs.learning.completed import MEASURED
from palirs.learning.quality.convergence import BEADS
from palirs.learning.quality.errors import above
from palirs.learning.quality.modes import WAVENUMBER
from palirs.production.trajectories import broken
from palirs.report import figures
from palirs.results import StudyResults
from palirs.results.coverage import ENGINE_MD, NEIGHBOURS, coverage_of
from palirs.results.tables import read_table, write_table

IN_TABLE = (
    "harmonic.mae_cm1",
    "harmonic.rmse_cm1",
    "harmonic.held_out_mae_cm1",
    "harmonic.held_out_curvature",
    "energy.mae_meV",
    "forces.mae_meV_per_A",
    "forces.rmse_meV_per_A",
    "forces.md.mae_meV_per_A",
    "dipole.mae_mD",
    "harmonic.intensity_mae_km_per_mol",
    "harmonic.intensity_relative",
)
"""Metrics of each iteration in the table of learning curves."""


@dataclass(frozen=True)
class Section:
    """Figure, table and text under one heading of a page.

    Attributes
    ----------
    heading : str
    figure : Path or None
        A PNG file.
    rows : sequence of mapping or None
        A table.
    plot : plotly figure or None
        Shown on a screen instead of the figure, which then is for print.
    note, code : str
        A sentence; text in a fixed-width font.
    """

    heading: str
    figure: Path | None = None
    rows: Sequence[Mapping[str, object]] | None = None
    plot: go.Figure | None = None
    note: str = ""
    code: str = ""


def learning_curves(results: StudyResults) -> Section:
    """Errors of each iteration, drawn and as a table."""
    rows = []
    for number, (metrics, expected) in enumerate(
        zip(results.history, results.expected, strict=True)
    ):
        row: dict[str, object] = {
            "iteration": number,
            "structures": f"{metrics['dataset.size']:.0f}",
        }
        if "labels.used" in metrics:
            row["reference calculations"] = f"{metrics['labels.used']:.0f}"
        wanted = [key for name in IN_TABLE for key in (name, name.replace("mae_", "mae_se_"))]
        texts = _with_errors({key: metrics[key] for key in wanted if key in metrics})
        of_md = texts.pop("forces.md.mae_meV_per_A", "")
        row |= texts | {"forces MAE on frames of MD (meV/Å)": of_md}
        rows.append(row | {"forces, expected along MD (meV/Å)": expected})
    drawn = figures.save(
        figures.learning_curves(results.history, results.expected, results.goals),
        results.figure("learning_curves"),
    )
    note = (
        "Energies and forces are those of the test structures, ± standard error; frequencies those "
        "of all modes of the optima."
    )
    if WAVENUMBER in results.history[-1]:
        note += (
            " The Hessians of the optima are learnt, so these frequencies are no independent "
            "error; the held-out ones are those of the modes that are not learnt (their curvature "
            "is ω², its error relative)."
        )
    confirmed = [str(n) for n, metrics in enumerate(results.history) if MEASURED in metrics]
    if confirmed:
        note += (
            f" Iteration {' and '.join(confirmed)} trained nothing: its structures are frames of "
            "MD by the committee before it, labelled to measure what was expected."
        )
    rings = [number for number, metrics in enumerate(results.history) if BEADS in metrics]
    if rings or results.explored != "MD":
        first = min(rings, default=len(results.history))
        classical = f"; before iteration {first} it was classical" if first > 1 else ""
        note += f" Errors along MD are those on single beads of {results.explored}{classical}."
    return Section("Learning curves", drawn, rows, note=note)


def data(results: StudyResults) -> Section:
    """Energies of the first and the final data above the optima."""
    drawn = figures.energy_distribution(
        results.above_optimum(results.first), results.above_optimum(results.final)
    )
    return Section(
        "Energies of the data", figures.save(drawn, results.figure("energy_distribution"))
    )


def coverage(results: StudyResults) -> list[Section]:
    """Principal components of all structures, and how much of the engine's MD the data cover."""
    covers = coverage_of(results)
    drawn = figures.principal_components(covers.components, covers.variance)
    sections = [
        Section("Where the data lie", figures.save(drawn, results.figure("principal_components")))
    ]
    if covers.covered:
        title = (
            f"Share of {ENGINE_MD} that is as near to a labelled structure as {NEIGHBOURS:g} % of "
            "these are to one another (MBTR)"
        )
        sections.append(Section(title, rows=covers.covered))
    return sections


def test_set(results: StudyResults) -> list[Section]:
    """Errors of each iteration on the test set, if there is one, and of the last by molecule."""
    titles = {
        "errors": "Errors on the test set, by iteration",
        "molecules": "Errors of the last iteration on the test set, by molecule",
    }
    tables = {
        title: results.directory / "test_set" / f"{name}.csv" for name, title in titles.items()
    }
    return [
        Section(title, rows=read_table(file)) for title, file in tables.items() if file.exists()
    ]


def parities(results: StudyResults) -> list[Section]:
    """Predicted against reference values of the test frames."""
    energy, forces = results.potential
    drawn = [
        ("Energies", "Energy above the optimum", "meV", above(energy, results.optima), "energy"),
        ("Forces", "Forces", "meV/Å", forces, "forces"),
    ]
    if results.dipoles is not None:
        drawn.append(("Dipoles", "Dipole", "mDebye", results.dipoles, "dipole"))
    return [
        Section(
            heading,
            figures.save(figures.parity(title, unit, values), results.figure(f"{name}_parity")),
        )
        for heading, title, unit, values, name in drawn
    ]


def errors(results: StudyResults) -> Section:
    """Errors on the test frames by molecule and by origin; also written to ``errors.csv``."""
    rows = results.error_rows()
    write_table(results.directory / "errors.csv", rows)
    return Section(
        "Errors on the test frames of the last iteration, by molecule and by origin",
        rows=[_with_errors(row) for row in rows],
    )


def _with_errors(row: Mapping[str, object]) -> dict[str, object]:
    """Return a row as text: MAEs with their standard errors, names without underscores."""
    texts: dict[str, object] = {}
    for key, value in row.items():
        error = row.get(key.replace("mae_", "mae_se_"))
        if "mae_se_" not in key:
            text = f"{value:.3g}" if isinstance(value, float) else str(value).replace("_", " ")
            texts[key] = text + (f" ± {error:.2g}" if "mae_" in key and error is not None else "")
    return texts


def reliability(results: StudyResults) -> list[Section]:
    """Error against disagreement of the committee, if it has several members."""
    if not results.calibration.spread.min() > 0:
        return []
    origins = [str(atoms.info.get(keys.ORIGIN, "unknown")) for atoms in results.test]
    return [
        Section(
            "Disagreement and error of the committee",
            figures.save(
                figures.reliability(results.calibration, origins), results.figure("reliability")
            ),
        )
    ]


def ended_early(results: StudyResults) -> list[Section]:
    """Trajectories that ended early and why, if there are any."""
    rows = [
        {"trajectory": trajectory, "reason": reason}
        for trajectory, reason in broken(results.directory / "trajectories").items()
    ]
    return [Section("Trajectories that ended early and are left out", rows=rows)] if rows else []
