"""Training as jobs: every member of a committee, and the dipole model, is one call that an executor can run anywhere."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from palirs import keys
from palirs.mace.committee import Committee
from palirs.mace.dipole import DipoleModel, DipoleObjective, DipoleShape
from palirs.mace.files import load, save
from palirs.mace.fitting import fit
from palirs.mace.potential import PotentialObjective, PotentialShape
from palirs.mace.settings import Architecture, Training
from palirs.randomness import integer, stream
from palirs.recipes import PalirsError

MINIMUM_FRAMES = 10
"""Fewer labelled frames than this cannot be split into training, validation and test."""


@dataclass(frozen=True)
class Job:
    """One model to train; picklable.

    Attributes
    ----------
    kind : {"potential", "dipole"}
        What to learn.
    path : Path
        File the model is written to; a model that is there is not trained again.
    train, valid : list of Atoms
        Labelled frames.
    architecture, training
        Recipes.
    seed : int
        Of the first weights and the order of the frames.
    """

    kind: str
    path: Path
    train: list[Atoms]
    valid: list[Atoms]
    architecture: Architecture
    training: Training
    seed: int
    title: str = ""
    position: int = 0


def split(frames: Sequence[Atoms], fraction: float, seed: int, *names: str | int) -> tuple[list[Atoms], list[Atoms]]:
    """Split frames at random, molecule by molecule, so that each molecule has its share on both sides.

    Parameters
    ----------
    frames : sequence of Atoms
        With ``info['molecule']``.
    fraction : float
        Share that goes to the second list, at least one frame of every molecule that has two.
    seed, *names
        Name the random stream.
    """
    rng = np.random.default_rng(stream(seed, *names))
    groups: dict[str, list[int]] = {}
    for number, atoms in enumerate(frames):
        groups.setdefault(str(atoms.info.get(keys.MOLECULE)), []).append(number)
    aside: set[int] = set()
    for members in groups.values():
        count = max(1, round(fraction * len(members))) if len(members) > 1 else 0
        aside.update(rng.permutation(members)[:count].tolist())
    return [f for i, f in enumerate(frames) if i not in aside], [f for i, f in enumerate(frames) if i in aside]


def check_labels(frames: Sequence[Atoms]) -> None:
    """Raise :class:`PalirsError` for frames without complete, finite labels, before the first step of a training."""
    if len(frames) < MINIMUM_FRAMES:
        raise PalirsError(f"training: {len(frames)} labelled frames, at least {MINIMUM_FRAMES} are needed; sample or label more")
    for number, atoms in enumerate(frames):
        place = f"training frame {number} ({atoms.info.get(keys.MOLECULE)})"
        for key, value in (
            (keys.ENERGY, atoms.info.get(keys.ENERGY)),
            (keys.DIPOLE, atoms.info.get(keys.DIPOLE)),
            (keys.FORCES, atoms.arrays.get(keys.FORCES)),
        ):
            if value is None:
                raise PalirsError(f"{place}: no {key}; label the frame or remove it")
            if not np.isfinite(value).all():
                raise PalirsError(f"{place}: {key} is not finite; remove the frame")


def train(job: Job) -> list[dict[str, float]]:
    """Train one model and write its file; returns the history, empty if the file was there."""
    if job.path.exists():
        return []
    torch.manual_seed(job.seed)
    objective: PotentialObjective | DipoleObjective
    if job.kind == "potential":
        objective = PotentialObjective(PotentialShape.of(job.train, job.architecture), job.training)
    else:
        objective = DipoleObjective(DipoleShape.of(job.train, job.architecture), job.training)
    model = objective.shape.build()
    log = job.path.with_suffix(".jsonl")
    log.unlink(missing_ok=True)
    history = fit(model, objective, job.train, job.valid, job.training, job.seed, job.title, job.position, log)
    save(job.path, objective.shape, model)
    return history


def train_committee(
    directory: Path,
    frames: Sequence[Atoms],
    size: int,
    architecture: Architecture,
    training: Training,
    seed: int,
    iteration: int,
    executor: Executor,
) -> Committee:
    """Train the members on one split, differing by seed, and return the committee.

    Files ``potential-K.safetensors`` that are already in ``directory`` are taken as they are.
    """
    check_labels(frames)
    train_frames, valid = split(frames, training.validation_fraction, seed, "validation", iteration)
    jobs = [
        Job(
            kind="potential",
            path=directory / f"potential-{member}.safetensors",
            train=train_frames,
            valid=valid,
            architecture=architecture,
            training=training,
            seed=integer(seed, "potential", iteration, member),
            title=f"iteration {iteration} potential {member}",
            position=member,
        )
        for member in range(size)
    ]
    for future in [executor.submit(train, job) for job in jobs]:
        future.result()
    return Committee.of([(c.shapes[0], c.members[0]) for c in (load(job.path) for job in jobs) if isinstance(c, Committee)])


def train_dipole(
    path: Path, frames: Sequence[Atoms], architecture: Architecture, training: Training, seed: int, executor: Executor
) -> DipoleModel:
    """Train the dipole model on labelled frames, or load it if its file is there."""
    check_labels(frames)
    train_frames, valid = split(frames, training.validation_fraction, seed, "dipole validation")
    job = Job("dipole", path, train_frames, valid, architecture, training, integer(seed, "dipole"), "dipole model")
    executor.submit(train, job).result()
    model = load(path)
    if not isinstance(model, DipoleModel):
        raise PalirsError(f"{path}: not a dipole model; remove the file to train one")
    return model
