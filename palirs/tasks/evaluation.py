"""Tasks that test every iteration on a test set, and compare studies."""

import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from palirs import keys
from palirs.descriptors import mbtr
from palirs.geometry.electrons import Electrons
from palirs.learning.completed import complete_iterations, last_iteration
from palirs.learning.iterations import final_dipole_files
from palirs.learning.quality.held_out import (
    by_molecule,
    check_drawn_alike,
    errors_of_iterations,
    spread_out,
)
from palirs.mace.models.files import load_dipole_model
from palirs.molecules import check as check_molecule
from palirs.molecules import contradicts, on_grid, read_frames
from palirs.pages.comparison import write as write_comparison
from palirs.production import Simulation
from palirs.randomness import stream
from palirs.recipes import PalirsError
from palirs.report.course_figures import ERRORS, labels_against_errors
from palirs.report.figures import save
from palirs.results import courses as compared
from palirs.results.tables import write_table
from palirs.settings import MD
from palirs.study.identity import molecules_of
from palirs.study.references import reference_vibrations
from palirs.study.session import Session
from palirs.study.task import task

log = logging.getLogger(__name__)

THERMALISATION = 2.0
"""Of the MD, before frames are taken [ps]."""
LOGGED = (
    ("energy", "energy", "meV", "meV", 2),
    ("forces", "forces", "meV_per_A", "meV/Å", 2),
    ("dipole", "dipole", "mD", "mDebye", 1),
)
"""Errors in words: name, metric, its unit, written unit, digits."""


@task()
def test_set(
    session: Session,
    length: float,
    frames: int,
    clusters: int,
    per_cluster: int,
    structures: str | None,
) -> None:
    """Draw a test set from MD by the first member, label it, and test every iteration on it.

    Parameters
    ----------
    session : Session
        The study.
    length : float
        Of the MD of each molecule [ps].
    frames : int
        Taken from it, evenly.
    clusters, per_cluster : int
        Of k-means on MBTR descriptors, and frames drawn at random from each.
    structures : str or None
        A file with structures to test on instead.
    """
    place, last = session.directory / "test_set", last_iteration(session.directory)
    drawn = {"length": length, "frames": frames, "clusters": clusters, "per_cluster": per_cluster}
    settings = {"structures": structures} if structures else drawn
    temperature = {"temperature": session.settings.temperature}
    check_drawn_alike(place / "settings.json", settings | temperature)
    labelled = read_frames(place / "test_set.xyz") if (place / "test_set.xyz").exists() else []
    done = {atoms.info[keys.MOLECULE] for atoms in labelled}
    missing = set(session.names) - done  # all, or what was added to the study since
    if missing:
        if structures:
            chosen = _from_file(session, structures, missing)
        else:
            optima = [reference.atoms for reference in reference_vibrations(session)]
            optima = [atoms for atoms in optima if atoms.info[keys.MOLECULE] in missing]
            md = MD(replicas=1, thermalisation=THERMALISATION, length=length)
            chosen = _from_md(session, optima, md, frames, (clusters, per_cluster))
        labelled += session.labeller.label(chosen, "test set")
        if not labelled:
            raise PalirsError(
                f"none of the {len(chosen)} frames of the test set could be labelled (reasons in "
                f"{session.labeller.store.path})"
            )
        ase.io.write(place / "test_set.part", labelled, format="extxyz")
        (place / "test_set.part").rename(place / "test_set.xyz")
    files = final_dipole_files(session.directory, session.settings.committee.dipoles)
    dipole = load_dipole_model(files) if all(file.exists() for file in files) else None
    rows = errors_of_iterations(complete_iterations(session.directory), labelled, dipole)
    write_table(place / "errors.csv", rows)
    write_table(place / "molecules.csv", by_molecule(last, labelled, dipole))
    for number, row in enumerate(rows):
        metrics = {
            f"test_set.{key}": value
            for key, value in row.items()
            if key.split(".")[0] in ("energy", "forces", "dipole", "committee")
        }
        session.tracker.metrics(metrics, step=number)
    texts = [
        f"{name} MAE {rows[-1][f'{key}.mae_{unit}']:.{digits}f} ± "
        f"{rows[-1].get(f'{key}.mae_se_{unit}', np.nan):.{digits}f} {written}"
        for name, key, unit, written, digits in LOGGED
        if f"{key}.mae_{unit}" in rows[-1]
    ]
    log.info("test set of %d frames: %s", len(labelled), ", ".join(texts))


