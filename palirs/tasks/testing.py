"""Tasks that test every iteration on frames of MD, and compare studies by it."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from palirs import keys
from palirs.descriptors import mbtr
from palirs.learning.held_out import (
    by_molecule,
    check_drawn_alike,
    errors_of_iterations,
    spread_out,
)
from palirs.learning.iterations import complete_iterations
from palirs.mace.models.files import load_dipoles
from palirs.molecules import check as check_molecule
from palirs.molecules import on_grid, read_frames
from palirs.pages.comparison import write as write_comparison
from palirs.production import simulate
from palirs.randomness import stream
from palirs.recipes import PalirsError
from palirs.report import studies as compared
from palirs.report.figures import save
from palirs.report.tables import write_table
from palirs.settings import MD
from palirs.study import Session, molecules_of

log = logging.getLogger(__name__)

THERMALISATION = 2.0
"""Of the MD, before frames are taken [ps]."""


def test_set(
    session: Session,
    length: float,
    frames: int,
    clusters: int,
    per_cluster: int,
    structures: str | None,
) -> None:
    """Draw a test set from MD by the first member of the committee, label it, and evaluate the committee of every iteration on it.

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
    place = session.directory / "test_set"
    session.last_iteration  # noqa: B018  an error if there is none
    drawn = (
        {"structures": structures}
        if structures
        else {"length": length, "frames": frames, "clusters": clusters, "per_cluster": per_cluster}
    )
    check_drawn_alike(place / "settings.json", drawn | {"temperature": session.study.temperature})
    found = read_frames(place / "test_set.xyz") if (place / "test_set.xyz").exists() else []
    there = {atoms.info[keys.MOLECULE] for atoms in found}
    if missing := [
        atoms for atoms in session.optima if atoms.info[keys.MOLECULE] not in there
    ]:  # all, or what came to the study since
        chosen = (
            _named(session, structures, missing)
            if structures
            else _drawn(session, missing, place, length, frames, clusters, per_cluster)
        )
        found += session.labeller.label(chosen, "test set")
        if not found:
            raise PalirsError(
                f"none of the {len(chosen)} frames of the test set could be labelled (reasons in {session.labeller.store.path})"
            )
        ase.io.write(place / "test_set.part", found, format="extxyz")
        (place / "test_set.part").rename(place / "test_set.xyz")
    places = complete_iterations(session.directory)
    dipole = (
        load_dipoles(session.dipole_files)
        if all(file.exists() for file in session.dipole_files)
        else None
    )
    rows = errors_of_iterations(places, found, dipole)
    write_table(place / "errors.csv", rows)
    write_table(place / "molecules.csv", by_molecule(places[-1], found, dipole))
    for number, row in enumerate(rows):
        measured = {
            key: value
            for key, value in row.items()
            if key.split(".")[0] in ("energy", "forces", "dipole", "committee")
        }
        session.tracker.metrics(
            {f"test_set.{key}": value for key, value in measured.items()}, step=number
        )
    last = rows[-1]
    log.info(
        "test set of %d frames: energy MAE %.2f ± %.2f meV, forces MAE %.2f ± %.2f meV/Å%s",
        *(len(found), last["energy.mae_meV"], last.get("energy.mae_se_meV", np.nan)),
        *(last["forces.mae_meV_per_A"], last.get("forces.mae_se_meV_per_A", np.nan)),
        f", dipole MAE {last['dipole.mae_mD']:.1f} ± {last.get('dipole.mae_se_mD', np.nan):.1f} mDebye"
        if dipole is not None
        else "",
    )


