"""Tasks that run MD with the committee or the reference engine, and make spectra of it."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from palirs import keys
from palirs.engines import EngineFailure
from palirs.executors import WorkerLost
from palirs.planning import rates
from palirs.planning.measuring import LONG, note_md, size
from palirs.planning.work import rate_names, workers
from palirs.production import (
    ConformerEnsemble,
    Production,
    Run,
    check_enough,
    duration,
    seconds_per_step,
)
from palirs.recipes import PalirsError
from palirs.settings import Spectroscopy
from palirs.spectra.bands import band_error
from palirs.spectra.files import read_csv
from palirs.spectra.lags import line_width
from palirs.spectra.similarity import in_words
from palirs.study import Session
from palirs.units import SPEED_OF_LIGHT
from palirs.vibrations import Harmonic

log = logging.getLogger(__name__)


def spectra(session: Session) -> None:
    """Run production MD with the committee, make spectra, and compare them with what there is."""
    settings = session.study.spectrum
    check_dipole_models(session)
    _warn_of_temperature(session)
    md = production(session, "predicted")
    with timed(session, "production") as done:
        starts = _starts(session)
        before = md.steps_left(starts)
        runs = md.run(starts, session.movers)
    if settings.production.until is None:
        note_md(session.study, session.molecules, done, before)
    _log_line_width(settings)
    _remake_references(session)
    predicted = md.write_spectra(runs, session.spectra)
    _log_broken(session, runs, "")
    for run in runs:
        if run.molecule in predicted:
            error = band_error(predicted[run.molecule], settings.window)
            _log_spectrum(session, run, error)
    check_enough(runs, settings.complete)


def aimd(session: Session) -> None:
    """Run the reference engine's own MD with the same integrator, and make its spectra."""
    settings, engine = session.study.spectrum, session.study.engine
    if not engine.gives_dipole:
        raise PalirsError(
            f"{engine.name} declares no dipole (engine.properties); its MD would give no spectrum"
        )
    if settings.reference is None:
        raise PalirsError(
            "spectrum.reference is null; give it replicas, thermalisation and length to run "
            "task=aimd"
        )
    md = production(session, "reference")
    _log_cost(session, md)
    with timed(session, "reference_md") as done:
        starts = _starts(session)
        before = md.steps_left(starts)
        runs = md.run(starts, session.movers)
    if before and done["seconds"] >= LONG:
        trajectories = settings.reference.replicas * len(session.molecules)
        if count := min(workers(session.study.executor.md), trajectories):
            per_step = done["seconds"] * count / before
            names = rate_names(session.study)
            rates.note("label", names["label"], size(session.molecules), per_step)
    md.write_spectra(runs, session.spectra)
    _log_broken(session, runs, "reference_")
    for run in runs:
        if run.enough(settings.complete):
            session.tracker.metrics(_md_metrics(run, "reference_"))
    check_enough(runs, settings.complete)


def check_dipole_models(session: Session) -> None:
    """Raise :class:`PalirsError` unless the last iteration has its dipole models."""
    last = session.last_iteration
    if not all(file.exists() for file in session.dipole_files):
        raise PalirsError(
            f"{session.directory}: no dipole model for iteration {last.name}; run task=dipole first"
        )


def production(session: Session, kind: str, directory: Path | None = None) -> Production:
    """Return the MD by the last committee, ``predicted``, or by the engine, ``reference``.

    Its trajectories are in the study directory unless another one is given.
    """
    s = session.study
    if kind == "reference":
        source, model, label, md = s.engine, kind, f"{s.engine.name} MD", s.spectrum.reference
        assert md is not None
    else:
        source, model = (session.last_iteration, session.dipole_files), session.last_iteration.name
        label, md = "palirs", s.spectrum.production
    return Production(
        source=source,
        kind=kind,
        model=model,
        label=label,
        md=md,
        settings=s.spectrum,
        temperature=s.temperature,
        seed=s.seed,
        directory=(directory or session.directory) / "trajectories",
        evaluation=s.evaluation,
    )


