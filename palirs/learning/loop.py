"""Active learning: an iteration ``step(state) -> state``, and the loop, which survives any kill.

An iteration: pay for the labels of the pending frames, split, train the committee, compare its
harmonic frequencies with the engine's, explore, select the frames to label next. The directory
``iterations/NNN`` appears, complete, by one rename at its end. Until then the work is in
``iterations/NNN.partial``; labels and trained members found there are not made again.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.labels import Labeller, structure_key
from palirs.learning.completed import CONFIRMED, MEASURED, complete_iterations, read_dataset
from palirs.learning.confirmation import Confirmation, below_goal, confirm
from palirs.learning.frames import Sampling, clear_outdated, sample
from palirs.learning.iterations import restore, save, save_confirmed
from palirs.learning.modes import learnt_derivatives
from palirs.learning.quality.advice import advice
from palirs.learning.quality.convergence import (
    ANHARMONIC,
    BEADS,
    EXPECTED,
    HarmonicErrors,
    converged_molecules,
)
from palirs.learning.quality.errors import dipole_errors
from palirs.learning.quality.frequencies import (
    FrequencyComparison,
    compare_frequencies,
    compare_intensities,
)
from palirs.learning.quality.learning_curve import LearningCurve, stalled
from palirs.learning.quality.metrics import errors_of_modes_held_out, errors_on_tests
from palirs.learning.quantum import anharmonic_spread
from palirs.learning.splits import split_dataset
from palirs.learning.state import LearningSetup, LearningState, labels_used, within_budget
from palirs.learning.walkers import new_walkers
from palirs.mace.models.dipole import DipoleModel
from palirs.mace.models.files import dipole_files, load_committee
from palirs.mace.training.checks import MINIMUM_FRAMES
from palirs.mace.training.committees import train_committee, train_dipoles
from palirs.recipes import PalirsError
from palirs.vibrations import Harmonic

log = logging.getLogger(__name__)

REMARKS = 5
"""Molecules with the largest errors of harmonic frequencies that are logged."""


def learn(
    setup: LearningSetup,
    labeller: Labeller,
    training_executor: Executor,
    md_executor: Executor,
    callback: Callable[[LearningState], None] = lambda state: None,
) -> LearningState:
    """Iterate from the last complete state to the end.

    Parameters
    ----------
    setup, labeller, training_executor, md_executor
        See :func:`step`.
    callback : callable
        Called with every state, also with those that an earlier run completed.
    """
    state = LearningState(0, [], new_walkers(setup.optima, setup.sampler))
    for place in complete_iterations(setup.directory):
        state = restore(place, setup, state)
        callback(state)
    while not state.finished(setup.learning, setup.paid):
        state = step(state, setup, labeller, training_executor, md_executor)
        callback(state)
    return state


def step(
    state: LearningState,
    setup: LearningSetup,
    labeller: Labeller,
    training_executor: Executor,
    md_executor: Executor,
) -> LearningState:
    """Do one iteration and return the state after it.

    Parameters
    ----------
    state : LearningState
        Before.
    setup : LearningSetup
        Settings.
    labeller : Labeller
        Pays for labels.
    training_executor, md_executor : Executor
        Where members are trained, and where trajectories run.
    """
    place = setup.directory / "iterations" / f"{state.iteration:03d}.partial"
    clear_outdated(place, state, setup)
    timer = _Timer()
    with timer("exploration"):
        sampling = sample(state, setup, place, md_executor)
    if state.iteration and not sampling.frames:
        log.warning(
            "iteration %d: nothing new to label, %d trajectories were stopped before their first "
            "frame",
            state.iteration,
            sampling.stopped,
        )
    expected_good = converged_molecules(sampling.force_errors, state.harmonic, setup.learning)
    with timer("labels"):
        confirmation = confirm(expected_good, sampling.frames, setup, state, labeller)
    converged = _converged(place, sampling.force_errors, expected_good, confirmation, setup, state)
    mean_error = float(np.mean(confirmation.corrected(sampling.force_errors) or [np.inf]))
    expected = {EXPECTED: mean_error} if np.isfinite(mean_error) else {}
    if setup.sampler.ring_beads is not None:
        expected[BEADS] = float(setup.sampler.ring_beads)
    history = [metrics for metrics in state.history if MEASURED not in metrics]
    curve = LearningCurve.of(history, mean_error)
    if not setup.unlabelled(state.dataset):
        everything = bool(sampling.force_errors) and converged == set(sampling.force_errors)
        ends = not state.unsampled and stalled(history, mean_error, setup.learning)
        measured = bool(confirmation.errors) and MEASURED not in state.metrics
        if (everything or ends) and (confirmation.frames or measured):
            metrics = {**expected, **timer.metrics, CONFIRMED: float(everything)}
            saved = _confirmed(place, metrics, confirmation, sampling, setup, state, labeller)
            return replace(saved, stalled=not everything)
        if everything or ends:
            return _ended(state, everything, expected)
    wanted = _wanted(
        _not_yet(sampling.frames, confirmation),
        converged,
        state,
        setup,
        curve,
        len(confirmation.frames),
    )
    with timer("labels"):
        labelled = labeller.label(wanted, f"iteration {state.iteration} labels")
    labelled += confirmation.frames
    train, test = split_dataset(state.dataset, labelled, setup, state.iteration)
    errors, frequencies = _train(place, train, test, setup, state, training_executor, timer)
    metrics = {
        **errors,
        **expected,
        **_counts((*train, *test), setup, labeller),
        "exploration.stopped": sampling.stopped,
        **timer.metrics,
    }
    save(place, state.iteration + 1, train, test, metrics, frequencies)
    return LearningState(
        state.iteration + 1,
        read_dataset(place.with_suffix("")),
        sampling.walkers,
        metrics,
        HarmonicErrors.from_metrics(metrics),
        counted_from=state.counted_from,
        history=(*state.history, metrics),
    )


def _train(
    place: Path,
    train: list[Atoms],
    test: list[Atoms],
    setup: LearningSetup,
    state: LearningState,
    executor: Executor,
    timer: "_Timer",
) -> tuple[dict[str, float], FrequencyComparison]:
    """Train the models of an iteration; return their errors, and their harmonic frequencies."""
    learnt = _with_frames(setup.references, train)
    with timer("training"):
        before = complete_iterations(setup.directory)[-1] if state.iteration else None
        sizes = (setup.members, setup.architecture, setup.training, setup.seed, state.iteration)
        derivatives = learnt_derivatives(learnt)
        committee = train_committee(
            place, train, *sizes, executor, before, setup.pretrained, derivatives
        )
    with timer("harmonic"):
        frequencies = compare_frequencies(committee, setup.references)
    dipole_metrics, dipole_model = {}, None
    if setup.dipoles is not None:
        with timer("dipole"):
            dipole_model = _train_dipoles(place, train, learnt, setup, executor)
        intensities = compare_intensities(committee, dipole_model, setup.references)
        dipole_metrics = dipole_errors(dipole_model, test) | intensities.metrics()
    spreads = {}
    if setup.learning.anharmonic is not None:
        with timer("anharmonic"):
            spreads = anharmonic_spread(committee, learnt)
        spread = spreads.get(ANHARMONIC, np.inf)
        log.info("anharmonic fundamentals: members differ by %.1f cm⁻¹ on average", spread)
    log.info("training: %s", advice(sorted(place.glob("potential-*.jsonl")), setup.training))
    log.info("harmonic frequencies: %s", "; ".join(frequencies.remarks()[:REMARKS]))
    errors = {
        **frequencies.metrics(),
        **spreads,
        **errors_of_modes_held_out(committee, dipole_model, setup),
        **errors_on_tests(committee, test, setup),
        **dipole_metrics,
    }
    return errors, frequencies


def _train_dipoles(
    place: Path,
    train: list[Atoms],
    learnt: Sequence[Harmonic],
    setup: LearningSetup,
    executor: Executor,
) -> DipoleModel:
    """Train and return the dipole models of an iteration."""
    dipoles = setup.dipoles
    assert dipoles is not None
    return train_dipoles(
        dipole_files(place, dipoles.count),
        train,
        dipoles.architecture,
        dipoles.training,
        setup.seed,
        executor,
        setup.pretrained,
        learnt_derivatives(learnt),
    )


def _ended(state: LearningState, everything: bool, expected: dict[str, float]) -> LearningState:
    """Return the state in which learning ends without a new label: all is good, or it stalled."""
    metrics = {**state.metrics, **expected}
    if everything:
        return replace(state, forces_converged=True, unsampled=False, metrics=metrics)
    return replace(state, stalled=True, metrics=metrics)


def _confirmed(
    place: Path,
    metrics: dict[str, float],
    confirmation: Confirmation,
    sampling: Sampling,
    setup: LearningSetup,
    state: LearningState,
    labeller: Labeller,
) -> LearningState:
    """Save an iteration that trained nothing: its frames of MD have measured the one before."""
    train, test = split_dataset(state.dataset, confirmation.frames, setup, state.iteration)
    before = complete_iterations(setup.directory)[-1]
    metrics = {
        **{key: value for key, value in state.metrics.items() if not key.startswith("time.")},
        **metrics,
        **errors_on_tests(load_committee(before), test, setup),
        **_counts((*train, *test), setup, labeller),
        **confirmation.metrics(),
    }
    save_confirmed(place, before, state.iteration + 1, train, test, metrics)
    return LearningState(
        state.iteration + 1,
        read_dataset(place.with_suffix("")),
        sampling.walkers,
        metrics,
        state.harmonic,
        forces_converged=below_goal(metrics, setup),
        counted_from=state.counted_from + 1,
        history=(*state.history, metrics),
    )


def _counts(frames: Sequence[Atoms], setup: LearningSetup, labeller: Labeller) -> dict[str, float]:
    """Return how many frames and labels there are."""
    return {
        "dataset.size": len(frames),
        "labels.used": labels_used(setup.paid, frames),
        "labels.computed": labeller.computed,
        "labels.failed": labeller.failed,
        "labels.found": labeller.found,
    }


def _not_yet(frames: Sequence[Atoms], confirmation: Confirmation) -> list[Atoms]:
    """Return the frames that are neither labelled already nor only kept to confirm with."""
    labelled = {structure_key(atoms) for atoms in confirmation.frames}
    return [
        atoms
        for atoms in frames
        if not atoms.info.get(keys.RESERVE) and structure_key(atoms) not in labelled
    ]


def _wanted(
    frames: Sequence[Atoms],
    converged: set[str],
    state: LearningState,
    setup: LearningSetup,
    curve: LearningCurve,
    paid_now: int = 0,
) -> list[Atoms]:
    """Return the frames that are paid for, within the budget, and say what they will buy.

    ``paid_now``: labels that this iteration has paid for already.
    """
    if converged:
        names = ", ".join(sorted(converged))
        log.info("iteration %d: no more labels for %s", state.iteration, names)
    wanted = [atoms for atoms in frames if atoms.info[keys.MOLECULE] not in converged]
    left = state.labels_left(setup.learning, setup.paid) - paid_now
    if len(wanted) > left:
        wanted = within_budget(wanted, int(max(left, 0)))
        log.info("learning.budget=%d leaves %d labels", setup.learning.budget, len(wanted))
    share = 1 - setup.training.test_fraction
    least = max(int(np.ceil(MINIMUM_FRAMES / share)) + 2, 3 * len(setup.references))
    if state.iteration == 0 and left < min(least, len(frames)):
        raise PalirsError(
            f"learning.budget = {setup.learning.budget}: relaxations and Hessians took "
            f"{setup.paid} labels, which leaves too few structures to learn from and to test; "
            f"give at least {setup.paid + least}"
        )
    forecast = curve.forecast(len(wanted))
    if forecast is not None and wanted:
        text = "learning curve: forces expected along %s %.1f meV/Å now, %.1f (%.1f to %.1f) with "
        numbers = setup.sampler.kind_of_md, curve.forces[-1], *forecast, len(wanted)
        log.info(text + "the next %d labels", *numbers)
    return wanted


def _with_frames(references: Sequence[Harmonic], frames: Sequence[Atoms]) -> list[Harmonic]:
    """Return the references of the molecules that have labelled frames: others may have failed."""
    names = {atoms.info[keys.MOLECULE] for atoms in frames}
    return [each for each in references if each.atoms.info[keys.MOLECULE] in names]


def _converged(
    place: Path,
    force_errors: dict[str, float],
    expected_good: set[str],
    confirmation: Confirmation,
    setup: LearningSetup,
    state: LearningState,
) -> set[str]:
    """Return the molecules that get no labels; an iteration that was begun keeps them."""
    file = place / "spared.json"
    if file.exists():
        return set(json.loads(file.read_text()))
    goals = setup.learning
    limit = np.inf if goals.forces_mae is None else goals.forces_mae
    converged = confirmation.converged(expected_good, goals.converge == "together", limit)
    if converged != set(force_errors) or setup.unlabelled(
        state.dataset
    ):  # else there is no iteration, unless goals change
        part = file.with_suffix(".part")
        part.write_text(json.dumps(sorted(converged)))
        part.rename(file)
    return converged


class _Timer:
    """Times the stages of an iteration: ``with timer("labels"): ...`` adds ``time.labels_s``."""

    def __init__(self):
        self.metrics: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.metrics[f"time.{stage}_s"] = time.perf_counter() - started
