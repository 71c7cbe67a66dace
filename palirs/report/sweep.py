"""A sweep as a whole: what each of its studies came to, in one table, one figure and one page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from palirs.report import figures, page
from palirs.report.sections import Section
from palirs.report.tables import write_table

SUMMARY = "summary.json"
COLUMNS = {
    "harmonic.mae_cm1": "harmonic MAE (cm⁻¹)",
    "forces.mae_meV_per_A": "forces MAE on test frames (meV/Å)",
    "exploration.force_error_meV_per_A": "forces, expected along MD (meV/Å)",
    "harmonic.intensity_relative": "intensities, relative error",
    "pcc_ml_ref": "spectrum and reference MD, PCC",
    "labels.used": "labels",
    "seconds": "time (s)",
}
"""What is told of each study, and its head in the table."""
DRAWN = ("harmonic.mae_cm1", "exploration.force_error_meV_per_A", "labels.used", "seconds")


def write_summary(place: Path, metrics: Mapping[str, float], compared: Sequence[Mapping[str, float]], seconds: float) -> None:
    """Write down what a study came to.

    Parameters
    ----------
    place : Path
        Study directory.
    metrics : mapping
        Of the last iteration.
    compared : sequence of mapping
        How alike the spectra of each molecule are, by :meth:`palirs.report.comparison.Shelf.compare`.
    seconds : float
        That this run took.
    """
    told = {key: metrics[key] for key in COLUMNS if key in metrics}
    alike = [value for one in compared for key, value in one.items() if key.endswith(".pcc_ml_ref")]
    before = json.loads((place / SUMMARY).read_text())["seconds"] if (place / SUMMARY).exists() else 0.0
    told |= {"seconds": before + seconds} | ({"pcc_ml_ref": float(np.mean(alike))} if alike else {})
    part = place / f"{SUMMARY}.part"
    part.write_text(json.dumps(told))
    part.replace(place / SUMMARY)


def summarise(base: Path, name: str, calculated: int) -> list[Path]:
    """Write table, figure and page of a sweep from the studies in its directory; return the files.

    Parameters
    ----------
    base : Path
        Directory of the studies.
    name : str
        Of the sweep.
    calculated : int
        Labels in the store that its studies share; 0 where they do not.
    """
    found = {file.parent.name: json.loads(file.read_text()) for file in sorted(base.glob(f"*/{SUMMARY}"), key=lambda file: _natural(file))}
    rows = [{"study": study, **{head: told[key] for key, head in COLUMNS.items() if key in told}} for study, told in found.items()]
    write_table(base / "sweep.csv", [{"study": study, **told} for study, told in found.items()])
    drawn = figures.save(_figure(found), base / "sweep.png")
    used = sum(told.get("labels.used", 0) for told in found.values())
    summary = [f"{len(found)} studies that differ in {name}."]
    if calculated:
        summary.append(
            f"They used {used:.0f} labels, of which {calculated} were calculated: the others were found in the store that they share."
        )
    sections = [Section("Studies", rows=rows), Section("Beside each other", drawn)]
    config = next(iter(sorted(base.glob("*/config.yaml"))), None)
    text = "" if config is None else f"# of {config.parent.name}\n{config.read_text()}"
    return [page.write(base / "sweep.html", f"Sweep over {name}", summary, sections, text), base / "sweep.csv", drawn]


def _natural(file: Path) -> tuple[tuple[bool, float, str], ...]:
    """Order numbers by size."""

    def part(text: str) -> tuple[bool, float, str]:
        try:
            return False, float(text), ""
        except ValueError:
            return True, 0.0, text

    return tuple(part(text.partition("=")[2]) for text in file.parent.name.split(","))


def _figure(found: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw a panel of bars for each number, a bar for each study."""
    keys = [key for key in DRAWN if any(key in told for told in found.values())]
    with plt.rc_context(figures.STYLE):
        drawn, axes = plt.subplots(
            1, len(keys), figsize=(2.0 + 3.0 * len(keys), 1.4 + 0.42 * len(found)), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, key in zip(axes[0], keys, strict=True):
            values = [told.get(key, np.nan) for told in found.values()]
            bars = axis.barh(range(len(found)), np.nan_to_num(values), color=figures.PREDICTED, alpha=0.75)
            axis.bar_label(bars, [f"{value:.4g}" for value in values], padding=3, fontsize=9)
            axis.set_xlabel(COLUMNS[key].replace(" (", "\n("))
            axis.margins(x=0.22)
            axis.xaxis.set_major_locator(MaxNLocator(4))
        axes[0, 0].set_yticks(range(len(found)), list(found))
        axes[0, 0].invert_yaxis()
    return drawn