def _warn_of_temperature(session: Session) -> None:
    s = session.study
    explored = max(s.sampler.temperatures)
    if s.temperature > explored and s.learning.iterations > 1:
        log.warning(
            "production at %g K is hotter than the exploration (%g K at most): what happens only "
            "there was never learnt, and the committee may not know it; "
            "sampler.temperatures=[…, %g] task=active_learning lets the study learn it first",
            s.temperature,
            explored,
            s.temperature,
        )


def _remake_references(session: Session) -> None:
    """Remake reference spectra that were made with other settings, where their MD is complete."""
    settings, store = session.study.spectrum, session.spectra
    files = [store.file(molecule, "reference") for molecule in store.molecules]
    outdated = any(file.exists() and read_csv(file).made != settings.made for file in files)
    if settings.reference is None or not outdated:
        return
    md = production(session, "reference")
    starts = _starts(session)
    if md.steps_left(starts) == 0:
        runs = md.run(starts, session.movers)
        md.write_spectra(runs, store)
        _log_broken(session, runs, "reference_")


def _starts(session: Session) -> Sequence[Harmonic | ConformerEnsemble]:
    """Return where trajectories start; log the populations of conformers."""
    starts = session.starts(session.references)
    for start in starts:
        if isinstance(start, ConformerEnsemble):
            log.info(
                "%s: %s of the molecules at %g K are in its conformers",
                start.atoms.info[keys.MOLECULE],
                ", ".join(f"{share:.1%}" for share in start.populations),
                session.study.temperature,
            )
    return starts


def _log_line_width(settings: Spectroscopy) -> None:
    """Log the line width, and what of it is due to the window and the friction."""
    if settings.method != "physical":
        return
    friction = settings.friction if settings.thermostat == "langevin" else 0.0
    log.info(
        "a sharp line is %.0f cm⁻¹ wide: %.0f by %s over %g fs, %.1f by the friction; rotation and "
        "anharmonicity come on top",
        settings.line_width,
        line_width(settings.max_lag, settings.lag_window),
        settings.lag_window if settings.lag_window != "none" else "no window",
        settings.max_lag,
        friction / (2e3 * np.pi * SPEED_OF_LIGHT),
    )


def _log_cost(session: Session, md: Production) -> None:
    """Log how long the engine's own MD will take, measured on a few of its steps."""
    optima = session.optima
    steps = md.steps_left(session.starts(session.references))
    if not steps:
        return
    count = min(getattr(session.movers, "workers", 1), len(optima) * md.md.replicas)
    try:
        seconds = seconds_per_step(session.study.engine, optima, session.movers) * steps / count
        cost = f"about {duration(seconds)}"
    except (EngineFailure, WorkerLost, TimeoutError) as error:  # which the MD itself survives
        cost = f"how long is not known ({error})"
    log.info(
        "reference MD: %d steps of the engine, %s; spectrum.reference=null leaves it out",
        steps,
        cost,
    )


def _log_broken(session: Session, runs: Sequence[Run], prefix: str) -> None:
    for run in runs:
        session.tracker.metrics(
            {f"md.{run.molecule}.{prefix}ended_early": sum(map(bool, run.broken))}
        )


def _log_spectrum(session: Session, run: Run, error: float) -> None:
    """Log band error, MD and similarity of a predicted spectrum."""
    name = run.molecule
    session.tracker.metrics(
        {
            f"md.{name}.force_std_max_eV_per_A": float(run.spread.max()),
            f"spectrum.{name}.band_error": error,
        }
    )
    compared = session.spectra.compare(name)
    session.tracker.metrics({**_md_metrics(run, ""), **compared})
    log.info(
        "%s: standard error of the bands %s, %s",
        name,
        f"{100 * error:.1f} %" if np.isfinite(error) else "not known (too little MD)",
        in_words(compared) or "nothing to compare with",
    )


def _md_metrics(run: Run, prefix: str) -> dict[str, float]:
    return {
        f"md.{run.molecule}.{prefix}temperature_K": float(run.temperature.mean()),
        f"md.{run.molecule}.{prefix}drift_meV_per_ps": float(np.abs(run.drift).max() * 1e3),
    }


@contextmanager
def timed(session: Session, stage: str) -> Iterator[dict[str, float]]:
    """Log and record how long a stage of the study takes; yields a dictionary for its counts."""
    with session.journal.stage(stage) as done:
        yield done
    session.tracker.metrics({f"time.{stage}_s": done["seconds"]})
