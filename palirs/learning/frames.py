"""The frames that an iteration labels: samples of new molecules, exploration of the others."""

import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from palirs import keys
from palirs.executors import shares
from palirs.learning.acquisition import choose, expected_errors
from palirs.learning.completed import complete_iterations
from palirs.learning.exploration import explore
from palirs.learning.iterations import explored_otherwise, read_walkers
from palirs.learning.quantum import quantum_frames
from palirs.learning.state import LearningSetup, LearningState
from palirs.learning.walkers import Trajectory, Walker
from palirs.mace.models.files import load_committee
from palirs.mace.settings import Evaluation
from palirs.molecules import read_frames
from palirs.randomness import stream
from palirs.settings import Sampler


@dataclass(frozen=True)
class Sampling:
    """What an iteration sampled.

    Attributes
    ----------
    frames : list of Atoms
        To be labelled.
    walkers : list of Walker
        After the exploration.
    force_errors : dict
        Error that is expected of each explored molecule along MD [meV/Å]; ``inf``: unknown.
    stopped : int
        Trajectories that were stopped early.
    """

    frames: list[Atoms]
    walkers: list[Walker]
    force_errors: dict[str, float]
    stopped: int

    @classmethod
    def read(cls, place: Path, setup: LearningSetup) -> "Sampling":
        """Read what was sampled before the program was interrupted."""
        chosen, summary = place / "sampling.xyz", json.loads((place / "sampling.json").read_text())
        errors = summary["expected_meV_per_A"]
        return cls(
            read_frames(chosen) if chosen.exists() else [],
            read_walkers(place, setup),
            {name: np.inf if error is None else error for name, error in errors.items()},
            sum(map(bool, summary["stopped"].values())),
        )


def clear_outdated(place: Path, state: LearningState, setup: LearningSetup) -> None:
    """Make the directory of an iteration, empty if the study has grown since it was begun."""
    if (place / "sampling.npz").exists():
        summary = json.loads((place / "sampling.json").read_text())
        walkers = {walker.name for walker in explorers(state, setup)}
        names = set(summary["molecules"]) != set(setup.molecules)
        others = names or set(summary["stopped"]) != walkers
        if others or explored_otherwise(summary, setup.sampler):
            shutil.rmtree(place)
    place.mkdir(parents=True, exist_ok=True)


def explorers(state: LearningState, setup: LearningSetup) -> list[Walker]:
    """Return the walkers whose molecule the committee has learnt."""
    learnt = set(setup.molecules) - {
        str(new.atoms.info[keys.MOLECULE]) for new in setup.unlabelled(state.dataset)
    }
    return [walker for walker in state.walkers if walker.molecule_name in learnt]


def sample(
    state: LearningState, setup: LearningSetup, place: Path, md_executor: Executor
) -> Sampling:
    """Sample new molecules about their optimum, and explore the others with the last committee.

    What was sampled is written at once, so a restart in the middle of an iteration does not explore
    again.
    """
    if (place / "sampling.npz").exists():
        return Sampling.read(place, setup)
    frames: list[Atoms] = []
    for reference in setup.unlabelled(state.dataset):
        rng = np.random.default_rng(
            stream(setup.seed, "initial", reference.atoms.info[keys.MOLECULE])
        )
        frames += setup.initial.sample(reference, rng)
    trajectories, force_errors = [], {}
    if walkers := explorers(state, setup):
        last = complete_iterations(setup.directory)[-1]
        settings = (last, setup.sampler, setup.seed, state.iteration, setup.evaluation)
        trajectories = in_shares(walkers, md_executor, _explore, *settings)
        force_errors = expected_errors(trajectories, setup.temperature, state)
        frames += choose(trajectories, setup, replace(state, walkers=walkers))
        if setup.learning.anharmonic is not None:
            names = sorted({walker.molecule_name for walker in walkers})
            frames += quantum_frames(load_committee(last), setup, state, names)
    moved = {trajectory.walker.name: trajectory.walker for trajectory in trajectories}
    walkers = [moved.get(walker.name, walker) for walker in state.walkers]
    _write(place, setup, frames, walkers, trajectories, force_errors)
    stopped = sum(bool(trajectory.stopped) for trajectory in trajectories)
    return Sampling(frames, walkers, force_errors, stopped)


def _write(
    place: Path,
    setup: LearningSetup,
    frames: Sequence[Atoms],
    walkers: Sequence[Walker],
    trajectories: Sequence[Trajectory],
    force_errors: dict[str, float],
) -> None:
    """Write what was sampled; ``sampling.npz`` comes last, so where it is the others are too."""
    (place / "sampling.xyz").unlink(missing_ok=True)  # of a run that was killed here
    if frames:
        ase.io.write(place / "sampling.xyz", frames, format="extxyz")
    arrays = {f"{walker.name}/positions": walker.molecule.positions for walker in walkers}
    for walker in walkers:
        if walker.velocities is not None:
            arrays[f"{walker.name}/velocities"] = walker.velocities
        if walker.modes is not None:
            arrays[f"{walker.name}/modes"] = walker.modes
    for t in trajectories:
        arrays[f"{t.walker.name}/spread"] = np.stack([t.times, t.spread, t.mean_spread])
        if t.drawn is not None:
            arrays[f"{t.walker.name}/drawn"] = t.drawn
    beads = setup.sampler.ring_beads
    summary = {
        **({} if beads is None else {"beads": beads}),
        "molecules": setup.molecules,
        "stopped": {t.walker.name: t.stopped for t in trajectories},
        "expected_meV_per_A": {
            name: error if np.isfinite(error) else None for name, error in force_errors.items()
        },
    }
    (place / "sampling.json").write_text(json.dumps(summary, indent=1))
    part = place / "sampling.npz.part"
    with part.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
    part.rename(place / "sampling.npz")


def in_shares(
    walkers: Sequence[Walker],
    executor: Executor,
    work: Callable[..., list[Trajectory]],
    *arguments: Any,
) -> list[Trajectory]:
    """Return ``work(walkers, *arguments)``, shared out among the workers, in the walkers' order."""
    parts = shares(
        range(len(walkers)), executor, lambda number: float(len(walkers[number].molecule))
    )
    futures = [
        executor.submit(work, [walkers[number] for number in part], *arguments) for part in parts
    ]
    trajectories: dict[int, Trajectory] = {}
    for part, future in zip(parts, futures, strict=True):
        trajectories.update(zip(part, future.result(), strict=True))
    return [trajectories[number] for number in range(len(walkers))]


def _explore(
    walkers: Sequence[Walker],
    iteration_before: Path,
    sampler: Sampler,
    seed: int,
    iteration: int,
    evaluation: Evaluation,
) -> list[Trajectory]:
    """Explore in a worker, with its share of the walkers: they move as in one batch of all."""
    committee = load_committee(iteration_before)
    return explore(committee, walkers, sampler, seed, iteration, evaluation)
