"""Production and what is made of it: MD by the committee and by the reference engine, and spectra."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from palirs import keys
from palirs.engines import EngineFailure
from palirs.executors import WorkerLost
from palirs.production import (
    Run,
    Source,
    Starts,
    check_enough,
    densities_of,
    duration,
    jobs_of,
    seconds_per_step,
    simulate,
    spectrum_of,
    steps_left,
)
from palirs.recipes import PalirsError
from palirs.report.comparison import band_error, in_words
from palirs.settings import MD, Spectroscopy
from palirs.spectra import Spectrum
from palirs.spectra.files import read_csv
from palirs.spectra.lags import line_width
from palirs.study import Session
from palirs.units import SPEED_OF_LIGHT

log = logging.getLogger(__name__)


def spectra(session: Session) -> None:
    """Run production MD with the committee, compute spectra, compare with reference and experiment if they are there."""
    last, settings = session.last_iteration, session.study.spectrum
    if not all(file.exists() for file in session.dipole_files):
        raise PalirsError(
            f"{session.directory}: no dipole model for iteration {last.name}; run task=dipole first"
        )
    explored = max(session.study.sampler.temperatures)
    if session.study.temperature > explored and session.study.learning.iterations > 1:
        log.warning(
            "production at %g K is hotter than the exploration (%g K at most): what happens only there was never learnt, and the committee "
            "may not know it; sampler.temperatures=[…, %g] task=active_learning lets the study learn it first",
            *(session.study.temperature, explored, session.study.temperature),
        )
    with timed(session, "production") as done:
        source = (last, session.dipole_files)
        done["steps"] = _steps_left(session, source, settings.production, last.name)
        runs = _trajectories(session, source, settings.production, last.name)
    _tell_width(settings)
    _reference_anew(session)
    for run in _enough(session, runs, "predicted"):
        name, spectrum = run.molecule, _spectrum(session, run, "predicted", "palirs")
        error = band_error(spectrum, settings.window)
        session.tracker.metrics(
            {
                f"md.{name}.force_std_max_eV_per_A": float(run.spread.max()),
                f"spectrum.{name}.band_error": error,
            }
        )
        session.tracker.metrics(
            {**_md_metrics(run, ""), **(compared := session.shelf.compare(name))}
        )
        known = f"{100 * error:.1f} %" if np.isfinite(error) else "not known (too little MD)"
        log.info(
            "%s: standard error of the bands %s, %s",
            name,
            known,
            in_words(compared) or "nothing to compare with",
        )
    check_enough(runs, settings.complete)


def aimd(session: Session) -> None:
    """Run the reference engine's own MD with the same integrator and compute its spectra."""
    settings, engine = session.study.spectrum, session.study.engine
    if not engine.gives_dipole:
        raise PalirsError(
            f"{engine.name} declares no dipole (engine.properties); its MD would give no spectrum"
        )
    if settings.reference is None:
        raise PalirsError(
            "spectrum.reference is null; give it replicas, thermalisation and length to run task=aimd"
        )
    _announce(session, settings.reference)
    with timed(session, "reference_md") as done:
        done["steps"] = _steps_left(session, engine, settings.reference, "reference")
        runs = _trajectories(session, engine, settings.reference, "reference")
    for run in _enough(session, runs, "reference"):
        _spectrum(session, run, "reference", f"{engine.name} MD")
        session.tracker.metrics(_md_metrics(run, "reference_"))
    check_enough(runs, settings.complete)


def _reference_anew(session: Session) -> None:
    """Make spectra of the engine's MD anew that were made in another way, where its dipoles are there: both of a pair are of one kind."""
    settings, engine, shelf = session.study.spectrum, session.study.engine, session.shelf
    md = settings.reference
    old = [
        file
        for name in shelf.molecules
        if (file := shelf.file(name, "reference")).exists() and read_csv(file).made != settings.made
    ]
    if md is None or not old:
        return
    if _steps_left(session, engine, md, "reference") == 0:
        for run in _enough(session, _trajectories(session, engine, md, "reference"), "reference"):
            _spectrum(session, run, "reference", f"{engine.name} MD")


def _tell_width(settings: Spectroscopy) -> None:
    """Say what makes the lines as wide as they are."""
    if settings.method == "physical":
        window = line_width(settings.max_lag, settings.lag_window)
        log.info(
            "a sharp line is %.0f cm⁻¹ wide: %.0f by %s over %g fs, %.1f by the friction; rotation and anharmonicity come on top",
            *(
                settings.line_width,
                window,
                settings.lag_window if settings.lag_window != "none" else "no window",
                settings.max_lag,
            ),
            settings.friction / (2e3 * np.pi * SPEED_OF_LIGHT)
            if settings.thermostat == "langevin"
            else 0.0,
        )


