"""Tasks that publish the predictor of a study, predict spectra with one, and identify by them."""

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.engines import EngineFailure
from palirs.learning.completed import MEASURED, last_iteration, read_metrics
from palirs.learning.iterations import final_committee, final_dipole_files
from palirs.learning.quality.convergence import EXPECTED
from palirs.learning.quality.modes import frequencies_in_words
from palirs.mace.models.files import potential_files
from palirs.predictor import Prediction, Predictor, open_predictor
from palirs.predictor import predict as predict_spectrum
from palirs.predictor.bundle import write_predictor
from palirs.predictor.candidates import Candidate, by_members, by_vibrations, read_candidates
from palirs.predictor.identification import tell
from palirs.predictor.prediction import expected_error, settings_of
from palirs.production import folder_of
from palirs.production.spectra import comparison_of
from palirs.recipes import PalirsError, explained
from palirs.report import band_tables, figures, interactive, spectral_figures
from palirs.results.tables import write_table
from palirs.spectra import Spectrum
from palirs.spectra.files import write_csv
from palirs.spectra.identification.matching import LEAST_BROADENING, Matching, compared_range
from palirs.spectra.lags import line_width
from palirs.spectra.measured.baseline import measured
from palirs.spectra.similarity import Comparison
from palirs.spectra.store import SpectrumStore
from palirs.study.references import vibrations_by
from palirs.study.session import Session
from palirs.study.task import task
from palirs.vibrations import Harmonic

log = logging.getLogger(__name__)

KEPT = (
    "harmonic.mae_cm1",
    "harmonic.held_out_mae_cm1",
    "forces.mae_meV_per_A",
    MEASURED,
    "energy.mae_meV",
    "dataset.size",
    "labels.used",
    EXPECTED,
)
"""Metrics of the last iteration in the description of a predictor."""

OWN = ("production", "reference", "experiment", "conformers", "nuclei", "beads")
"""Settings of spectra that are the study's alone."""

MAKERS = ("md", "harmonic", "engine")
"""What makes the spectra of candidates that are molecules."""


def publish(session: Session, references: Sequence[Harmonic]) -> Predictor:
    """Write the predictor of a study to ``predictor/``."""
    s, last = session.settings, last_iteration(session.directory)
    metrics = read_metrics(last)
    calibration = metrics.get("committee.calibration", np.nan)
    committee, optima = final_committee(session.directory), [ref.atoms for ref in references]
    expected, elements = [], set[int]()
    for atoms in optima:
        molecule, beads = atoms.info[keys.MOLECULE], s.spectrum.ring_beads
        name = folder_of(molecule, s.temperature, last.name, beads)
        trajectories = session.directory / "trajectories" / name
        expected.append(expected_error(committee, atoms, trajectories, calibration))
        elements |= set(map(int, atoms.numbers))
    molecules = ", ".join(str(atoms.info[keys.MOLECULE]) for atoms in optima)
    description = (
        f"Infrared spectra at the level of {s.engine.name}, learnt from {molecules} with "
        f"{metrics.get('labels.used', np.nan):.0f} labels; {frequencies_in_words(metrics)}. "
        "Input: a column molecule with names, SMILES or xyz text."
    )
    about = {
        "study": session.directory.name,
        "description": description,
        "engine": s.engine.name,
        "engine_settings": s.engine.identity,
        "elements": sorted(elements),
        "temperatures": list(s.sampler.temperatures),
        "calibration": calibration if np.isfinite(calibration) else None,
        "expected_meV_per_A": float(1e3 * np.nanmean(expected))
        if np.isfinite(expected).any()
        else None,
        "forces_goal_meV_per_A": s.learning.forces_mae,
        "spectrum": {key: value for key, value in asdict(s.spectrum).items() if key not in OWN},
        **{key: metrics[key] for key in KEPT if key in metrics},
    }
    return write_predictor(
        session.directory / "predictor",
        potential_files(last),
        final_dipole_files(session.directory, s.committee.dipoles),
        optima,
        about,
    )


