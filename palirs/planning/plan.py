"""What a study will do and cost, in words, before anything is computed."""

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from palirs import keys
from palirs.planning import rates
from palirs.planning.work import Work, work
from palirs.provenance import processor
from palirs.settings import Spectroscopy, StudySettings
from palirs.spectra import read_spectrum
from palirs.units import duration

SURE_BANDS = 0.05
"""Relative standard error of strong bands that a spectrum should reach."""


def plan(study: StudySettings, molecules: Sequence[Atoms], directory: Path) -> list[str]:
    """Return the lines that ``task=check`` prints."""
    names = ", ".join(atoms.info[keys.MOLECULE] for atoms in molecules)
    selector, repeats = study.selector, study.learning.iterations - 1
    later = f"{selector.frames} per {selector.per} × {repeats} iterations"
    stages = work(study, molecules)
    more = sum(work.labels * work.again for work in stages if work.stage == "more labels")
    lines = [
        ("study directory", str(directory)),
        ("molecules", f"{len(molecules)}: {names}"),
        ("reference engine", f"{study.engine.name}: {study.engine.identity}"),
        (
            "committee",
            f"{study.committee.size} × {study.model.potential.channels} channels, cutoff "
            f"{study.model.potential.cutoff:g} Å",
        ),
        ("labels, afterwards", f"at most {more} ({later})"),
        (
            "temperatures",
            f"{', '.join(f'{one:g}' for one in study.sampler.temperatures)} K explored"
            f"{study.sampler.in_rings}, spectra at {study.temperature:g} K",
        ),
    ]
    for name, path in study.spectrum.experiments(
        [atoms.info[keys.MOLECULE] for atoms in molecules]
    ).items():
        spectrum = read_spectrum(path)
        lines.append(("experiment", f"{name}: {path}, {spectrum.read_as}"))
        if spectrum.doubt:
            lines.append(("", spectrum.doubt))
    lines.append(("spectrum", _resolution(study.spectrum)))
    if study.learning.budget is not None:
        lines.append(("labels, in all", f"no more than learning.budget={study.learning.budget}"))
    cheap = study.pretraining
    if cheap.engine is not None:
        text = (
            f"{cheap.engine.name}, {cheap.iterations} × {cheap.frames} structures of each molecule"
        )
        lines.insert(4, ("pretraining", text))
    return [*(f"{name:20s} {text}" for name, text in lines), "", *table(stages)]


def _resolution(spectrum: Spectroscopy) -> str:
    """Return line width and error of strong bands in words, and what MD would make it 5 %."""
    md, error = spectrum.production, spectrum.expected_error
    time = md.replicas * md.length
    text = f"{time:g} ps of MD by the committee"
    if spectrum.method != "physical":
        return f"{text}, by SchNetPack's recipe"
    text = f"lines {spectrum.line_width:.0f} cm⁻¹ wide, {text}"
    if spectrum.ring_beads:
        return f"{text}; the thermostats of its ring polymers make stretches some 100 cm⁻¹ wider"
    if not error < 1:
        return text
    text += f": strong bands sure to about {100 * error:.0f} %"
    wanted = time * (error / SURE_BANDS) ** 2
    return text if error < 1.2 * SURE_BANDS else f"{text} (5 % want about {wanted:.0f} ps)"


def table(stages: Sequence[Work]) -> list[str]:
    """Return the stages as a table of work, labels, time, memory and disk, and their sums."""
    rows = [("stage", "work", "labels", "time", "memory", "disk")]
    for one in stages:
        repeated = f"{one.again} × " if one.again > 1 else ""
        seconds, memory = (
            seconds_of(one),
            rates.nearest("memory", f"{one.kind} {one.what}", _size(one)),
        )
        rows.append(
            (
                one.stage,
                f"{repeated}{one.amount}",
                f"{repeated}{one.labels}" if one.labels else "",
                "not known" if seconds is None else f"{repeated}{duration(seconds)}",
                "" if memory is None else f"{memory / 1024:.1f} GiB",
                bytes_of(one.disk),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [*lines, "", *_together(stages)]


def _together(stages: Sequence[Work]) -> list[str]:
    """Return what the study takes, if the first training suffices and if all iterations run."""
    known = [seconds_of(one) or (0.0 if one.kind == "report" else None) for one in stages]
    counts = (
        [0 if one.stage.startswith("more") else 1 for one in stages],
        [one.again for one in stages],
    )
    labels = [
        sum(one.labels * count for one, count in zip(stages, times, strict=True))
        for times in counts
    ]
    said = [
        f"{'altogether':20s} {labels[0]} labels if the first training is good enough, {labels[1]} "
        "if every iteration is used"
    ]
    if None not in known:
        times = [
            duration(
                sum((seconds or 0.0) * count for seconds, count in zip(known, each, strict=True))
            )
            for each in counts
        ]
        said.append(f"{'':20s} {times[0]} to {times[1]}, as fast as earlier work on {processor()}")
    elif not all(one.workers for one in stages):
        said.append(f"{'':20s} how fast Slurm jobs are is not known on this machine")
    else:
        said.append(
            f"{'':20s} times that are not known have not been measured on this machine: task=check "
            "measure=true does, in half a minute to "
            "two, and every study that runs"
        )
    return said


def seconds_of(stage: Work) -> float | None:
    """Return how long a stage takes once [s]; ``None`` if no rate is known."""
    total = 0.0
    for atoms, count in stage.units.items():
        rate = rates.estimate(stage.kind, stage.what, atoms)
        if rate is None or not stage.workers:
            return None
        total += rate * count
    return total / stage.workers


def _size(stage: Work) -> float:
    units = stage.units
    return sum(atoms * count for atoms, count in units.items()) / sum(units.values())


def bytes_of(disk: float) -> str:
    """Return a size in B, kB, MB or GB; an empty text for zero."""
    for limit, unit, name in ((1e3, 1, "B"), (1e6, 1e3, "kB"), (1e9, 1e6, "MB")):
        if disk < limit:
            return f"{disk / unit:.0f} {name}" if disk else ""
    return f"{disk / 1e9:.1f} GB"
