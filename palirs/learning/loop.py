"""Active learning: the state of a study, one iteration ``step(state) -> state``, and the loop that survives being killed.

An iteration: pay for the labels of the pending frames, split, train the committee, compare its
harmonic frequencies with the engine's, explore, select the frames to label next. The directory
``iterations/NNN`` appears, complete, by one rename at its end. Until then the work is in
``iterations/NNN.partial``; labels and trained members found there are not made again.
"""

import json
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.labels import Labeller
from palirs.learning.acquisition import content
from palirs.learning.advice import advice
from palirs.learning.calibration import calibrate
from palirs.learning.errors import dipole_errors, potential_parity
from palirs.learning.exploration import walkers
from palirs.learning.frames import clear, sample
from palirs.learning.frequencies import compare_frequencies, compare_intensities
from palirs.learning.iterations import complete_iterations, read_dataset, restore, save
from palirs.learning.sides import settle, sides
from palirs.learning.state import Dipoles, Plan, State
from palirs.mace.models.committee import Committee
from palirs.mace.models.files import dipole_files
from palirs.mace.training.committees import train_committee, train_dipoles
from palirs.mace.training.split import split
from palirs.recipes import PalirsError
from palirs.vibrations import Harmonic, minimum, together

log = logging.getLogger(__name__)

EXPECTED = "exploration.force_error_meV_per_A"
REMARKS = 5
"""Molecules that are worst in harmonic frequencies, told in the log."""


def reference_vibrations(molecules: Sequence[Atoms], labeller: Labeller) -> tuple[Harmonic, ...]:
    """Relax the molecules with the engine and analyse their vibrations, side by side; every calculation goes through the label store."""
    return tuple(together([partial(minimum, atoms) for atoms in molecules], labeller))


def learn(
    plan: Plan,
    labeller: Labeller,
    training_executor: Executor,
    md_executor: Executor,
    after: Callable[[State], None] = lambda state: None,
) -> State:
    """Iterate from the last complete state to the end.

    Parameters
    ----------
    plan, labeller, training_executor, md_executor
        See :func:`step`.
    after : callable
        Told of every state, also of those an earlier run completed.
    """
    state = State(0, [], walkers([known.atoms for known in plan.references], plan.sampler))
    for place in complete_iterations(plan.directory):
        state = restore(place, plan, state.since)
        after(state)
    while not state.finished(plan.learning):
        state = step(state, plan, labeller, training_executor, md_executor)
        after(state)
    return state


def step(
    state: State, plan: Plan, labeller: Labeller, training_executor: Executor, md_executor: Executor
) -> State:
    """Do one iteration and return the state after it.

    Parameters
    ----------
    state : State
        Before.
    plan : Plan
        Settings.
    labeller : Labeller
        Pays for labels.
    training_executor, md_executor : Executor
        Where members are trained, and where trajectories run.
    """
    place = plan.directory / "iterations" / f"{state.iteration:03d}.partial"
    clear(place, state, plan)
    clock = _Clock()
    with clock("exploration"):
        frames, group = sample(state, plan, place, md_executor)
    told = json.loads((place / "sampling.json").read_text())
    stopped = sum(map(bool, told["stopped"].values()))
    expected = {
        name: np.inf if error is None else error
        for name, error in told["expected_meV_per_A"].items()
    }
    errors = (
        {EXPECTED: float(np.mean(list(expected.values())))}
        if np.isfinite(list(expected.values())).all() and expected
        else {}
    )
    if state.iteration and not frames:
        log.warning(
            "iteration %d: nothing new to label, %d trajectories were stopped before their first frame",
            state.iteration,
            stopped,
        )
    spared = _spared(place, expected, plan, state)
    if expected and spared == set(expected) and not plan.unlabelled(state.dataset):
        return replace(state, enough=True, lacking=False, metrics={**state.metrics, **errors})
    if spared:
        log.info("iteration %d: no more labels for %s", state.iteration, ", ".join(sorted(spared)))
    with clock("labels"):
        wanted = [atoms for atoms in frames if atoms.info[keys.MOLECULE] not in spared]
        labelled = labeller.label(wanted, f"iteration {state.iteration} labels")
    train, test = share_out(state.dataset, labelled, plan, state.iteration)
    with clock("training"):
        before = complete_iterations(plan.directory)[-1] if state.iteration else None
        sizes = (plan.members, plan.architecture, plan.training, plan.seed, state.iteration)
        committee = train_committee(
            place, train, *sizes, training_executor, before, plan.pretrained
        )
    with clock("harmonic"):
        frequencies = compare_frequencies(committee, plan.references)
    dipoles = (
        {}
        if plan.dipoles is None
        else _dipoles(place, train, test, plan, plan.dipoles, committee, training_executor)
    )
    metrics = {
        **frequencies.metrics(),
        **_errors(committee, test),
        **errors,
        **dipoles,
        "dataset.size": len(train) + len(test),
        "labels.used": plan.paid
        + sum(atoms.info.get(keys.ORIGIN) != "optimum" for atoms in (*train, *test)),
        "labels.computed": labeller.computed,
        "labels.failed": labeller.failed,
        "labels.found": labeller.found,
        "exploration.stopped": stopped,
        **clock.seconds,
    }
    log.info("training: %s", advice(sorted(place.glob("potential-*.jsonl")), plan.training))
    log.info("harmonic frequencies: %s", "; ".join(frequencies.remarks()[:REMARKS]))
    save(place, state.iteration + 1, train, test, metrics, frequencies)
    return State(
        state.iteration + 1, read_dataset(place.with_suffix("")), group, metrics, since=state.since
    )


