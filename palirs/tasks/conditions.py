"""Tasks that take a trained committee elsewhere: to other temperatures, and to molecules that it has not learnt."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from palirs import keys
from palirs.learning.calibration import calibrate
from palirs.learning.frequencies import compare_frequencies
from palirs.learning.loop import reference_vibrations
from palirs.mace.models.committee import force_spread
from palirs.molecules import Molecules, on_grid, read_frames
from palirs.production import Source, densities_of, simulate, spectrum_of
from palirs.production.trajectories import geometries
from palirs.recipes import PalirsError
from palirs.report import figures, transfer_figures
from palirs.report.comparison import Shelf
from palirs.report.tables import write_table
from palirs.settings import MD
from palirs.study import Session
from palirs.tasks.spectral import aimd, spectra
from palirs.tasks.stages import analyse
from palirs.tracking import Silent
from palirs.vibrations import Harmonic

log = logging.getLogger(__name__)

HOTTEST = 5000.0
"""As hot as a study may be [K]."""
MET = 1000
"""Structures of a trajectory, at most about, whose disagreement is looked at."""


def temperatures(session: Session, temperatures: Sequence[float]) -> None:
    """Run production MD, and the engine's own unless it is left out, at several temperatures, and draw the spectra in one figure.

    Parameters
    ----------
    session : Session
        The study; its committee is used as it is.
    temperatures : sequence of float
        [K].
    """
    if (
        not temperatures
        or not all(0 < one <= HOTTEST for one in temperatures)
        or len(set(temperatures)) < len(temperatures)
    ):
        raise PalirsError(
            f"task.temperatures = {list(temperatures)}: they should be different, above 0 and at most {HOTTEST:g} K"
        )
    failed: list[str] = []
    for temperature in temperatures:
        at = replace(
            session, study=replace(session.study, temperature=float(temperature)), tracker=Silent()
        )
        log.info("at %g K", temperature)
        for stage in (
            (spectra, aimd) if session.study.spectrum.reference is not None else (spectra,)
        ):
            try:
                stage(at)
            except PalirsError as error:  # the other temperatures may do
                failed.append(f"{temperature:g} K: {error}")
        for molecule in at.shelf.molecules:
            told = {
                f"temperatures.{key}": value for key, value in at.shelf.compare(molecule).items()
            }
            session.tracker.metrics(told, step=round(temperature))
    analyse(session)
    if failed:
        raise PalirsError("\n".join(failed))


def transfer(session: Session, names: Sequence[str], files: Sequence[str], frames: int) -> None:
    """Spectra of molecules that the study has not learnt, and how far its committee can be trusted with them.

    For each: harmonic frequencies against the engine's; MD by the committee, and by the engine
    unless that is left out; the committee's disagreement along its MD, the error to be expected
    from it, and the true one on some frames of it, which are labelled. Everything is written to
    ``<study>/transfer``.

    Parameters
    ----------
    session : Session
        The study.
    names, files : sequences of str
        As in ``molecules``.
    frames : int
        Labelled of each molecule's MD.
    """
    s, place, last = session.study, session.directory / "transfer", session.last_iteration
    if not all(file.exists() for file in session.dipole_files):
        raise PalirsError(
            f"{session.directory}: no dipole model for iteration {last.name}; run task=dipole first"
        )
    references = reference_vibrations(_unknown(session, names, files), session.labeller)
    molecules = [str(known.atoms.info[keys.MOLECULE]) for known in references]
    shelf = Shelf(place, replace(s.spectrum, experiment=None), s.temperature, molecules)
    sources: list[tuple[str, Source, MD | None, str]] = [
        ("predicted", (last, session.dipole_files), s.spectrum.production, "palirs"),
        ("reference", s.engine, s.spectrum.reference, f"{s.engine.name} MD"),
    ]
    ended: dict[str, str] = {}
    for kind, source, md, who in sources:
        if md is None:
            continue
        where, called = (
            place / "trajectories",
            last.name if kind == "predicted" else kind,
        )  # models of another iteration have their own
        for run in simulate(
            source,
            session.starts(references),
            md,
            s.spectrum,
            s.temperature,
            s.seed,
            session.md_executor,
            where,
            called,
            s.evaluation,
        ):
            shelf.remove(run.molecule, kind)
            if not run.enough(s.spectrum.complete):
                ended[run.molecule] = next(filter(None, run.broken))
                continue
            label = f"{who}, {s.temperature:g} K, {len(run.dipoles)} × {md.length:g} ps"
            found = spectrum_of(run.dipoles, s.spectrum, s.temperature, label, run.strata)
            shelf.put(run.molecule, kind, found, densities_of(run.rates, s.spectrum))
    rows = _trust(session, references, place / "trajectories", frames)
    for row in rows:
        name = str(row["molecule"])
        row |= {key.rpartition(".")[2]: value for key, value in shelf.compare(name).items()}
        row["ended_early"] = ended.get(name, "")
        session.tracker.metrics(
            {
                f"transfer.{name}.{key}": value
                for key, value in row.items()
                if isinstance(value, float)
            }
        )
    write_table(place / "transfer.csv", rows)
    drawn = [figures.save(transfer_figures.trust(rows), place / "transfer.png", vector=True)]
    drawn.append(figures.save(transfer_figures.sheet(shelf), place / "spectra.png", vector=True))
    for row in rows:
        print(
            "  ".join(
                f"{key} {value:.3g}" if isinstance(value, float) else str(value)
                for key, value in row.items()
                if value != ""
            )
        )
    log.info("transfer: %s, %s, %s", place / "transfer.csv", *drawn)


def _unknown(session: Session, names: Sequence[str], files: Sequence[str]) -> list[Atoms]:
    """Load the molecules; those of the study may be among them, to compare with."""
    found, known = (
        Molecules(names=tuple(names), files=tuple(files)).load(),
        set(session.committee.shapes[0].elements),
    )
    for atoms in found:
        session.study.engine.check(atoms)
        if strange := set(atoms.get_chemical_symbols()) - set(
            Atoms(sorted(known)).get_chemical_symbols()
        ):
            raise PalirsError(
                f"molecule {atoms.info[keys.MOLECULE]!r}: the committee has never seen {', '.join(sorted(strange))}"
            )
    return found


def _trust(
    session: Session, references: Sequence[Harmonic], trajectories: Path, count: int
) -> list[dict[str, object]]:
    """Return a row for each molecule: error of its frequencies, and disagreement, expected and true error along its MD."""
    s, committee = session.study, session.committee
    factor = calibrate(committee, read_frames(session.last_iteration / "test.xyz")).factor
    frequencies, rows = compare_frequencies(committee, references), []
    for known in references:
        name = str(known.atoms.info[keys.MOLECULE])
        files = sorted(
            (trajectories / f"{name}-{s.temperature:g}K-{session.last_iteration.name}").glob(
                "*.xyz"
            )
        )
        met = [
            on_grid(Atoms(known.atoms.numbers, positions=atoms.positions))
            for atoms in geometries(files)
        ]
        met = met[:: 1 + len(met) // MET]
        row: dict[str, object] = {
            "molecule": name,
            "learnt": "yes" if name in session.shelf.molecules else "",
        }
        if name in frequencies.predicted:
            row["harmonic_mae_cm1"] = float(np.abs(frequencies.deviation(name)).mean())
        if met:
            spread = np.array(
                [
                    float(force_spread(torch.tensor(one)).mean())
                    for one in committee.evaluate(met).forces
                ]
            )
            row |= {
                "spread_meV_per_A": 1e3 * float(spread.mean()),
                "expected_meV_per_A": 1e3 * factor * float(spread.mean()),
            }
            some = [
                met[i]
                for i in np.unique(
                    np.linspace(0, len(met) - 1, min(count, len(met))).round().astype(int)
                )
            ]
            for atoms in some:
                atoms.info |= {keys.MOLECULE: name, keys.ORIGIN: "transfer"}
            labelled = session.labeller.label(some, f"transfer, {name}")
            errors = 1e3 * calibrate(committee, labelled).error if labelled else np.array([np.nan])
            row |= {"error_meV_per_A": float(errors.mean())}
            row["error_se_meV_per_A"] = (
                float(errors.std(ddof=1) / np.sqrt(len(errors)))
                if len(errors) > 1
                else float("nan")
            )
        rows.append(row)
    return rows
