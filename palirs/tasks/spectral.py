"""Tasks that run MD with the committee or the reference engine, and make spectra of it."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from palirs import keys
from palirs.engines import EngineFailure
from palirs.executors import WorkerLost
from palirs.learning.completed import last_iteration, read_metrics
from palirs.learning.iterations import final_dipole_files
from palirs.learning.quality.convergence import BEADS
from palirs.production import (
    ConformerEnsemble,
    Production,
    Run,
    check_enough,
    seconds_per_step,
)
from palirs.recipes import PalirsError
from palirs.settings import Spectroscopy, StudySettings
from palirs.spectra.bands import band_error
from palirs.spectra.files import read_csv
from palirs.spectra.lags import line_width, width_of_friction
from palirs.spectra.similarity import in_words
from palirs.spectra.store import SpectrumStore
from palirs.study.conformers import starts
from palirs.study.references import reference_vibrations
from palirs.study.session import Session
from palirs.study.spectra import spectra_of
from palirs.study.task import task
from palirs.units import BOLTZMANN, duration
from palirs.vibrations import Harmonic

log = logging.getLogger(__name__)

ENOUGH = 0.9
"""Share of the fastest vibration's kinetic energy with which ring polymers are taken as fine."""


@task()
def spectra(session: Session) -> None:
    """Run production MD with the committee, make spectra, and compare them with what there is."""
    md = production(session, "predicted", session.settings.temperature)
    references = reference_vibrations(session)
    trajectories = produce(session, md, references)
    write_spectra(session, md, trajectories, references)


@task()
def aimd(session: Session) -> None:
    """Run the reference engine's own MD with the same integrator, and make its spectra."""
    engine = session.settings.engine
    if not engine.gives_dipole:
        raise PalirsError(
            f"{engine.name} declares no dipole (engine.properties); its MD would give no spectrum"
        )
    if session.settings.spectrum.reference is None:
        raise PalirsError(
            "spectrum.reference is null; give it replicas, thermalisation and length to run "
            "task=aimd"
        )
    md = production(session, "reference", session.settings.temperature)
    references = reference_vibrations(session)
    trajectories = produce(session, md, references)
    write_spectra(session, md, trajectories, references)


def production(
    session: Session, kind: str, temperature: float, directory: Path | None = None
) -> Production:
    """Return the MD by the last committee, ``predicted``, or by the engine, ``reference``.

    Its trajectories are in the study directory unless another one is given.
    """
    s = session.settings
    if kind == "reference":
        source, model, label, md = s.engine, kind, f"{s.engine.name} MD", s.spectrum.reference
        assert md is not None
    else:
        last = last_iteration(session.directory)
        dipoles = final_dipole_files(session.directory, s.committee.dipoles)
        if not all(file.exists() for file in dipoles):
            raise PalirsError(
                f"{session.directory}: no dipole model for iteration {last.name}; run task=dipole "
                "first"
            )
        source, model, label, md = (last, dipoles), last.name, "palirs", s.spectrum.production
    return Production(
        source=source,
        kind=kind,
        model=model,
        label=label,
        md=md,
        settings=s.spectrum,
        temperature=temperature,
        seed=s.seed,
        directory=(directory or session.directory) / "trajectories",
        evaluation=s.evaluation,
    )


def produce(session: Session, md: Production, references: Sequence[Harmonic]) -> list[Run]:
    """Run what is missing of the trajectories of the molecules."""
    by_engine = md.kind == "reference"
    starting = starts(session, references, md.temperature)
    _log_populations(starting, md.temperature)
    if by_engine:
        if md.settings.ring_beads:
            log.info(
                "the engine's own MD is classical: spectrum.nuclei=ring_polymer is for the MD by "
                "the committee, whose forces cost little"
            )
        _log_cost(session, md, starting)
    else:
        _warn_of_temperature(session, md.temperature)
        _warn_of_beads(md, references)
        last = read_metrics(last_iteration(session.directory))
        _warn_of_exploration(session.settings, md, last.get(BEADS))
    stage = "reference_md" if by_engine else "production"
    with session.journal.stage(stage) as done:
        done["steps"] = md.steps_left(starting) * (md.beads or 1)
        runs = md.run(starting, session.md_executor)
    _track(session, md, {f"time.{stage}_s": done["seconds"]})
    return runs


def write_spectra(
    session: Session,
    md: Production,
    trajectories: list[Run],
    references: Sequence[Harmonic],
) -> None:
    """Write the spectra of trajectories, compare them with the others, and log how good they are.

    Raises
    ------
    PalirsError
        If too few trajectories of a molecule ended well, after the spectra of the others.
    """
    settings, by_engine = session.settings.spectrum, md.kind == "reference"
    store = spectra_of(session, md.temperature)
    if not by_engine:
        _log_line_width(settings)
        _remake_references(session, store, references)
    written = md.write_spectra(trajectories, store)
    prefix = "reference_" if by_engine else ""
    for run in trajectories:
        _track(session, md, _md_metrics(run, prefix, settings.complete))
        _log_kinetic_energy(run)
        if run.molecule in written and not by_engine:
            error = band_error(written[run.molecule], settings.window)
            compared = store.compare(run.molecule)
            errors = {f"spectrum.{run.molecule}.band_error": error}
            _track(session, md, errors | compared)
            log.info(
                "%s: standard error of the bands %s, %s",
                run.molecule,
                f"{100 * error:.1f} %" if np.isfinite(error) else "not known (too little MD)",
                in_words(compared) or "nothing to compare with",
            )
    check_enough(trajectories, settings.complete)


