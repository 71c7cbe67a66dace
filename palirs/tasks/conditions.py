"""Tasks that use a trained committee at other temperatures and for molecules it has not learnt."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from palirs import keys
from palirs.geometry.electrons import Electrons
from palirs.learning.completed import last_iteration
from palirs.learning.iterations import final_committee
from palirs.learning.quality.calibration import calibrate, mean_spread
from palirs.learning.quality.frequencies import compare_frequencies
from palirs.mace.models.committee import Committee
from palirs.molecules import Molecules, on_grid, read_frames
from palirs.molecules.checks import check_learnt
from palirs.production import folder_of, spectrum_store
from palirs.production.trajectories import geometries
from palirs.recipes import PalirsError
from palirs.report import figures, transfer_figures
from palirs.results.tables import write_table
from palirs.study.conformers import starts
from palirs.study.references import reference_vibrations, vibrations_by
from palirs.study.session import Session
from palirs.study.spectra import spectra_of
from palirs.study.task import task
from palirs.tasks.reports import report
from palirs.tasks.spectral import produce, production, write_spectra
from palirs.vibrations import Harmonic

log = logging.getLogger(__name__)

HOTTEST = 5000.0
"""As hot as a study may be [K]."""
VISITED = 1000
"""Structures along the MD of a molecule, at most about, on which the disagreement is evaluated."""


@task()
def temperatures(session: Session, temperatures: Sequence[float]) -> None:
    """Make the spectra of a study at several temperatures, and draw them in one figure.

    Parameters
    ----------
    session : Session
        The study; its committee is used as it is.
    temperatures : sequence of float
        [K].
    """
    valid = all(0 < temperature <= HOTTEST for temperature in temperatures)
    if not temperatures or not valid or len(set(temperatures)) < len(temperatures):
        raise PalirsError(
            f"task.temperatures = {list(temperatures)}: they should be different, above 0 and at "
            f"most {HOTTEST:g} K"
        )
    references, kinds = reference_vibrations(session), _kinds(session)
    failed: list[str] = []
    for temperature in map(float, temperatures):
        log.info("at %g K", temperature)
        for kind in kinds:
            try:
                md = production(session, kind, temperature)
                trajectories = produce(session, md, references)
                write_spectra(session, md, trajectories, references)
            except PalirsError as error:  # the other temperatures may do
                failed.append(f"{temperature:g} K: {error}")
        store = spectra_of(session, temperature)
        for molecule in store.molecules:
            compared = store.compare(molecule)
            metrics = {f"temperatures.{key}": value for key, value in compared.items()}
            session.tracker.metrics(metrics, step=round(temperature))
    report(session, references)
    if failed:
        raise PalirsError("\n".join(failed))


@task()
def transfer(session: Session, names: Sequence[str], files: Sequence[str], frames: int) -> None:
    """Make spectra of molecules that the study has not learnt, and test how good they are.

    For each: harmonic frequencies against the engine's; MD by the committee, and by the engine
    unless that is left out; the committee's disagreement along its MD, the error to be expected
    from it, and the true one on some frames of it, which are labelled. Molecules of the study may
    be among them, for comparison. Tables, figures, MD and spectra go to ``<study>/transfer``,
    labels to the label store.

    Parameters
    ----------
    session : Session
        The study.
    names, files : sequences of str
        As in ``molecules``.
    frames : int
        Labelled of each molecule's MD, at most, evenly spaced.
    """
    s, place = session.settings, session.directory / "transfer"
    productions = [production(session, kind, s.temperature, place) for kind in _kinds(session)]
    references = vibrations_by(session.labeller, _unknown(session, names, files))
    molecules = [str(reference.atoms.info[keys.MOLECULE]) for reference in references]
    settings = replace(s.spectrum, experiment=None)
    store = spectrum_store(place, settings, s.temperature, molecules)
    broken: dict[str, str] = {}
    for md in productions:
        fixed = replace(md, md=replace(md.md, until=None))
        runs = fixed.run(starts(session, references, s.temperature), session.md_executor)
        written = fixed.write_spectra(runs, store)
        for run in runs:
            if run.molecule not in written:
                broken[run.molecule] = next(filter(None, run.broken))
    rows = _trust(session, references, place / "trajectories", frames)
    for row in rows:
        name = str(row["molecule"])
        row |= {key.rpartition(".")[2]: value for key, value in store.compare(name).items()}
        row["ended_early"] = broken.get(name, "")
        numbers = {key: value for key, value in row.items() if isinstance(value, float)}
        session.tracker.metrics({f"transfer.{name}.{key}": value for key, value in numbers.items()})
    write_table(place / "transfer.csv", rows)
    drawn = [figures.save(transfer_figures.trust(rows), place / "transfer.png", vector=True)]
    drawn.append(figures.save(transfer_figures.sheet(store), place / "spectra.png", vector=True))
    for row in rows:
        texts = (
            f"{key} {value:.3g}" if isinstance(value, float) else str(value)
            for key, value in row.items()
            if value != ""
        )
        print("  ".join(texts))
    log.info("transfer: %s, %s, %s", place / "transfer.csv", *drawn)


def _kinds(session: Session) -> Sequence[str]:
    """Return the kinds of spectra that are made; the engine's own may be left out."""
    with_engine = session.settings.spectrum.reference is not None
    return ("predicted", "reference") if with_engine else ("predicted",)