@task(lock=False, engine=False)
def predict(session: Session, model: str, length: float, replicas: int, output: str) -> None:
    """Predict the spectra of the molecules with a trained predictor.

    Parameters
    ----------
    session : Session
        Its molecules, temperature and seed; nothing is written to its directory.
    model : str
        A study, the directory of a predictor, or an MLflow model.
    length : float
        Of each trajectory [ps].
    replicas : int
        Trajectories.
    output : str
        Directory; each molecule gets one in it.
    """
    predictor, failed = open_predictor(model), []
    for atoms in session.molecules:
        started = time.monotonic()
        try:
            prediction = predict_spectrum(
                atoms,
                predictor,
                session.settings.temperature,
                length=length,
                replicas=replicas,
                seed=session.settings.seed,
            )
        except PalirsError as error:  # the other molecules may do
            failed.append(str(error))
            continue
        stem = _write(prediction, Path(output) / prediction.name)
        for row in band_tables.in_words(prediction.bands):
            print("  ".join(str(value) for value in row.values()))
        seconds = time.monotonic() - started
        log.info("%s: %s.html, .png, .csv after %.0f s", prediction.name, stem, seconds)
    if failed:
        raise PalirsError("\n".join(failed))


@task(lock=False)
def identify(
    session: Session,
    experiment: str,
    candidates: Sequence[str],
    by: str,
    model: str | None,
    length: float,
    replicas: int,
    scale: Sequence[float],
    resolution: float | None,
    exponent: float,
    least: float,
    output: str,
) -> None:
    """Rank candidates by the similarity of their spectra to a measured record.

    Parameters
    ----------
    session : Session
        Its temperature and seed, its settings of spectra where no model has its own, its engine
        with ``by=engine``; of its directory only the label store is written to, and only then.
    experiment : str
        File of the record.
    candidates : sequence of str
        Molecules as in ``molecules.names``, studies with spectra, files of spectra.
    by : {"md", "harmonic", "engine"}
        What makes the spectra of molecules.
    model : str or None
        As of :func:`predict`; ``None``: the study's own.
    length, replicas
        Of the MD, as of :func:`predict`.
    resolution : float or None
        Full width of a sharp line that is compared [cm⁻¹]; record and candidates are broadened to
        it where lines of computed spectra are narrower. ``None``: as they are.
    scale, exponent
        See :class:`palirs.spectra.identification.matching.Matching`.
    least : float
        Similarity below which no candidate fits.
    output : str
        Directory.
    """
    if by not in MAKERS:
        raise PalirsError(f"task.by = {by!r}: {', '.join(MAKERS[:-1])} or {MAKERS[-1]}")
    if not -1 <= least <= 1:
        raise PalirsError(f"task.least = {least:g}: a similarity lies between -1 and 1")
    if by == "engine" and model is not None:
        raise PalirsError(
            f"task.model = {model}: with task.by=engine no model makes a spectrum; leave it out, "
            "or task.by=md or harmonic"
        )
    predictor, comparison = None, comparison_of(session.settings.spectrum)
    matching = _matching(comparison, scale, resolution, exponent)
    listed, remarks = read_candidates(candidates, session.settings.temperature, matching)
    if any(one.molecule is not None for one in listed) and by != "engine":
        predictor = _model(session, model)
    if predictor is not None:  # whose spectra have lines of their own
        _, settings = settings_of(predictor, length, replicas)
        comparison = replace(
            comparison_of(settings),
            window=comparison.window,
            without_saturated=comparison.without_saturated,
        )
        matching = _matching(comparison, scale, resolution, exponent)
        listed, remarks = read_candidates(candidates, session.settings.temperature, matching)
    record = _record(experiment, comparison.window)
    there = {one.name: one.spectrum for one in listed if one.spectrum is not None}
    compared_range(matching.equal(record), there, matching)  # before anything is calculated
    for remark in remarks:
        log.info("task.candidates: %s", remark)
    names = ", ".join(one.name for one in listed if one.molecule is not None)
    if names and predictor is None and by != "engine":
        raise PalirsError(
            f"task.model: {names} need a model that makes their spectra; give model=<study or "
            "predictor>, or task.by=engine for harmonic vibrations by the engine "
            f"({session.settings.engine.name})"
        )
    maker: Callable[[Candidate], Candidate] = partial(_by_engine, session, comparison)
    if predictor is not None and by == "harmonic":
        maker = partial(by_members, predictor=predictor, comparison=comparison)
    elif predictor is not None:
        md = {"length": length, "replicas": replicas}
        maker = partial(_by_md, session, predictor, md, Path(output), comparison)
    made = [_made(one, maker) if one.molecule is not None else one for one in listed]
    tell(record, made, matching, least, Path(output))