def _remake_references(
    session: Session, store: SpectrumStore, references: Sequence[Harmonic]
) -> None:
    """Make outdated reference spectra again, where their trajectories are complete."""
    settings = session.settings.spectrum
    files = [store.file(molecule, "reference") for molecule in store.molecules]
    outdated = any(file.exists() and read_csv(file).made != settings.made for file in files)
    if settings.reference is None or not outdated:
        return
    md = production(session, "reference", store.temperature)
    starting = starts(session, references, store.temperature)
    if md.steps_left(starting) == 0:
        md.write_spectra(md.run(starting, session.md_executor), store)


def _warn_of_temperature(session: Session, temperature: float) -> None:
    s = session.settings
    explored = max(s.sampler.temperatures)
    if temperature > explored and s.learning.iterations > 1:
        log.warning(
            "production at %g K is hotter than the exploration (%g K at most): what happens only "
            "there was never learnt, and the committee may not know it; "
            "sampler.temperatures=[…, %g] task=active_learning lets the study learn it first",
            temperature,
            explored,
            temperature,
        )


def _warn_of_beads(md: Production, references: Sequence[Harmonic]) -> None:
    """Warn where ring polymers are too coarse for the fastest vibration."""
    fastest = max(float(reference.frequencies.max()) for reference in references)
    share = md.kinetic_share(fastest)
    if share is not None and share < ENOUGH:
        log.warning(
            "%d beads have %.0f %% of the kinetic energy of a quantum oscillator of %.0f cm⁻¹ at "
            "%g K; more spectrum.beads have more of it",
            md.beads,
            100 * share,
            fastest,
            md.temperature,
        )


def _warn_of_exploration(study: StudySettings, md: Production, explored: float | None) -> None:
    """Warn where ring polymers go beyond an exploration that was classical, without beads."""
    if md.beads and explored is None and study.learning.iterations > 1:
        log.warning(
            "exploration was classical and beads go beyond it, where the committee may not know "
            "the forces; sampler.nuclei=ring_polymer task=active_learning lets the study learn "
            "them first"
        )


def _log_populations(starting: Sequence[Harmonic | ConformerEnsemble], temperature: float) -> None:
    for start in starting:
        if isinstance(start, ConformerEnsemble):
            log.info(
                "%s: %s of the molecules at %g K are in its conformers",
                start.atoms.info[keys.MOLECULE],
                ", ".join(f"{share:.1%}" for share in start.populations),
                temperature,
            )


def _log_line_width(settings: Spectroscopy) -> None:
    """Log the line width, and what of it is due to the window and the friction."""
    if settings.method != "physical":
        return
    log.info(
        "a sharp line is %.0f cm⁻¹ wide: %.0f by %s over %g fs, %.1f by the friction; rotation and "
        "anharmonicity come on top%s",
        settings.line_width,
        line_width(settings.depth, settings.lag_window),
        settings.lag_window if settings.lag_window != "none" else "no window",
        settings.depth,
        width_of_friction(settings.damping_of_lines),
        ", and the thermostats of the ring polymers" if settings.ring_beads else "",
    )


def _log_kinetic_energy(run: Run) -> None:
    """Log the kinetic energy of ring polymers, and what it would be if nuclei were classical."""
    if run.kinetic is None:
        return
    freedom = 1.5 * (run.atoms - 1)
    log.info(
        "%s: kinetic energy of the nuclei %.4f eV (centroid virial estimator, mean of %d "
        "trajectories); classical ones would have %.4f eV",
        run.molecule,
        run.kinetic.mean(),
        len(run.kinetic),
        freedom * BOLTZMANN * run.temperature.mean(),
    )


def _log_cost(
    session: Session, md: Production, starting: Sequence[Harmonic | ConformerEnsemble]
) -> None:
    """Log how long the engine's own MD will take, measured on a few of its steps."""
    steps, optima = md.steps_left(starting), [start.atoms for start in starting]
    if not steps:
        return
    executor = session.md_executor
    count = min(getattr(executor, "workers", 1), len(optima) * md.md.replicas)
    try:
        seconds = seconds_per_step(session.settings.engine, optima, executor) * steps / count
        cost = f"about {duration(seconds)}"
    except (EngineFailure, WorkerLost, TimeoutError) as error:  # which the MD itself survives
        cost = f"how long is not known ({error})"
    log.info(
        "reference MD: %d steps of the engine, %s; spectrum.reference=null leaves it out",
        steps,
        cost,
    )


def _md_metrics(run: Run, prefix: str, complete: float) -> dict[str, float]:
    """Return what is tracked of the trajectories of a molecule; less if too few ended well."""
    metrics = {"ended_early": float(sum(map(bool, run.broken)))}
    if run.enough(complete):
        metrics["temperature_K"] = float(run.temperature.mean())
        metrics["drift_meV_per_ps"] = float(np.abs(run.drift).max() * 1e3)
        if run.kinetic is not None:
            metrics["kinetic_energy_eV"] = float(run.kinetic.mean())
    metrics = {f"md.{run.molecule}.{prefix}{key}": value for key, value in metrics.items()}
    if run.enough(complete) and not prefix:
        metrics[f"md.{run.molecule}.force_std_max_eV_per_A"] = float(run.spread.max())
    return metrics


def _track(session: Session, md: Production, metrics: Mapping[str, float]) -> None:
    """Track metrics of MD and spectra if they are of the study's temperature."""
    if md.temperature == session.settings.temperature:
        session.tracker.metrics(metrics)
