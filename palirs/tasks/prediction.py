"""Tasks that publish the predictor of a study, and predict spectra with one."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from palirs import keys
from palirs.learning.completed import MEASURED, last_iteration, read_metrics
from palirs.learning.iterations import final_committee, final_dipole_files
from palirs.learning.quality.convergence import EXPECTED
from palirs.learning.quality.modes import frequencies_in_words
from palirs.mace.models.files import potential_files
from palirs.predictor import Prediction, Predictor, open_predictor
from palirs.predictor import predict as predict_spectrum
from palirs.predictor.bundle import write_predictor
from palirs.predictor.prediction import expected_error
from palirs.production import folder_of
from palirs.recipes import PalirsError
from palirs.report import band_tables, figures, interactive, spectral_figures
from palirs.results.tables import write_table
from palirs.spectra.files import write_csv
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