def _announce(session: Session, md: MD) -> None:
    """Say how long the engine's own MD will take, from a few of its steps."""
    s, optima = session.study, session.optima
    if steps := _steps_left(session, s.engine, md, "reference"):
        workers = min(getattr(session.md_executor, "workers", 1), len(optima) * md.replicas)
        try:
            how_long = f"about {duration(seconds_per_step(s.engine, optima, session.md_executor) * steps / workers)}"
        except (EngineFailure, WorkerLost, TimeoutError) as error:  # which the MD itself survives
            how_long = f"how long is not known ({error})"
        log.info(
            "reference MD: %d steps of the engine, %s; spectrum.reference=null leaves it out",
            steps,
            how_long,
        )


def _steps_left(session: Session, source: Source, md: MD, kind: str) -> int:
    """Return how many steps the trajectories have before them."""
    s, starts, place = (
        session.study,
        session.starts(session.references),
        session.directory / "trajectories",
    )
    return steps_left(
        jobs_of(source, starts, md, s.spectrum, s.temperature, s.seed, place, kind), md, s.spectrum
    )


def _trajectories(session: Session, source: Source, md: MD, kind: str) -> list[Run]:
    """Run the trajectories, or what is missing of them; longer and longer ones of molecules whose bands are not sure enough."""
    s, place = session.study, session.directory / "trajectories"
    found: dict[str, Run] = {}
    starts = session.starts(session.references)
    for one in starts:
        if isinstance(one, Starts):
            told = ", ".join(f"{share:.1%}" for share in one.populations)
            log.info(
                "%s: %s of the molecules at %g K are in its conformers",
                one.atoms.info[keys.MOLECULE],
                told,
                s.temperature,
            )
    waiting, length = list(starts), md.length
    while waiting:
        now = replace(md, length=length)
        runs = simulate(
            source,
            waiting,
            now,
            s.spectrum,
            s.temperature,
            s.seed,
            session.md_executor,
            place,
            kind,
            s.evaluation,
        )
        found |= {run.molecule: run for run in runs}
        if md.until is None:
            break
        unsure = {
            run.molecule: error
            for run in runs
            if run.enough(s.spectrum.complete) and not (error := _error(session, run)) < md.until
        }
        waiting = [known for known in waiting if known.atoms.info[keys.MOLECULE] in unsure]
        told = ", ".join(f"{name} {error:.1%}" for name, error in unsure.items())
        if unsure and length >= md.longest:
            log.warning(
                "after %g ps the bands are not sure to %.1f %%: %s; raise longest to go on",
                length,
                100 * md.until,
                told,
            )
            break
        if unsure:
            length = min(
                md.longest,
                length * float(np.clip((max(unsure.values()) / md.until) ** 2, 1.25, 2.0)),
            )
            log.info(
                "bands not sure to %.1f %% yet: %s; going on to %.3g ps",
                100 * md.until,
                told,
                length,
            )
    return [found[known.atoms.info[keys.MOLECULE]] for known in starts]


def _error(session: Session, run: Run) -> float:
    s = session.study
    return band_error(
        spectrum_of(run.dipoles, s.spectrum, s.temperature, run.molecule, run.strata),
        s.spectrum.window,
    )


def _enough(session: Session, runs: list[Run], kind: str) -> list[Run]:
    """Return the molecules of which enough trajectories ended well; those of the others have no spectrum, an older one neither."""
    prefix = "reference_" if kind == "reference" else ""
    for run in runs:
        session.tracker.metrics(
            {f"md.{run.molecule}.{prefix}ended_early": sum(map(bool, run.broken))}
        )
        if not run.enough(session.study.spectrum.complete):
            session.shelf.remove(run.molecule, kind)
    return [run for run in runs if run.enough(session.study.spectrum.complete)]


def _spectrum(session: Session, run: Run, kind: str, who: str) -> Spectrum:
    """Compute and write the spectrum of a molecule."""
    temperature, settings = session.study.temperature, session.study.spectrum
    length = run.dipoles.shape[1] * settings.stride * settings.timestep * 1e-3
    label = f"{who}, {temperature:g} K, {len(run.dipoles)} × {length:.3g} ps"
    if settings.conformers is not None:
        label += (
            ", conformers by Boltzmann weights"
            if settings.conformers == "boltzmann"
            else ", from conformers"
        )
    spectrum = spectrum_of(run.dipoles, session.study.spectrum, temperature, label, run.strata)
    session.shelf.put(run.molecule, kind, spectrum, densities_of(run.rates, session.study.spectrum))
    return spectrum


def _md_metrics(run: Run, prefix: str) -> dict[str, float]:
    return {
        f"md.{run.molecule}.{prefix}temperature_K": float(run.temperature.mean()),
        f"md.{run.molecule}.{prefix}drift_meV_per_ps": float(np.abs(run.drift).max() * 1e3),
    }


@contextmanager
def timed(session: Session, stage: str) -> Iterator[dict[str, float]]:
    """Log how long a stage of the study takes, and write it down; gives a dictionary for what was done."""
    with session.journal.stage(stage) as done:
        yield done
    session.tracker.metrics({f"time.{stage}_s": done["seconds"]})
