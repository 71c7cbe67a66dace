"""The predictor of a study, and what is predicted with one."""

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from palirs import keys
from palirs.learning.loop import EXPECTED
from palirs.mace.models.files import potential_files
from palirs.predictor import Predictor, open_predictor
from palirs.predictor import predict as predicted
from palirs.predictor.bundle import write_predictor
from palirs.predictor.prediction import expected_error
from palirs.recipes import PalirsError
from palirs.report import bands, figures, interactive, spectral_figures
from palirs.report.tables import write_table
from palirs.spectra.files import write_csv
from palirs.study import Session

log = logging.getLogger(__name__)

KEPT = (
    "harmonic.mae_cm1",
    "forces.mae_meV_per_A",
    "energy.mae_meV",
    "dataset.size",
    "labels.used",
    EXPECTED,
)
"""Metrics of the last iteration that a predictor tells."""

OWN = ("production", "reference", "experiment", "conformers")
"""Settings of spectra that are the study's alone."""


def publish(session: Session) -> Predictor:
    """Write the predictor of a study, its last committee and dipole models, to ``predictor/``, and register it as an MLflow model."""
    s, last = session.study, session.last_iteration
    metrics = json.loads((last / "metrics.json").read_text())["metrics"]
    calibration, committee = metrics.get("committee.calibration", np.nan), session.committee
    along = []
    for known in session.references:
        place = (
            session.directory
            / "trajectories"
            / f"{known.atoms.info[keys.MOLECULE]}-{s.temperature:g}K-{last.name}"
        )
        along.append(expected_error(committee, known.atoms, place, calibration))
    spectrum = {key: value for key, value in asdict(s.spectrum).items() if key not in OWN}
    learnt = ", ".join(str(atoms.info[keys.MOLECULE]) for atoms in session.optima)
    description = (
        f"Infrared spectra at the level of {s.engine.name}, learnt from {learnt} with "
        f"{metrics.get('labels.used', np.nan):.0f} labels; harmonic frequencies within "
        f"{metrics['harmonic.mae_cm1']:.1f} cm⁻¹ of the engine's. Input: a column molecule with "
        "names, SMILES or xyz text."
    )
    about = {
        "study": session.directory.name,
        "description": description,
        "engine": s.engine.name,
        "engine_settings": s.engine.identity,
        "elements": sorted(
            {int(number) for known in session.references for number in known.atoms.numbers}
        ),
        "temperatures": list(s.sampler.temperatures),
        "calibration": calibration if np.isfinite(calibration) else None,
        "expected_meV_per_A": float(1e3 * np.nanmean(along)) if np.isfinite(along).any() else None,
        "forces_goal_meV_per_A": s.learning.forces_mae,
        "spectrum": spectrum,
        **{key: metrics[key] for key in KEPT if key in metrics},
    }
    return write_predictor(
        session.directory / "predictor",
        potential_files(last),
        session.dipole_files,
        session.optima,
        about,
    )


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
        name, started = atoms.info[keys.MOLECULE], time.monotonic()
        try:
            found = predicted(
                atoms,
                predictor,
                session.study.temperature,
                length=length,
                replicas=replicas,
                seed=session.study.seed,
            )
        except PalirsError as error:  # the other molecules may do
            failed.append(str(error))
            continue
        stem = Path(output) / name / f"{name}-{found.temperature:g}K"
        stem.parent.mkdir(parents=True, exist_ok=True)
        write_csv(stem.with_name(f"{stem.name}.csv"), found)
        write_table(stem.parent / f"{stem.name}-bands.csv", found.bands)
        title = f"{name}, {found.temperature:g} K"
        assert found.harmonic is not None and found.harmonic.intensities is not None
        sticks = {"predicted": (found.harmonic.frequencies, found.harmonic.intensities)}
        drawn = spectral_figures.spectrum(
            title, {"predicted": found}, interactive.WINDOW, {}, found.bands, sticks
        )
        figures.save(drawn, stem.with_name(f"{stem.name}.png"), vector=True)
        interactive.write_page([found.figure()], stem.with_name(f"{stem.name}.html"))
        for row in bands.in_words(found.bands):
            print("  ".join(str(value) for value in row.values()))
        log.info("%s: %s.html, .png, .csv after %.0f s", name, stem, time.monotonic() - started)
    if failed:
        raise PalirsError("\n".join(failed))
