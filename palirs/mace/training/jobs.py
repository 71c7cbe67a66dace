"""Training as jobs: every member of a committee, and the dipole model, is one call that an executor can run anywhere."""

from collections.abc import Sequence
from concurrent.futures import Executor
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from palirs import keys
from palirs.mace.models.committee import Committee
from palirs.mace.models.dipole import DipoleModel, DipoleObjective, DipoleShape
from palirs.mace.models.files import load, load_dipoles, read, save
from palirs.mace.models.graphs import species
from palirs.mace.models.potential import PotentialObjective, PotentialShape, given_energies, least_norm
from palirs.mace.settings import Architecture, Training
from palirs.mace.training.checks import check_labels
from palirs.mace.training.loop import fit
from palirs.randomness import integer, stream
from palirs.recipes import PalirsError


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
    start : path or None
        A model file to go on from.
    """

    kind: str
    path: Path
    train: list[Atoms]
    valid: list[Atoms]
    architecture: Architecture
    training: Training
    seed: int
    start: Path | None = None
    title: str = ""
    position: int = 0


def split(frames: Sequence[Atoms], fraction: float, seed: int, *names: str | int) -> tuple[list[Atoms], list[Atoms]]:
    """Split frames at random, molecule by molecule, so that each molecule has its share on both sides.

    Parameters
    ----------
    frames : sequence of Atoms
        With ``info['molecule']``.
    fraction : float
        Share that goes to the second list, at least one frame of every molecule that has two; if none has, a share of the whole.
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
    if not aside and len(frames) > 1:  # one frame of each
        aside.update(rng.permutation(len(frames))[: max(1, round(fraction * len(frames)))].tolist())
    return [f for i, f in enumerate(frames) if i not in aside], [f for i, f in enumerate(frames) if i in aside]


def train(job: Job) -> list[dict[str, float]]:
    """Train one model and write its file; returns the history, empty if the file was there."""
    log = job.path.with_suffix(".jsonl")
    if job.path.exists():
        log.with_suffix(".resume").unlink(missing_ok=True)
        return []
    torch.manual_seed(job.seed)
    shape, model = _begin(job)
    training = replace(job.training, device=_device(job.training.device, job.position))
    objective = PotentialObjective(shape, training) if isinstance(shape, PotentialShape) else DipoleObjective(shape, training)
    history = fit(model, objective, job.train, job.valid, training, job.seed, job.title, job.position, log)
    save(job.path, shape, model)
    log.with_suffix(".resume").unlink(missing_ok=True)
    return history


def _device(asked: str, position: int) -> str:
    """Return the device; ``cuda`` without a number shares the members out among the GPUs there are.

    Raises
    ------
    PalirsError
        If it is not there.
    """
    count = torch.cuda.device_count()
    if asked == "cuda" and count:
        return f"cuda:{position % count}"
    if asked != "cpu" and int(asked.partition(":")[2] or 0) >= count:
        raise PalirsError(f"training.device = {asked}: this machine has {count} such devices; use device=cpu")
    return asked


def _begin(job: Job) -> tuple[PotentialShape | DipoleShape, Any]:
    """Make a model with fresh weights, or take one from a file, with E0s that fit the new labels."""
    given = job.training.atomic_energies
    if job.start is None:
        if job.kind == "dipole":
            shape: PotentialShape | DipoleShape = DipoleShape.of(job.train, job.architecture)
        else:
            shape = PotentialShape.of(job.train, job.architecture, given if isinstance(given, dict) else None)
        return shape, shape.build()
    shape, model = read(job.start)
    if shape.kind != job.kind:
        raise PalirsError(f"training.{job.kind}.start: {job.start} is a {shape.kind} model, not a {job.kind} model")
    species([atoms.numbers for atoms in job.train], shape.elements)  # an error for those it does not know
    if isinstance(shape, PotentialShape):
        if given == "fitted":
            energies = refitted_energies(shape, model, job.train)
        else:
            present = sorted({int(z) for atoms in job.train for z in atoms.numbers})
            new = dict(zip(present, given_energies(given, present), strict=True))
            energies = tuple(new.get(z, old) for z, old in zip(shape.elements, shape.atomic_energies, strict=True))
        shape = replace(shape, atomic_energies=energies)
        model.atomic_energies_fn.atomic_energies.copy_(torch.tensor([energies], dtype=torch.float64))
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return shape, model


def refitted_energies(shape: PotentialShape, model: Any, frames: Sequence[Atoms]) -> tuple[float, ...]:
    """Atomic energies with which a trained potential best gives the energies of new labels, say of another engine."""
    found = Committee.of([(shape, deepcopy(model))]).evaluate(frames).energy[0]
    missing = np.array([atoms.info[keys.ENERGY] for atoms in frames]) - found
    shift = least_norm(frames, shape.elements, missing)
    return tuple(float(e + d) for e, d in zip(shape.atomic_energies, shift, strict=True))


def train_committee(
    directory: Path,
    frames: Sequence[Atoms],
    size: int,
    architecture: Architecture,
    training: Training,
    seed: int,
    iteration: int,
    executor: Executor,
    previous: Path | None = None,
) -> Committee:
    """Train the members on one split, differing by seed, and return the committee.

    Files ``potential-K.safetensors`` that are already in ``directory`` are taken as they are. ``previous`` is the directory of the
    iteration before, for ``training.start=previous``.
    """
    check_labels(frames, dipoles=False)
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
            start=starting_point(training, previous, member),
            title=f"iteration {iteration} potential {member}",
            position=member,
        )
        for member in range(size)
    ]
    for future in [executor.submit(train, job) for job in jobs]:
        future.result()
    return Committee.of([(c.shapes[0], c.members[0]) for c in (load(job.path) for job in jobs) if isinstance(c, Committee)])


def starting_point(training: Training, previous: Path | None, member: int) -> Path | None:
    """Return the model file that a member starts from, if any.

    Raises
    ------
    PalirsError
        If a file is named that is not there.
    """
    if training.start == "scratch":
        return None
    if training.start == "previous":
        return None if previous is None else previous / f"potential-{member}.safetensors"
    path = Path(training.start).resolve()
    if not path.is_file():
        raise PalirsError(f"training.start = {training.start!r}: there is no such file; give scratch, previous or a palirs model file")
    return path


def train_dipoles(
    paths: Sequence[Path],
    frames: Sequence[Atoms],
    architecture: Architecture,
    training: Training,
    seed: int,
    executor: Executor,
) -> DipoleModel:
    """Train the dipole models on labelled frames, or load those whose files are there; they differ by seed."""
    check_labels(frames)
    train_frames, valid = split(frames, training.validation_fraction, seed, "dipole validation")
    jobs = [
        Job(
            kind="dipole",
            path=path,
            train=train_frames,
            valid=valid,
            architecture=architecture,
            training=training,
            seed=integer(seed, "dipole", *([member] if member else [])),
            start=starting_point(training, None, member),
            title=f"dipole model {member}",
            position=member,
        )
        for member, path in enumerate(paths)
    ]
    for future in [executor.submit(train, job) for job in jobs]:
        future.result()
    return load_dipoles(paths)