def _drawn(
    session: Session,
    optima: list[Atoms],
    place: Path,
    length: float,
    frames: int,
    clusters: int,
    per_cluster: int,
) -> list[Atoms]:
    """Run the MD of these molecules, or what is missing of it, and draw from it."""
    s = session.study
    interval = 1e3 * length / frames
    settings = replace(
        s.spectrum,
        production=MD(replicas=1, thermalisation=THERMALISATION, length=length),
        geometry_interval=interval,
    )
    first = session.last_iteration / "potential-0.safetensors"
    where, md = place / "trajectories", settings.production
    runs = simulate(
        (first, ()),
        optima,
        md,
        settings,
        s.temperature,
        s.seed,
        session.md_executor,
        where,
        "test",
        s.evaluation,
    )
    chosen = []
    for run, optimum in zip(runs, optima, strict=True):
        if run.broken[0]:
            log.warning(
                "%s is left out of the test set: its trajectory ended early, %s",
                run.molecule,
                run.broken[0],
            )
            continue
        file = place / "trajectories" / f"{run.molecule}-{s.temperature:g}K-test" / "0.xyz"
        pool = [
            on_grid(Atoms(optimum.numbers, positions=atoms.positions))
            for atoms in read_frames(file)[:frames]
        ]
        rng = np.random.default_rng(stream(s.seed, "test set", run.molecule))
        for index in spread_out(mbtr(pool), clusters, per_cluster, rng):
            pool[index].info |= {
                keys.MOLECULE: run.molecule,
                keys.ORIGIN: "test_set",
                keys.TEMPERATURE: s.temperature,
            }
            chosen.append(pool[index])
    if not chosen:
        raise PalirsError(
            "no trajectory of the first member came to its end; train on more labels first"
        )
    return chosen


def _named(session: Session, structures: str, wanted: list[Atoms]) -> list[Atoms]:
    """Return the structures of a file, each one of a molecule of the study, that are of the wanted molecules."""
    names = {atoms.info[keys.MOLECULE] for atoms in wanted}
    found, known = [], {known.info[keys.MOLECULE]: known for known in session.molecules}
    for number, atoms in enumerate(read_frames(structures)):
        name = str(atoms.info.get(keys.MOLECULE, next(iter(known)) if len(known) == 1 else ""))
        if name not in known or sorted(atoms.numbers) != sorted(known[name].numbers):
            raise PalirsError(
                f"task.structures = {structures!r}: frame {number} ({atoms.symbols}) is no molecule of the study; info['molecule'] says "
                f"which of {', '.join(known)} it is"
            )
        plain = on_grid(
            Atoms(
                atoms.numbers,
                positions=atoms.positions,
                info={keys.MOLECULE: name, keys.ORIGIN: "test_set"},
            )
        )
        check_molecule(plain)
        found += [plain] if name in names else []
    return found


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
    ways = studies if isinstance(studies, dict) else {pattern: pattern for pattern in studies}
    found, place = compared.find_studies(ways), Path(output)
    names = _names([one for places in found.values() for one in places])
    files = write_comparison(
        names,
        place,
        "comparison",
        "Studies beside each other",
        [f"{len(names)} studies: {', '.join(names)}."],
    )
    log.info("%d studies beside each other: %s", len(names), files[0])
    lacking = [
        str(one) for one in names.values() if not (one / "test_set" / "errors.csv").is_file()
    ]
    if lacking:
        log.info(
            "errors are not drawn against labels: no test set (task=test_set) in %s",
            ", ".join(lacking),
        )
        return
    goals = dict(zip(compared.ERRORS, (harmonic_mae, forces_mae), strict=True))
    courses = compared.read_courses(found, _described)
    rows = compared.table(courses, goals)
    write_table(place / "labels.csv", rows)
    drawn = save(compared.figure(courses, goals), place / "labels.png")
    for row in rows:
        print(
            "  ".join(
                f"{key} {value:.3g}" if isinstance(value, float) else str(value)
                for key, value in row.items()
            )
        )
    log.info(
        "labels against errors of %d studies: %s, %s", len(courses), drawn, place / "labels.csv"
    )


def _names(places: Sequence[Path]) -> dict[str, Path]:
    """Return studies by the part of their paths in which they differ."""
    if len(set(places)) < 2:
        return {place.name: place for place in places}
    parts = [place.parts for place in places]
    first = next(
        i
        for i in range(min(map(len, parts)))
        if len({one[i] for one in parts}) > 1 or any(len(one) == i + 1 for one in parts)
    )
    return {"/".join(place.parts[first:]): place for place in places}


def _described(place: Path) -> tuple[str, str]:
    """Return the molecules and the seed of a study."""
    return ", ".join(molecules_of(place)), str(
        json.loads((place / "identity.json").read_text())["seed"]
    )
