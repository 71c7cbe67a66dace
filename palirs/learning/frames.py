"""The frames that an iteration wants labelled: samples about the optimum of molecules that are new, exploration of the others."""

import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from palirs import keys
from palirs.executors import shares
from palirs.learning.acquisition import choose, expected_errors
from palirs.learning.exploration import Trajectory, Walker, explore
from palirs.learning.iterations import complete_iterations, read_walkers
from palirs.learning.state import Plan, State
from palirs.mace.models.files import load_committee
from palirs.mace.settings import Evaluation
from palirs.molecules import read_frames
from palirs.randomness import stream
from palirs.settings import Sampler


def clear(place: Path, state: State, plan: Plan) -> None:
    """Make the directory of an iteration; what is there is removed if the study has grown since: labels are kept, the rest follows."""
    if (place / "sampling.npz").exists():
        told = json.loads((place / "sampling.json").read_text())
        walkers = {walker.name for walker in moving(state, plan)}
        if set(told["molecules"]) != set(plan.molecules) or set(told["stopped"]) != walkers:
            shutil.rmtree(place)
    place.mkdir(parents=True, exist_ok=True)


def moving(state: State, plan: Plan) -> list[Walker]:
    """Return the walkers whose molecule the committee knows."""
    new = {known.atoms.info[keys.MOLECULE] for known in plan.unlabelled(state.dataset)}
    return [walker for walker in state.walkers if walker.molecule.info[keys.MOLECULE] not in new]


def sample(
    state: State, plan: Plan, place: Path, executor: Executor
) -> tuple[list[Atoms], list[Walker]]:
    """Return the frames this iteration wants labelled, and the walkers as they stand afterwards.

    Of molecules that are new, all at the beginning, these are samples about the optimum; the others
    are explored with the committee of the iteration before. What was sampled is written at once, so
    a restart in the middle of an iteration does not explore again.
    """
    if (place / "sampling.npz").exists():
        chosen = place / "sampling.xyz"
        return read_frames(chosen) if chosen.exists() else [], read_walkers(place, plan)
    frames = [
        frame
        for known in plan.unlabelled(state.dataset)
        for frame in plan.initial.sample(
            known,
            np.random.default_rng(stream(plan.seed, "initial", known.atoms.info[keys.MOLECULE])),
        )
    ]
    trajectories, expected = [], {}
    if group := moving(state, plan):
        before = complete_iterations(plan.directory)[-1]
        trajectories = in_shares(
            group,
            executor,
            _explore,
            before,
            plan.sampler,
            plan.seed,
            state.iteration,
            plan.evaluation,
        )
        expected = expected_errors(trajectories, plan, state)
        frames += choose(trajectories, plan, replace(state, walkers=group))
    (place / "sampling.xyz").unlink(
        missing_ok=True
    )  # of a run that was killed here, perhaps before the study grew
    if frames:
        ase.io.write(place / "sampling.xyz", frames, format="extxyz")
    moved = {t.walker.name: t.walker for t in trajectories}
    group = [moved.get(walker.name, walker) for walker in state.walkers]
    arrays = {f"{walker.name}/positions": walker.molecule.positions for walker in group}
    arrays |= {
        f"{walker.name}/velocities": walker.velocities
        for walker in group
        if walker.velocities is not None
    }
    arrays |= {
        f"{t.walker.name}/spread": np.stack([t.times, t.spread, t.mean_spread])
        for t in trajectories
    }
    told = {
        "molecules": plan.molecules,
        "stopped": {t.walker.name: t.stopped for t in trajectories},
        "expected_meV_per_A": {
            name: error if np.isfinite(error) else None for name, error in expected.items()
        },
    }
    (place / "sampling.json").write_text(json.dumps(told, indent=1))
    part = place / "sampling.npz.part"
    with part.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
    part.rename(place / "sampling.npz")
    return frames, group


def in_shares(
    group: Sequence[Walker],
    executor: Executor,
    work: Callable[..., list[Trajectory]],
    *arguments: Any,
) -> list[Trajectory]:
    """Return ``work(walkers, *arguments)``, done by each worker of an executor for its share; in the order of the walkers."""
    parts = shares(range(len(group)), executor, lambda number: float(len(group[number].molecule)))
    jobs = [executor.submit(work, [group[number] for number in part], *arguments) for part in parts]
    found = {
        number: one
        for part, job in zip(parts, jobs, strict=True)
        for number, one in zip(part, job.result(), strict=True)
    }
    return [found[number] for number in range(len(group))]


def _explore(
    group: Sequence[Walker],
    place: Path,
    sampler: Sampler,
    seed: int,
    iteration: int,
    how: Evaluation,
) -> list[Trajectory]:
    """Run in the worker: its share of the walkers, which move as they would all together."""
    committee = load_committee(place)
    return explore(committee, group, sampler, seed, iteration, how)