def _errors(committee: Committee, test: Sequence[Atoms]) -> dict[str, float]:
    """Return the metrics of the test frames."""
    energy, forces, spread = potential_parity(committee, test)
    return {
        **energy.metrics("energy", "meV"),
        **forces.metrics("forces", "meV_per_A"),
        **{
            key: value
            for part in forces.by(forces.origin, "forces", "meV_per_A").items()
            for key, value in _of_origin(*part)
        },
        "committee.force_std_max_eV_per_A": spread,
        **calibrate(committee, test).metrics(),
    }


def _dipoles(
    place: Path,
    train: list[Atoms],
    test: list[Atoms],
    plan: Plan,
    how: Dipoles,
    committee: Committee,
    training_executor: Executor,
) -> dict[str, float]:
    """Train the dipole models on what the committee learnt, and return the errors of dipoles and intensities."""
    clock, files = _Clock(), dipole_files(place, how.count)
    with clock("dipole"):
        model = train_dipoles(
            files,
            train,
            how.architecture,
            how.training,
            plan.seed,
            training_executor,
            plan.pretrained,
        )
    return (
        dipole_errors(model, test)
        | compare_intensities(committee, model, plan.references).metrics()
        | clock.seconds
    )


def _spared(place: Path, expected: dict[str, float], plan: Plan, state: State) -> set[str]:
    """Return the molecules that get no labels in this iteration: decided once, whatever goals it is gone on with after a kill."""
    file = place / "spared.json"
    if file.exists():
        return set(json.loads(file.read_text()))
    found = content(expected, plan, state)
    if found != set(expected) or plan.unlabelled(
        state.dataset
    ):  # else there is no iteration, unless goals change
        part = file.with_suffix(".part")
        part.write_text(json.dumps(sorted(found)))
        part.rename(file)
    return found


def share_out(
    dataset: list[Atoms], labelled: list[Atoms], plan: Plan, iteration: int
) -> tuple[list[Atoms], list[Atoms]]:
    """Return what is learnt (or decides when to stop), and what tests, once new labels have arrived."""
    training = plan.training
    if plan.learning.split == "frames":
        return split([*dataset, *labelled], training.test_fraction, plan.seed, "test", iteration)
    train, test = sides(
        [*dataset, *settle(labelled, dataset, training.test_fraction, training.validation_fraction)]
    )
    if not test:
        raise PalirsError(
            f"{len(train)} labelled frames, all of them neighbours of one another: none is left to test with; give initial=thermal, or "
            f"learning.split=frames"
        )
    return train, test


def _of_origin(origin: str, metrics: dict[str, float]) -> list[tuple[str, float]]:
    """Name the metrics of frames of one origin: ``forces.mae_meV_per_A.thermal_300K``."""
    return [(f"{key}.{origin}", value) for key, value in metrics.items()]


class _Clock:
    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str):
        started = time.perf_counter()
        yield
        self.seconds[f"time.{stage}_s"] = time.perf_counter() - started
