"""Active learning: the state of a study, one iteration ``step(state) -> state``, and the loop that survives being killed.

An iteration: pay for the labels of the pending frames, split, train the committee, compare its harmonic frequencies with the engine's,
explore, select the frames to label next. The directory ``iterations/NNN`` appears, complete, by one rename at its end. Until then the
work is in ``iterations/NNN.partial``; labels and trained members found there are not made again.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from palirs.executors import shares
from palirs.labels import Labeller, structure_key
from palirs.learning.errors import FrequencyComparison, compare_frequencies, potential_parity
from palirs.learning.exploration import Trajectory, Walker, explore, walkers
from palirs.mace.models.committee import Committee
from palirs.mace.models.files import load
from palirs.mace.settings import Architecture, Evaluation, Training
from palirs.mace.training.committees import train_committee
from palirs.mace.training.split import split
from palirs.molecules import on_grid, read_frames
from palirs.randomness import stream
from palirs.recipes import PalirsError
from palirs.settings import Learning, Sampler
from palirs.vibrations import Harmonic, minimum, sample_normal_modes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """Everything that does not change during active learning."""

    directory: Path
    seed: int
    members: int
    learning: Learning
    architecture: Architecture
    training: Training
    sampler: Sampler
    selector: Any
    references: tuple[Harmonic, ...]
    evaluation: Evaluation = field(default_factory=Evaluation)


@dataclass(frozen=True)
class State:
    """Where active learning stands after an iteration.

    Attributes
    ----------
    iteration : int
        Iterations done; the next one has this number.
    dataset : list of Atoms
        Labelled frames.
    walkers : list of Walker
        Trajectories that go on in the next exploration.
    metrics : dict
        Of the last iteration.
    """

    iteration: int
    dataset: list[Atoms]
    walkers: list[Walker]
    metrics: dict[str, float] = field(default_factory=dict)

    def finished(self, learning: Learning) -> bool:
        """Tell whether the criterion is met or the limit is reached."""
        good = self.metrics.get("harmonic.mae_cm1", np.inf) < learning.harmonic_mae
        return bool(good) or self.iteration >= learning.iterations


def reference_vibrations(molecules: Sequence[Atoms], labeller: Labeller) -> tuple[Harmonic, ...]:
    """Relax each molecule with the engine and analyse its vibrations; every calculation goes through the label store."""
    return tuple(minimum(atoms, labeller) for atoms in molecules)


def learn(
    plan: Plan, labeller: Labeller, trainers: Executor, movers: Executor, after: Callable[[State], None] = lambda state: None
) -> State:
    """Iterate from the last complete state to the end.

    Parameters
    ----------
    plan, labeller, trainers, movers
        See :func:`step`.
    after : callable
        Told of every state, also of those an earlier run completed.
    """
    state = State(0, [], walkers([known.atoms for known in plan.references], plan.sampler))
    for place in complete_iterations(plan.directory):
        state = restore(place, plan)
        after(state)
    while not state.finished(plan.learning):
        state = step(state, plan, labeller, trainers, movers)
        after(state)
    return state


def step(state: State, plan: Plan, labeller: Labeller, trainers: Executor, movers: Executor) -> State:
    """Do one iteration and return the state after it.

    Parameters
    ----------
    state : State
        Before.
    plan : Plan
        Settings.
    labeller : Labeller
        Pays for labels.
    trainers, movers : Executor
        Where members are trained, and where trajectories run.
    """
    place = plan.directory / "iterations" / f"{state.iteration:03d}.partial"
    place.mkdir(parents=True, exist_ok=True)
    clock = _Clock()
    with clock("exploration"):
        frames, group = sample(state, plan, place, movers)
    stopped = sum(map(bool, json.loads((place / "sampling.json").read_text()).values()))
    if state.iteration and not frames:
        log.warning(
            "iteration %d: all %d trajectories were stopped before their first frame; nothing new to label", state.iteration, stopped
        )
    with clock("labels"):
        labelled = labeller.label(frames, f"iteration {state.iteration} labels")
    dataset = [*state.dataset, *labelled]
    train, test = split(dataset, plan.training.test_fraction, plan.seed, "test", state.iteration)
    with clock("training"):
        before = complete_iterations(plan.directory)[-1] if state.iteration else None
        committee = train_committee(
            place, train, plan.members, plan.architecture, plan.training, plan.seed, state.iteration, trainers, before
        )
    with clock("harmonic"):
        frequencies = compare_frequencies(committee, plan.references)
    energy, forces, spread = potential_parity(committee, test)
    metrics = {
        **frequencies.metrics(),
        **energy.metrics("energy", "meV"),
        **forces.metrics("forces", "meV_per_A"),
        "committee.force_std_max_eV_per_A": spread,
        "dataset.size": len(dataset),
        "labels.computed": labeller.computed,
        "labels.failed": labeller.failed,
        "exploration.stopped": stopped,
        **clock.seconds,
    }
    save(place, state.iteration + 1, train, test, metrics, frequencies)
    return State(state.iteration + 1, read_dataset(place.with_suffix("")), group, metrics)


def sample(state: State, plan: Plan, place: Path, executor: Executor) -> tuple[list[Atoms], list[Walker]]:
    """Return the frames this iteration wants labelled, and the walkers as they stand afterwards.

    The first iteration takes normal-mode samples of every molecule. Later ones explore with the committee of the iteration before. What
    was sampled is written at once, so a restart in the middle of an iteration does not explore again.
    """
    if (place / "sampling.npz").exists():
        chosen = place / "sampling.xyz"
        return read_frames(chosen) if chosen.exists() else [], read_walkers(place, plan)
    if state.iteration == 0:
        learning = plan.learning
        frames = [
            f for known in plan.references for f in sample_normal_modes(known, learning.mode_temperature, learning.geometries_per_mode)
        ]
        frames, group, trajectories = [on_grid(frame) for frame in frames], state.walkers, []
    else:
        place_before = complete_iterations(plan.directory)[-1]
        trajectories = in_shares(state.walkers, executor, _explore, place_before, plan.sampler, plan.seed, state.iteration, plan.evaluation)
        frames, group = choose(trajectories, plan, state.iteration), [trajectory.walker for trajectory in trajectories]
    if frames:
        ase.io.write(place / "sampling.xyz", frames, format="extxyz")
    arrays = {f"positions_{number}": walker.molecule.positions for number, walker in enumerate(group)}
    arrays |= {f"velocities_{number}": walker.velocities for number, walker in enumerate(group) if walker.velocities is not None}
    arrays |= {f"spread_{number}": np.stack([t.times, t.spread]) for number, t in enumerate(trajectories)}
    (place / "sampling.json").write_text(json.dumps({t.walker.name: t.stopped for t in trajectories}, indent=1))
    part = place / "sampling.npz.part"
    with part.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
    part.rename(place / "sampling.npz")
    return frames, group


def in_shares(group: Sequence[Walker], executor: Executor, work: Callable[..., list[Trajectory]], *arguments: Any) -> list[Trajectory]:
    """Return ``work(walkers, *arguments)``, done by each worker of an executor for its share; in the order of the walkers."""
    parts = shares(range(len(group)), executor, lambda number: float(len(group[number].molecule)))
    jobs = [executor.submit(work, [group[number] for number in part], *arguments) for part in parts]
    found = {number: one for part, job in zip(parts, jobs, strict=True) for number, one in zip(part, job.result(), strict=True)}
    return [found[number] for number in range(len(group))]


def _explore(group: Sequence[Walker], place: Path, sampler: Sampler, seed: int, iteration: int, how: Evaluation) -> list[Trajectory]:
    """Run in the worker: its share of the walkers, which move as they would all together."""
    committee = load(place)
    assert isinstance(committee, Committee)
    return explore(committee, group, sampler, seed, iteration, how)


def choose(trajectories: Sequence[Trajectory], plan: Plan, iteration: int) -> list[Atoms]:
    """Return the frames of each trajectory that the selector picks, no structure twice."""
    chosen: dict[str, Atoms] = {}
    for trajectory in trajectories:
        rng = np.random.default_rng(stream(plan.seed, "selection", trajectory.walker.name, iteration))
        for index in plan.selector.choose(trajectory.spread, trajectory.times, rng):
            frame = on_grid(trajectory.frame(int(index), iteration))
            frame.info["force_spread"] = float(trajectory.spread[index])
            chosen.setdefault(structure_key(frame), frame)
    return list(chosen.values())


def complete_iterations(directory: Path) -> list[Path]:
    """Return the directories of the completed iterations of a study, in order."""
    return sorted(place for place in (directory / "iterations").glob("[0-9][0-9][0-9]") if (place / "metrics.json").is_file())


def final_committee(directory: Path) -> Committee:
    """Load the committee of the last completed iteration."""
    if not complete_iterations(directory):
        raise PalirsError(f"{directory}: no completed iteration; run task=active_learning first")
    committee = load(complete_iterations(directory)[-1])
    assert isinstance(committee, Committee)
    return committee


def save(
    place: Path, done: int, train: list[Atoms], test: list[Atoms], metrics: dict[str, float], frequencies: FrequencyComparison
) -> None:
    """Write the results of an iteration, then rename its partial directory to the final name."""
    ase.io.write(place / "train.xyz", train, format="extxyz")
    ase.io.write(place / "test.xyz", test, format="extxyz")
    record = {
        "iterations_done": done,
        "metrics": metrics,
        "frequencies_cm1": {
            name: {"reference": values.tolist(), "committee": frequencies.predicted[name].tolist()}
            for name, values in frequencies.reference.items()
        },
        "not_relaxed": list(frequencies.lost),
    }
    (place / "metrics.json").write_text(json.dumps(record, indent=1))
    for path in (*place.iterdir(), place):
        _sync(path)
    place.rename(place.with_suffix(""))
    _sync(place.parent)


def restore(place: Path, plan: Plan) -> State:
    """Read the state after a completed iteration."""
    record = json.loads((place / "metrics.json").read_text())
    return State(record["iterations_done"], read_dataset(place), read_walkers(place, plan), record["metrics"])


def read_walkers(place: Path, plan: Plan) -> list[Walker]:
    """Return the walkers as they stood after the exploration of an iteration."""
    group = []
    with np.load(place / "sampling.npz") as arrays:
        for number, walker in enumerate(walkers([known.atoms for known in plan.references], plan.sampler)):
            molecule = walker.molecule.copy()
            molecule.positions = arrays[f"positions_{number}"]
            velocities = arrays.get(f"velocities_{number}")
            group.append(Walker(molecule, walker.optimum, walker.temperature, walker.replica, velocities))
    return group


def read_dataset(place: Path) -> list[Atoms]:
    """Return all labelled frames of a completed iteration."""
    return [atoms for name in ("train.xyz", "test.xyz") for atoms in read_frames(place / name)]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Clock:
    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str):
        started = time.perf_counter()
        yield
        self.seconds[f"time.{stage}_s"] = time.perf_counter() - started