def _from_md(
    session: Session,
    optima: list[Atoms],
    md: MD,
    frames: int,
    drawn: tuple[int, int],
) -> list[Atoms]:
    """Run the MD of these molecules, or what is missing of it, and draw frames from it.

    ``drawn``: clusters, and frames of each.
    """
    s, place = session.settings, session.directory / "test_set" / "trajectories"
    settings = replace(
        s.spectrum,
        production=md,
        geometry_interval=1e3 * md.length / frames,
        nuclei="classical",
    )
    member = last_iteration(session.directory) / "potential-0.safetensors"
    simulation = Simulation(
        source=(member, ()),
        model="test",
        md=md,
        settings=settings,
        temperature=s.temperature,
        seed=s.seed,
        directory=place,
        evaluation=s.evaluation,
    )
    runs = simulation.simulate(optima, session.md_executor)
    chosen = []
    for run, optimum in zip(runs, optima, strict=True):
        if run.broken[0]:
            log.warning(
                "%s is left out of the test set: its trajectory ended early, %s",
                run.molecule,
                run.broken[0],
            )
            continue
        file = place / f"{run.molecule}-{s.temperature:g}K-test" / "0.xyz"
        candidates = [
            on_grid(
                Atoms(
                    optimum.numbers,
                    positions=atoms.positions,
                    info=Electrons.of(optimum).info,
                )
            )
            for atoms in read_frames(file)[:frames]
        ]
        rng = np.random.default_rng(stream(s.seed, "test set", run.molecule))
        for index in spread_out(mbtr(candidates), *drawn, rng):
            candidates[index].info |= {
                keys.MOLECULE: run.molecule,
                keys.ORIGIN: "test_set",
                keys.TEMPERATURE: s.temperature,
            }
            chosen.append(candidates[index])
    if not chosen:
        raise PalirsError(
            "no trajectory of the first member came to its end; train on more labels first"
        )
    return chosen


def _from_file(session: Session, structures: str, wanted: Collection[str]) -> list[Atoms]:
    """Return the structures of a file that are of the wanted molecules."""
    molecules = dict(zip(session.names, session.molecules, strict=True))
    only, chosen = session.names[0] if len(molecules) == 1 else "", []
    for number, atoms in enumerate(read_frames(structures)):
        name = str(atoms.info.get(keys.MOLECULE, only))
        if name not in molecules or sorted(atoms.numbers) != sorted(molecules[name].numbers):
            raise PalirsError(
                f"task.structures = {structures!r}: frame {number} ({atoms.symbols}) is no "
                "molecule of the study; info['molecule'] says "
                f"which of {', '.join(molecules)} it is"
            )
        own = Electrons.of(molecules[name])
        if differing := contradicts(atoms, name, own):
            raise PalirsError(
                f"task.structures = {structures!r}: frame {number} is {differing}, and {name} of "
                f"the study is {own}; give structures of that state, or leave the statement out"
            )
        info = {keys.MOLECULE: name, **own.info}
        info[keys.ORIGIN] = "test_set"
        plain = on_grid(Atoms(atoms.numbers, positions=atoms.positions, info=info))
        check_molecule(plain, ground_state=False)
        if name in wanted:
            chosen.append(plain)
    return chosen


@task(lock=False, engine=False)
def compare(
    session: Session,
    studies: dict[str, str] | list[str],
    harmonic_mae: float,
    forces_mae: float,
    output: str,
) -> None:
    """Put several studies on one page: what they came to, spectra, learning, settings that differ.

    If all have a test set, also draw their errors on it against the labels they took, and tell how
    many met the goals.

    Parameters
    ----------
    session : Session
        Not used.
    studies : dict or list
        Study directories or patterns of them, ``studies/methanol*``; with names, those of one name
        differ by seed.
    harmonic_mae, forces_mae : float
        Goals [cm⁻¹], [meV/Å].
    output : str
        Directory to write ``comparison.html``, and ``labels.png`` and ``labels.csv``, into.
    """
    patterns = studies if isinstance(studies, dict) else {pattern: pattern for pattern in studies}
    by_name, place = compared.find_studies(patterns), Path(output)
    names = _names([directory for directories in by_name.values() for directory in directories])
    summary = [f"{len(names)} studies: {', '.join(names)}."]
    files = write_comparison(names, place, "comparison", "Studies beside each other", summary)
    log.info("%d studies beside each other: %s", len(names), files[0])
    untested = [d for d in names.values() if not (d / "test_set" / "errors.csv").is_file()]
    if untested:
        log.info(
            "errors are not drawn against labels: no test set (task=test_set) in %s",
            ", ".join(map(str, untested)),
        )
        return
    goals = dict(zip(ERRORS, (harmonic_mae, forces_mae), strict=True))
    courses = compared.read_courses(by_name, _described)
    rows = compared.table(courses, goals)
    write_table(place / "labels.csv", rows)
    drawn = save(labels_against_errors(courses, goals), place / "labels.png")
    for row in rows:
        texts = (
            f"{key} {value:.3g}" if isinstance(value, float) else str(value)
            for key, value in row.items()
        )
        print("  ".join(texts))
    log.info(
        "labels against errors of %d studies: %s, %s", len(courses), drawn, place / "labels.csv"
    )


def _names(directories: Sequence[Path]) -> dict[str, Path]:
    """Return studies by the part of their paths in which they differ."""
    if len(set(directories)) < 2:
        return {directory.name: directory for directory in directories}
    parts = [directory.parts for directory in directories]
    first = next(
        i
        for i in range(min(map(len, parts)))
        if len({path[i] for path in parts}) > 1 or any(len(path) == i + 1 for path in parts)
    )
    return {"/".join(directory.parts[first:]): directory for directory in directories}


def _described(directory: Path) -> tuple[str, str]:
    """Return the molecules and the seed of a study."""
    seed = json.loads((directory / "identity.json").read_text())["seed"]
    return ", ".join(molecules_of(directory)), str(seed)
