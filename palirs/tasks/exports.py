"""Tasks that write what a study found in the forms of other programs."""

import logging

from palirs import keys
from palirs.learning.completed import complete_iterations
from palirs.learning.iterations import final_committee, final_dipole_files
from palirs.learning.quality.frequencies import own_vibrations
from palirs.mace.models.files import load_dipole_model
from palirs.production.exchange import LAYOUTS, complete_trajectories
from palirs.recipes import PalirsError
from palirs.settings import Spectroscopy
from palirs.study.conformers import starts
from palirs.study.references import reference_vibrations
from palirs.study.session import Session
from palirs.study.task import task
from palirs.tasks.spectral import production
from palirs.vibrations.molden import write_molden

log = logging.getLogger(__name__)

KINDS = ("predicted", "reference")


@task(reads_only=True, engine=False)
def export_modes(session: Session, output: str) -> None:
    """Write the normal modes of each molecule as Molden files, by the engine and by the committee.

    Modes of the committee are in the order of the engine's. A molecule of which it has no optimum
    like the engine's has no file of it.

    Parameters
    ----------
    session : Session
        The study; its last committee is taken, if there is one.
    output : str
        Directory, relative to the study directory.
    """
    directory, engine = session.directory, session.settings.engine.name
    references = reference_vibrations(session)
    written = {name: {"engine": each} for name, each in zip(session.names, references, strict=True)}
    titles = {"engine": f"{engine}, harmonic"}
    if complete_iterations(directory):
        files = final_dipole_files(directory, session.settings.committee.dipoles)
        dipole = load_dipole_model(files) if all(file.exists() for file in files) else None
        titles["committee"] = f"palirs committee trained on {engine}, harmonic"
        for name, own in own_vibrations(final_committee(directory), dipole, references).items():
            written[name]["committee"] = own
    for name, vibrations in written.items():
        for source, each in vibrations.items():
            file = directory / output / f"{name}-{source}.molden"
            write_molden(file, each, f"{name}, {titles[source]}")
            print(f"{file}: {len(each.frequencies)} modes")
        if len(vibrations) < len(titles):
            print(f"{name}: the committee has no optimum like the engine's, so no modes of its own")


@task(reads_only=True, engine=False)
def export_trajectories(session: Session, layout: str, kind: str, output: str) -> None:
    """Write positions and dipoles of a study's trajectories in a form that other programs read.

    Parameters
    ----------
    session : Session
        The study; trajectories at its temperature are written.
    layout : {"extxyz", "travis", "schnetpack"}
        See :mod:`palirs.production.exchange`.
    kind : {"predicted", "reference"}
        MD by the committee, or the engine's own.
    output : str
        Directory, relative to the study directory.
    """
    for key, value, allowed in (("layout", layout, LAYOUTS), ("kind", kind, KINDS)):
        if value not in allowed:
            raise PalirsError(f"task.{key} = {value!r}: {', '.join(allowed)}")
    settings = session.settings.spectrum
    if kind == "reference" and settings.reference is None:
        raise PalirsError("spectrum.reference is null: there is no MD of the engine's own")
    for caveat in caveats(settings, layout):
        log.warning(caveat)
    md = production(session, kind, session.settings.temperature)
    for start in starts(session, reference_vibrations(session), md.temperature):
        jobs = md.jobs(start)
        try:
            trajectories = complete_trajectories(jobs, md.steps, settings)
        except PalirsError as error:
            name = start.atoms.info[keys.MOLECULE]
            again = "spectra" if kind == "predicted" else "aimd"
            raise PalirsError(f"{name}: {error}; task={again} runs them") from error
        print(LAYOUTS[layout](session.directory / output / jobs[0].place.parent.name, trajectories))


def caveats(settings: Spectroscopy, layout: str) -> list[str]:
    """Return what a spectrum by another program would have wrong."""
    told = []
    if settings.conformers == "boltzmann":
        told.append(
            "trajectories count with the population of the conformer they start from in the "
            "spectra of this study; the files say nothing of it"
        )
    if layout == "schnetpack" and settings.stride > 1:
        told.append(
            "SchNetPack's spectra have bands at wrong places unless they get the dipoles of every "
            f"time step; spectrum.dipole_interval={settings.timestep:g} runs the MD for that"
        )
    return told
