"""The task that calculates anharmonic levels, by committee or engine."""

import json
import logging
import shutil
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from palirs import keys
from palirs.engines import EngineFailure
from palirs.labels.record import structure_key
from palirs.learning.completed import anharmonic_directory, last_iteration
from palirs.learning.iterations import final_committee
from palirs.learning.quality.convergence import ANHARMONIC
from palirs.recipes import PalirsError
from palirs.results.tables import write_table
from palirs.study.isotopologues import Masses, assigned, requested
from palirs.study.references import label_counters, reference_vibrations
from palirs.study.session import Session
from palirs.study.task import task
from palirs.tasks.reports import report
from palirs.vibrations import Harmonic
from palirs.vibrations.anharmonic import calculation, files, rotation
from palirs.vibrations.anharmonic.calculation import Anharmonic
from palirs.vibrations.anharmonic.isotopologues import LACKING, isotopologue
from palirs.vibrations.anharmonic.levels import Resonances
from palirs.vibrations.anharmonic.rotor_levels import InternalRotation

log = logging.getLogger(__name__)

SOURCES = ("committee", "engine")
COUPLINGS = ("auto", "all")
ENGINE_FMAX = 1e-4
"""Largest force at the engine's minimum [eV/Å]; at the reference's it may be ten times as much."""
STEP_RANGE = (0.02, 0.5)
"""Smallest and largest step: below it is the noise of the forces, above the next terms."""


@task()
def anharmonic(
    session: Session,
    by: str,
    step: float,
    extrapolate: bool,
    gap: float,
    shift: float,
    couplings: str = "auto",
    isotopologues: Sequence[str] | None = None,
) -> None:
    """Calculate anharmonic levels of a study's molecules, and write its report again.

    Parameters
    ----------
    session : Session
        The study.
    by : {"committee", "engine"}
        Whose forces.
    step, extrapolate
        Of the finite differences, see :class:`palirs.vibrations.anharmonic.force_field.
        Displacements`.
    gap, shift : float
        Thresholds of resonances [cm⁻¹], see :class:`palirs.vibrations.anharmonic.levels.
        Resonances`.
    couplings : {"auto", "all"}
        Whether constants of four different modes are always calculated, or by the committee for up
        to :data:`palirs.vibrations.anharmonic.calculation.FEW` modes.
    isotopologues : sequence of str, optional
        Whose levels are made from the same force fields, see :class:`palirs.geometry.isotopologues.
        Isotopes`; by default those that were asked for before.
    """
    if by not in SOURCES:
        raise PalirsError(f"task.by = {by!r}: {' or '.join(SOURCES)}")
    if not STEP_RANGE[0] <= step <= STEP_RANGE[1]:
        raise PalirsError(f"task.step = {step:g}: between {STEP_RANGE[0]:g} and {STEP_RANGE[1]:g}")
    if gap < 0:
        raise PalirsError(f"task.gap = {gap:g}: 0 (no resonances) or more, in cm⁻¹")
    if shift <= 0:
        raise PalirsError(f"task.shift = {shift:g}: above 0, in cm⁻¹")
    if couplings not in COUPLINGS:
        raise PalirsError(f"task.couplings = {couplings!r}: {' or '.join(COUPLINGS)}")
    wanted = requested(isotopologues)
    references = reference_vibrations(session)
    masses = None if wanted is None else assigned(wanted, references)
    settings: dict = {"step": step, "extrapolate": extrapolate}
    if couplings == "all":
        settings["complete"] = True
    anharmonic_levels(session, references, by, settings, Resonances(gap, shift), masses)
    report(session, references)


def anharmonic_levels(
    session: Session,
    references: Sequence[Harmonic],
    by: str = "committee",
    settings: dict | None = None,
    resonances: Resonances | None = None,
    isotopologues: Mapping[str, Masses] | None = None,
) -> None:
    """Calculate the anharmonic levels of molecules, one after the other, and write them.

    Those of isotopologues come with them, by default of those that were there. A molecule for
    which that is not possible is logged; the others go on.
    """
    settings = settings or {"step": 0.15, "extrapolate": True}
    counters = label_counters(session.labeller)
    with session.journal.stage("anharmonic", **counters):
        for reference in references:
            name = str(reference.atoms.info[keys.MOLECULE])
            place = anharmonic_directory(session.directory, name, by)
            masses = files.saved_isotopologues(place)
            if isotopologues is not None:
                masses = isotopologues[name]
                files.note_isotopologues(place, masses)
            try:
                result = _result(session, reference, by, settings, resonances, place)
                rotations = _rotations(session, by, result, place)
            except (PalirsError, EngineFailure) as error:  # the other molecules may do
                log.warning("%s: no anharmonic levels: %s", name, error)
                continue
            _write(result, rotations, place)
            _log(session, name, by, result)
            count = len(result.modes)
            complete = count < 4 or _complete(files.saved_settings(place) or {}, by, count)
            _write_isotopologues(name, result, rotations, masses, complete, place)


def _complete(settings: dict, by: str, modes: int) -> bool:
    """Return whether force fields with these settings have constants of four different modes."""
    return settings.get("complete", by == "committee" and modes <= calculation.FEW)


def _of_four(modes: int) -> int:
    """Return how many gradients the constants of four different modes take."""
    return modes * (modes - 1) * (modes - 2) // 3


