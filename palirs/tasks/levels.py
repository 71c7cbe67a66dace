"""The task that calculates anharmonic levels, by committee or engine."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from palirs import keys
from palirs.engines import EngineFailure
from palirs.learning.completed import anharmonic_directory, last_iteration
from palirs.learning.iterations import final_committee
from palirs.recipes import PalirsError
from palirs.results.tables import write_table
from palirs.study.references import label_counters, reference_vibrations
from palirs.study.session import Session
from palirs.study.task import task
from palirs.tasks.reports import report
from palirs.vibrations import Harmonic
from palirs.vibrations.anharmonic import calculation, files
from palirs.vibrations.anharmonic.calculation import Anharmonic
from palirs.vibrations.anharmonic.levels import Resonances

log = logging.getLogger(__name__)

SOURCES = ("committee", "engine")
STEPS = (0.02, 0.5)
"""Smallest and largest step: below it is the noise of the forces, above the next terms."""


@task()
def anharmonic(
    session: Session, by: str, step: float, extrapolate: bool, gap: float, shift: float
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
    """
    if by not in SOURCES:
        raise PalirsError(f"task.by = {by!r}: {' or '.join(SOURCES)}")
    if not STEPS[0] <= step <= STEPS[1]:
        raise PalirsError(f"task.step = {step:g}: between {STEPS[0]:g} and {STEPS[1]:g}")
    if gap < 0 or shift <= 0:
        raise PalirsError(f"task.gap = {gap:g}, task.shift = {shift:g}: above 0")
    references = reference_vibrations(session)
    settings = {"step": step, "extrapolate": extrapolate}
    anharmonic_levels(session, references, by, settings, Resonances(gap, shift))
    report(session, references)


def anharmonic_levels(
    session: Session,
    references: Sequence[Harmonic],
    by: str = "committee",
    settings: dict | None = None,
    resonances: Resonances | None = None,
) -> None:
    """Calculate the anharmonic levels of molecules, one after the other, and write them.

    A molecule for which that is not possible is logged; the others go on.
    """
    settings = settings or {"step": 0.15, "extrapolate": True}
    counters = label_counters(session.labeller)
    with session.journal.stage("anharmonic", **counters):
        for reference in references:
            name = str(reference.atoms.info[keys.MOLECULE])
            place = anharmonic_directory(session.directory, name, by)
            try:
                result = _result(session, reference, by, settings, resonances, place)
            except (PalirsError, EngineFailure) as error:  # the other molecules may do
                log.warning("%s: no anharmonic levels: %s", name, error)
                continue
            _write(result, place)
            _log(session, name, by, result)


def _result(
    session: Session,
    reference: Harmonic,
    by: str,
    settings: dict,
    resonances: Resonances | None,
    place: Path,
) -> Anharmonic:
    """Return the levels of one molecule, from its force fields if they are there."""
    if files.saved_settings(place) != settings:
        if by == "engine":
            result = calculation.anharmonic(
                reference, session.labeller, complete=False, resonances=resonances, **settings
            )
        else:
            committee = final_committee(session.directory).double()
            result = calculation.anharmonic(
                reference, committee, committee.alone(), resonances=resonances, **settings
            )
        files.save(result, settings, place)
    return files.load(place, resonances)


def _write(result: Anharmonic, place: Path) -> None:
    rows = [*files.left_out(result), *files.level_rows(result)]
    write_table(place / "levels.csv", rows)
    (place / "summary.json").write_text(json.dumps(files.summary(result), indent=1))


def _log(session: Session, name: str, by: str, result: Anharmonic) -> None:
    """Log the zero-point energy and the spread, and what limits the fundamentals."""
    count = len(result.modes)
    spread = float(np.nanmean(result.spread[:count])) if result.members else np.nan
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
    metrics = {f"anharmonic.{name}.zero_point_cm1": result.levels.zero_point}
    if np.isfinite(spread):
        metrics[f"anharmonic.{name}.spread_cm1"] = spread
    if by == "committee":
        step = int(last_iteration(session.directory).name)
        session.tracker.metrics(metrics, step=step)