def _unknown(session: Session, names: Sequence[str], files: Sequence[str]) -> list[Atoms]:
    """Load the molecules; those of the study may be among them, for comparison."""
    molecules = Molecules(names=tuple(names), files=tuple(files)).load()
    shape = final_committee(session.directory).shapes[0]
    elements = {chemical_symbols[number] for number in shape.elements}
    for atoms in molecules:
        session.settings.engine.check(atoms)
        check_learnt(atoms, session.molecules)
        if unknown := sorted(set(atoms.get_chemical_symbols()) - elements):
            raise PalirsError(
                f"molecule {atoms.info[keys.MOLECULE]!r}: the committee has never seen "
                f"{', '.join(unknown)}"
            )
    return molecules


def _trust(
    session: Session, references: Sequence[Harmonic], trajectories: Path, count: int
) -> list[dict[str, object]]:
    """Return errors of frequencies, and spread and errors of forces along MD, by molecule."""
    s, last = session.settings, last_iteration(session.directory)
    committee = final_committee(session.directory)
    factor = calibrate(committee, read_frames(last / "test.xyz")).factor
    frequencies, rows = compare_frequencies(committee, references), []
    for reference in references:
        name = str(reference.atoms.info[keys.MOLECULE])
        row: dict[str, object] = {
            "molecule": name,
            "learnt": "yes" if name in session.names else "",
        }
        if name in frequencies.predicted:
            row["harmonic_mae_cm1"] = float(np.abs(frequencies.deviation(name)).mean())
        folder = folder_of(name, s.temperature, last.name, s.spectrum.ring_beads)
        files = sorted((trajectories / folder).glob("*.xyz"))
        visited = [
            on_grid(
                Atoms(
                    reference.atoms.numbers,
                    positions=atoms.positions,
                    info=Electrons.of(reference.atoms).info,
                )
            )
            for atoms in geometries(files)
        ]
        visited = visited[:: 1 + len(visited) // VISITED]
        if visited:
            spread = float(mean_spread(committee.evaluate(visited)).mean())
            row["spread_meV_per_A"] = 1e3 * spread
            row["expected_meV_per_A"] = 1e3 * factor * spread
            evenly = np.linspace(0, len(visited) - 1, min(count, len(visited))).round().astype(int)
            frames = [visited[i] for i in np.unique(evenly)]
            row |= _true_error(session, committee, frames, name)
        rows.append(row)
    return rows


def _true_error(
    session: Session, committee: Committee, frames: Sequence[Atoms], molecule: str
) -> dict[str, float]:
    """Label frames; return the error of the forces on them and its standard error."""
    for atoms in frames:
        atoms.info |= {keys.MOLECULE: molecule, keys.ORIGIN: "transfer"}
    labelled = session.labeller.label(frames, f"transfer, {molecule}")
    errors = 1e3 * calibrate(committee, labelled).error if labelled else np.array([np.nan])
    several = len(errors) > 1
    standard_error = float(errors.std(ddof=1) / np.sqrt(len(errors))) if several else np.nan
    return {"error_meV_per_A": float(errors.mean()), "error_se_meV_per_A": standard_error}