def _result(
    session: Session,
    reference: Harmonic,
    by: str,
    settings: dict,
    resonances: Resonances | None,
    place: Path,
) -> Anharmonic:
    """Return the levels of one molecule, from its force fields if they are there."""
    name = reference.atoms.info[keys.MOLECULE]
    source = session.settings.engine.fingerprint
    if by == "committee":
        own = sorted(last_iteration(session.directory).glob("potential-*.safetensors"))
        source = sha256(b"".join(file.read_bytes() for file in own)).hexdigest()
    made_with = {**settings, "source": source, "geometry": structure_key(reference.atoms)}
    if files.saved_settings(place) in (made_with, {**made_with, "complete": True}):
        return files.load(place, resonances)
    if by == "engine":
        count = len(reference.modes)
        structures = 2 * count**2 * (2 if settings["extrapolate"] else 1) + 2 * count + 1
        structures += _of_four(count) if settings.get("complete") else 0
        log.info("%s: some %d structures for the engine, found or paid for", name, structures)
        minimum = calculation.tight(reference, session.labeller, ENGINE_FMAX)
        result = calculation.anharmonic(
            minimum,
            session.labeller,
            resonances=resonances,
            **{"complete": False, **settings},
        )
    else:
        committee = final_committee(session.directory).double()
        members = committee.alone() if len(committee) > 1 else [committee]
        result = calculation.anharmonic(
            reference, committee, members, resonances=resonances, **settings
        )
    files.save(result, made_with, place)
    return result


def _rotations(
    session: Session, by: str, result: Anharmonic, place: Path
) -> dict[int, InternalRotation]:
    """Return the internal rotations among the modes, along their paths if these are there."""
    paths, complete = files.load_paths(place), True
    if paths is None:
        paths, name = {}, result.vibrations.atoms.info[keys.MOLECULE]
        for mode, rotor in rotation.rotations(result.vibrations).items():
            if by == "engine":
                modes = len(result.vibrations.frequencies)
                log.info(
                    "%s: some %d structures for the engine along a rotor of three-fold symmetry, "
                    "%d along one without",
                    name,
                    *(rotation.structures(modes, fold) for fold in (3, 1)),
                )
                source, members = session.labeller, []
            else:
                source = final_committee(session.directory).double()
                members = source.alone() if len(source) > 1 else []
            try:
                paths[mode] = rotation.path(result.vibrations, rotor, source, members)
            except (PalirsError, EngineFailure) as error:
                log.warning("%s: ν%d is not solved as a rotor: %s", name, mode + 1, error)
                complete = False
        if complete:
            files.save_paths(paths, place)
    return {mode: InternalRotation.of(path) for mode, path in paths.items()}


def _write(result: Anharmonic, rotations: dict[int, InternalRotation], place: Path) -> None:
    rows = [*files.left_out(result, rotations), *files.level_rows(result, rotations)]
    write_table(place / "levels.csv", rows)
    (place / "summary.json").write_text(json.dumps(files.summary(result), indent=1))


def _write_isotopologues(
    molecule: str,
    parent: Anharmonic,
    rotations: Collection[int],
    masses: Masses,
    complete: bool,
    place: Path,
) -> None:
    """Solve the isotopologues of a molecule, and write their levels instead of those there."""
    shutil.rmtree(place / files.ISOTOPOLOGUES, ignore_errors=True)
    if masses and not complete:
        log.warning(
            "%s: %s; task.couplings=all calculates them, some %d structures",
            molecule,
            LACKING,
            _of_four(len(parent.modes)),
        )
    for name, own in masses.items():
        try:
            result = isotopologue(parent, own, complete)
        except PalirsError as error:  # the molecule keeps its levels
            log.warning("%s of %s: no levels: %s", name, molecule, error)
            continue
        folder = place / files.ISOTOPOLOGUES / name
        write_table(folder / "levels.csv", files.isotopologue_rows(result, parent, rotations))
        told = {"isotopologue_of": molecule, "masses_amu": own.tolist(), **files.summary(result)}
        (folder / "summary.json").write_text(json.dumps(told, indent=1))
        log.info(
            "%s of %s: %d fundamentals from its force field; zero-point energy %.0f cm⁻¹",
            name,
            molecule,
            len(result.modes),
            result.levels.zero_point,
        )


def _log(session: Session, name: str, by: str, result: Anharmonic) -> None:
    """Log the zero-point energy and the spread, and what limits the fundamentals."""
    count, spread = len(result.modes), result.mean_spread
    told = [reasons for reasons in result.reasons()[:count] if reasons]
    log.info(
        "%s: %d fundamentals by %s's VPT2%s; zero-point energy %.0f cm⁻¹; %d with a caveat",
        name,
        count,
        by,
        f", ± {spread:.1f} cm⁻¹ on average" if np.isfinite(spread) else "",
        result.levels.zero_point,
        len(told),
    )
    metrics = {f"anharmonic.zero_point_cm1.{name}": result.levels.zero_point}
    if np.isfinite(spread):
        metrics[f"{ANHARMONIC}.{name}"] = spread
    if by == "committee":
        step = int(last_iteration(session.directory).name)
        session.tracker.metrics(metrics, step=step)