def _model(session: Session, model: str | None) -> Predictor | None:
    """Return the predictor that is named, or that of the study if it has one."""
    if model is not None:
        return open_predictor(model)
    there = (session.directory / "predictor").is_dir()
    return open_predictor(session.directory) if there else None


def _matching(
    comparison: Comparison, scale: Sequence[float], resolution: float | None, exponent: float
) -> Matching:
    if len(scale) != 2:
        raise PalirsError(f"task.scale = {list(scale)}: two factors, as [0.92, 1.02]")
    if resolution is not None and not 1 <= resolution <= 500:
        raise PalirsError(f"task.resolution = {resolution:g}: between 1 and 500 cm⁻¹, or null")
    own = line_width(comparison.max_lag, comparison.lag_window, comparison.friction)
    missing = max(0.0, (resolution or 0.0) ** 2 - own**2) ** 0.5
    with explained("task"):
        return Matching(
            scale=tuple(scale),  # pyright: ignore[reportArgumentType]
            broadening=missing if missing >= LEAST_BROADENING else None,
            exponent=exponent,
            window=comparison.window,
            max_lag=comparison.max_lag,
            lag_window=comparison.lag_window,
            friction=comparison.friction,
            without_saturated=comparison.without_saturated,
        )


def _record(file: str, window: tuple[float, float]) -> Spectrum:
    try:
        record = measured(file, window)
    except ValueError as error:
        raise PalirsError(f"task.experiment: {error}") from error
    log.info("record %s, read as %s", file, record.read_as)
    if record.doubt:
        log.warning("record %s: %s", file, record.doubt)
    return record


def _made(candidate: Candidate, maker: Callable[[Candidate], Candidate]) -> Candidate:
    """Return a candidate with its spectrum, or the reason why there is none."""
    started = time.monotonic()
    try:
        done = maker(candidate)
    except (PalirsError, EngineFailure) as error:  # the others may do
        done = replace(candidate, failure=str(error))
    log.info("%s: after %.0f s", candidate.name, time.monotonic() - started)
    return done


def _by_md(
    session: Session,
    predictor: Predictor,
    md: Mapping[str, Any],
    output: Path,
    comparison: Comparison,
    candidate: Candidate,
) -> Candidate:
    """Predict a spectrum and keep it, so that the directory may be a candidate itself."""
    assert candidate.molecule is not None
    temperature, seed = session.settings.temperature, session.settings.seed
    found = predict_spectrum(candidate.molecule, predictor, temperature, seed=seed, **md)
    name = re.sub(r"[^\w.+-]+", "_", candidate.name)  # of two conformers each has its file
    store = SpectrumStore(output, [name], temperature, comparison)
    store.write(name, "predicted", found)
    return replace(candidate, spectrum=found, source=f"MD by {found.label}", remarks=found.warnings)


def _by_engine(session: Session, comparison: Comparison, candidate: Candidate) -> Candidate:
    def vibrations(atoms: Atoms) -> Harmonic:
        session.settings.engine.check(atoms)
        return vibrations_by(session.labeller, [atoms])[0]

    return by_vibrations(candidate, vibrations, comparison, session.settings.engine.name)


def _write(prediction: Prediction, directory: Path) -> Path:
    """Write spectrum, bands and figures; return the path of the files without their endings."""
    name = f"{prediction.name}-{prediction.temperature:g}K"
    directory.mkdir(parents=True, exist_ok=True)
    write_csv(directory / f"{name}.csv", prediction)
    write_table(directory / f"{name}-bands.csv", prediction.bands)
    vibrations = prediction.harmonic
    assert vibrations is not None and vibrations.intensities is not None
    drawn = spectral_figures.spectrum(
        f"{prediction.name}, {prediction.temperature:g} K",
        {"predicted": prediction},
        interactive.WINDOW,
        {},
        prediction.bands,
        {"predicted": (vibrations.frequencies, vibrations.intensities)},
    )
    figures.save(drawn, directory / f"{name}.png", vector=True)
    interactive.write_page([prediction.figure()], directory / f"{name}.html")
    return directory / name
