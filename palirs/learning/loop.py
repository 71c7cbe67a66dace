"""Active learning: an iteration ``step(state) -> state``, and the loop, which survives any kill.

An iteration: pay for the labels of the pending frames, split, train the committee, compare its
harmonic frequencies with the engine's, explore, select the frames to label next. The directory
``iterations/NNN`` appears, complete, by one rename at its end. Until then the work is in
``iterations/NNN.partial``; labels and trained members found there are not made again.
"""

import json
import logging
import re
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
from palirs.learning.quality.calibration import calibrate
from palirs.learning.quality.convergence import (
    ANHARMONIC,
    BEADS,
    EXPECTED,
    HarmonicErrors,
    converged_molecules,
)
from palirs.learning.quality.errors import dipole_errors, potential_parity
from palirs.learning.quality.frequencies import compare_frequencies, compare_intensities
from palirs.learning.quality.learning_curve import LearningCurve, stalled
from palirs.learning.quality.modes import intensity_errors, wavenumber_errors
from palirs.learning.quantum import anharmonic_spread
from palirs.learning.splits import assign_splits, separate_test
from palirs.learning.state import LearningSetup, LearningState, labels_used, within_budget
from palirs.learning.walkers import new_walkers
from palirs.mace.models.committee import Committee
from palirs.mace.models.dipole import DipoleModel
from palirs.mace.models.files import dipole_files, load_committee
from palirs.mace.training.checks import MINIMUM_FRAMES
from palirs.mace.training.committees import train_committee, train_dipoles
from palirs.mace.training.split import random_split
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
    with timer("training"):
        before = complete_iterations(setup.directory)[-1] if state.iteration else None
        sizes = (setup.members, setup.architecture, setup.training, setup.seed, state.iteration)
        derivatives = learnt_derivatives(_with_frames(setup.references, train))
        committee = train_committee(
            place, train, *sizes, training_executor, before, setup.pretrained, derivatives
        )
    with timer("harmonic"):
        frequencies = compare_frequencies(committee, setup.references)
    dipole_metrics, dipole_model = {}, None
    if setup.dipoles is not None:
        dipole_model, dipole_metrics = _train_dipoles(
            place, train, test, setup, committee, training_executor
        )
    spreads = {}
    if setup.learning.anharmonic is not None:
        with timer("anharmonic"):
            spreads = anharmonic_spread(committee, _with_frames(setup.references, train))
        spread = spreads.get(ANHARMONIC, np.inf)
        log.info("anharmonic fundamentals: members differ by %.1f cm⁻¹ on average", spread)
    metrics = {
        **frequencies.metrics(),
        **spreads,
        **_held_out_errors(committee, dipole_model, setup),
        **_test_errors(committee, test, setup),
        **expected,
        **dipole_metrics,
        **_counts((*train, *test), setup, labeller),
        "exploration.stopped": sampling.stopped,
        **timer.metrics,
    }
    log.info("training: %s", advice(sorted(place.glob("potential-*.jsonl")), setup.training))
    log.info("harmonic frequencies: %s", "; ".join(frequencies.remarks()[:REMARKS]))
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
        **_test_errors(load_committee(before), test, setup),
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


def _held_out_errors(
    committee: Committee, dipole_model: DipoleModel | None, setup: LearningSetup
) -> dict[str, float]:
    """Return the errors of the modes held out, by the models that learn derivatives."""
    errors: dict[str, float] = {}
    if setup.training.derivatives:
        errors |= wavenumber_errors(committee, setup.references)
    if dipole_model is not None and setup.dipoles and setup.dipoles.training.derivatives:
        errors |= intensity_errors(dipole_model, setup.references)
    return errors


def _test_errors(
    committee: Committee, test: Sequence[Atoms], setup: LearningSetup
) -> dict[str, float]:
    """Return the metrics of the test frames, of all and of each origin (``….thermal_300K``).

    Those of MD (``forces.md``) are of the exploration's kind: with ring polymers, of single beads.
    """
    energy, forces, spread = potential_parity(committee, test)
    beads = setup.sampler.ring_beads
    kind = re.compile(rf"md_[\d.e+]+K{'' if beads is None else f'_{beads}beads'}")
    md = np.array([kind.fullmatch(name) is not None for name in forces.origin])
    of_md = forces.part(md).metrics("forces.md", "meV_per_A") if md.any() else {}
    by_origin = forces.by(forces.origin, "forces", "meV_per_A")
    return {
        **energy.metrics("energy", "meV"),
        **forces.metrics("forces", "meV_per_A"),
        **of_md,
        **{
            f"{key}.{origin}": value
            for origin, metrics in by_origin.items()
            for key, value in metrics.items()
        },
        "committee.force_std_max_eV_per_A": spread,
        **calibrate(committee, test).metrics(),
    }


def _train_dipoles(
    place: Path,
    train: list[Atoms],
    test: list[Atoms],
    setup: LearningSetup,
    committee: Committee,
    training_executor: Executor,
) -> tuple[DipoleModel, dict[str, float]]:
    """Train the dipole models of an iteration; return them, and metrics of them."""
    dipoles, timer = setup.dipoles, _Timer()
    assert dipoles is not None
    with timer("dipole"):
        model = train_dipoles(
            dipole_files(place, dipoles.count),
            train,
            dipoles.architecture,
            dipoles.training,
            setup.seed,
            training_executor,
            setup.pretrained,
            learnt_derivatives(_with_frames(setup.references, train)),
        )
    intensities = compare_intensities(committee, model, setup.references)
    return model, dipole_errors(model, test) | intensities.metrics() | timer.metrics


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


def split_dataset(
    dataset: list[Atoms], labelled: list[Atoms], setup: LearningSetup, iteration: int
) -> tuple[list[Atoms], list[Atoms]]:
    """Return the training and validation frames, and the test frames, with the new labels."""
    training = setup.training
    if setup.learning.split == "frames":
        frames = [*dataset, *labelled]
        return random_split(frames, training.test_fraction, setup.seed, "test", iteration)
    shares = (training.test_fraction, training.validation_fraction)
    train, test = separate_test([*dataset, *assign_splits(labelled, dataset, *shares)])
    if not test:
        raise PalirsError(
            f"{len(train)} labelled frames, all of one group: none is left to test with; give "
            "initial=thermal, or learning.split=frames"
        )
    return train, test


class _Timer:
    """Times the stages of an iteration: ``with timer("labels"): ...`` adds ``time.labels_s``."""

    def __init__(self):
        self.metrics: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.metrics[f"time.{stage}_s"] = time.perf_counter() - started
