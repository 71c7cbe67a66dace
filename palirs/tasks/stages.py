"""The whole study, and its stages up to the dipole models, as tasks."""

import logging

import numpy as np

from palirs import keys
from palirs.spectra.files import write_csv
from palirs.study.references import reference_vibrations
from palirs.study.session import Session
from palirs.study.task import task
from palirs.tasks.levels import anharmonic_levels
from palirs.tasks.prediction import publish
from palirs.tasks.reports import report
from palirs.tasks.spectral import produce, production, write_spectra
from palirs.tasks.training import check_start_models, learn, pretrain, train_dipole_model

log = logging.getLogger(__name__)


@task(grows=True)
def study(session: Session) -> None:
    """Run everything, up to the report; then the engine's own MD, and the report with it."""
    check_start_models(session)
    cheap = pretrain(session)
    references = reference_vibrations(session, cheap)
    learn(session, references)
    anharmonic_levels(session, references)
    if not session.settings.engine.gives_dipole:
        log.warning(
            "%s declares no dipole: there is no spectrum to be made, the study ends with its "
            "potential",
            session.settings.engine.name,
        )
        return
    train_dipole_model(session, references)
    temperature = session.settings.temperature
    md = production(session, "predicted", temperature)
    trajectories = produce(session, md, references)
    write_spectra(session, md, trajectories, references)
    publish(session, references)
    report(session, references)
    if session.settings.spectrum.reference is not None:
        md = production(session, "reference", temperature)
        trajectories = produce(session, md, references)
        write_spectra(session, md, trajectories, references)
        report(session, references)


@task(grows=True)
def active_learning(session: Session) -> None:
    """Label, train, explore, until the goals are reached or the iterations used up."""
    check_start_models(session)
    cheap = pretrain(session)
    references = reference_vibrations(session, cheap)
    learn(session, references)


@task()
def dipole(session: Session) -> None:
    """Train the dipole model on the final data set."""
    train_dipole_model(session, reference_vibrations(session))


@task()
def harmonic(session: Session) -> None:
    """Relax each molecule with the engine and print its harmonic frequencies and intensities."""
    for reference in reference_vibrations(session):
        name, intensities = reference.atoms.info[keys.MOLECULE], reference.intensities
        if intensities is None:
            intensities = np.full_like(reference.frequencies, np.nan)
        write_csv(
            session.directory / "spectra" / f"{name}-harmonic.csv",
            {"wavenumber_cm1": reference.frequencies, "intensity_km_per_mol": intensities},
        )
        print(f"{name}: wavenumber (cm⁻¹), intensity (km/mol)")
        for frequency, intensity in zip(reference.frequencies, intensities, strict=True):
            print(f"  {frequency:9.1f} {intensity:9.2f}")
