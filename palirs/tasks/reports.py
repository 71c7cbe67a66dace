"""The task that draws the figures and writes the report of a study."""

import logging
import re
from collections.abc import Sequence
from urllib.parse import quote

from palirs.learning.completed import (
    complete_iterations,
    last_iteration,
    read_dataset,
    read_metrics,
    trained,
)
from palirs.learning.iterations import final_committee, final_dipole_files
from palirs.learning.quality.convergence import BEADS, STRONG_INTENSITY
from palirs.learning.quality.modes import frequencies_in_words
from palirs.mace.models.files import load_dipole_model
from palirs.molecules import read_frames
from palirs.pages import page
from palirs.pages import report as pages
from palirs.pages.comparison import write_summary
from palirs.results import StudyResults
from palirs.results.shifts import write_moved_spectra
from palirs.settings.md import kind_of_md
from palirs.spectra.similarity import in_words
from palirs.study.identity import growth
from palirs.study.references import rearrangements, reference_vibrations
from palirs.study.session import Session
from palirs.study.spectra import spectra_of
from palirs.study.task import task
from palirs.tasks.training import without_failed
from palirs.vibrations import Harmonic

log = logging.getLogger(__name__)


@task(reads_only=True, engine=False)
def analyse(session: Session) -> None:
    """Draw the figures and write the report from what the study directory holds."""
    report(session, reference_vibrations(session))


def report(session: Session, references: Sequence[Harmonic]) -> None:
    """Draw the figures and write the report from what the study directory holds."""
    settings, directory = session.settings, session.directory
    with session.journal.stage("report"):
        results = collect_results(session, references)
        if settings.spectrum.nuclei == "classical":
            write_moved_spectra(results)
        config = (directory / "config.yaml").read_text()
        chapters = pages.chapters(results, settings, session.journal, config)
        summary, caveats = _summary(session, results), pages.caveats(results, settings)
        title = f"Study {directory.name}"
        written = page.write(directory / "report.html", title, summary, caveats, chapters)
    bright = {STRONG_INTENSITY} & set(results.intensities)
    headline = {key: results.intensities[key] for key in bright} | pages.headline(results)
    write_summary(directory, headline)
    for molecule, compared in results.compared.items():
        if compared:
            session.tracker.metrics(compared)
            log.info("%s: %s", molecule, in_words(compared))
    lines = [*map(_in_markdown, summary), *_pictures(results)]
    session.tracker.describe("\n\n".join(lines))
    log.info("report: %s", written)


def collect_results(session: Session, references: Sequence[Harmonic]) -> StudyResults:
    """Read what the study directory holds; only energies of optima are asked of the label store."""
    settings, directory, names = session.settings, session.directory, session.names
    iterations = complete_iterations(directory)
    last = last_iteration(directory)
    dipoles = final_dipole_files(directory, settings.committee.dipoles)
    history = [read_metrics(iteration) for iteration in iterations]
    optima = session.labeller.calculate([reference.atoms for reference in references])
    return StudyResults(
        directory=directory,
        spectra=spectra_of(session, settings.temperature),
        history=history,
        first=read_dataset(iterations[0]),
        final=read_dataset(last),
        test=read_frames(last / "test.xyz"),
        optima=dict(zip(names, (properties.energy for properties in optima), strict=True)),
        references=dict(zip(names, references, strict=True)),
        rearranged=rearrangements(session.molecules, references),
        committee=final_committee(directory),
        dipole=load_dipole_model(dipoles) if all(file.exists() for file in dipoles) else None,
        goals=(settings.learning.harmonic_mae, settings.learning.forces_mae),
        conformers=settings.spectrum.conformers,
        explored=kind_of_md(history[-1].get(BEADS)),
    )


def _pictures(results: StudyResults) -> list[str]:
    """Return spectra and similarities for the description of the run, and where to find more."""
    lines, store = [], results.spectra
    for molecule in store.molecules[:3]:
        stem = f"{molecule}-{store.temperature:g}K"
        if results.figure(stem).exists():
            name, compared = _in_markdown(molecule), in_words(results.compared[molecule])
            picture = f"get-artifact?path=figures/{quote(stem)}.png&run_uuid={{run}}"
            lines.append(f"{name}: {compared or 'nothing to compare with'}")
            lines.append(f"![Spectrum of {name}]({picture})")
    return [*lines, "Artifacts: `report.html`, interactive spectra in `spectra/`, `config.yaml`."]


def _in_markdown(name: str) -> str:
    """Return a name whose characters mean nothing to Markdown."""
    return re.sub(r"[\\`*_{}\[\]()#+!|<>~]", r"\\\g<0>", name)


def _summary(session: Session, results: StudyResults) -> list[str]:
    """Return the sentences at the top of the report."""
    settings, history = session.settings, results.history
    molecules = ", ".join(session.names[:6]) + (" and others" if len(session.names) > 6 else "")
    count = trained(history)
    last, trainings = history[-1], f"{count} training{'s' if count > 1 else ''}"
    return [
        *(
            f"{name} relaxes to another molecule: {change}."
            for name, change in results.rearranged.items()
        ),
        f"{molecules}: reference {settings.engine.name}, committee of {settings.committee.size}, "
        f"{last['dataset.size']:.0f} labelled structures after {trainings}; "
        f"{frequencies_in_words(last)}"
        f"{without_failed(last.get('harmonic.failed', 0))}.",
        *(f"Later came {added}." for added in growth(session.directory)),
    ]
