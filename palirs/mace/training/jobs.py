"""Training one model: a call that an executor can run anywhere."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from palirs import keys
from palirs.mace.forces.devices import check_device
from palirs.mace.models.committee import Committee
from palirs.mace.models.dipole import DipoleShape
from palirs.mace.models.files import header, read, save
from palirs.mace.models.graphs import species
from palirs.mace.models.learnt import check_start, stated
from palirs.mace.models.potential import PotentialShape, given_energies, least_norm
from palirs.mace.models.shape import Shape
from palirs.mace.settings import Architecture, Training
from palirs.mace.training.derivatives import Derivative
from palirs.mace.training.loop import fit
from palirs.mace.training.objectives import objective_of
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
        Of the initial weights and the order of the frames.
    start : path or None
        A model file to go on from.
    title, position
        Of the progress bar; ``position`` also selects the GPU.
    derivatives : list of Derivative
        Learnt beside the frames.
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
    derivatives: Sequence[Derivative] = ()


def train(job: Job, until: float = 1.0) -> bool:
    """Train one model up to a share of its epochs, and write its file when it is complete.

    Returns whether the model is complete; if not, a later call goes on from where it paused.
    """
    log = job.path.with_suffix(".jsonl")
    if not job.path.exists():
        torch.manual_seed(job.seed)
        shape, model = _begin(job)
        training = replace(job.training, device=_device(job.training.device, job.position))
        objective = objective_of(shape, training)
        history = fit(
            model,
            objective,
            job.train,
            job.valid,
            training,
            job.seed,
            job.title,
            job.position,
            log,
            until,
            job.derivatives,
        )
        if history is None:
            return False
        save(job.path, shape, model, stated([*job.train, *job.valid]))
    log.with_suffix(".resume").unlink(missing_ok=True)
    return True


def _device(device: str, position: int) -> str:
    """Return the device; ``cuda`` without a number distributes members over all GPUs."""
    check_device("training.device", device)
    return f"cuda:{position % torch.cuda.device_count()}" if device == "cuda" else device


def _begin(job: Job) -> tuple[Shape, Any]:
    """Make a model with fresh weights, or read one from a file and fit its E0s to the labels."""
    given = job.training.atomic_energies
    if job.start is None:
        if job.kind == "dipole":
            shape: Shape = DipoleShape.of(job.train, job.architecture)
        else:
            shape = PotentialShape.of(
                job.train, job.architecture, given if isinstance(given, dict) else None
            )
        return shape, shape.build()
    shape, model = read(job.start)
    if shape.kind != job.kind:
        raise PalirsError(
            f"training.{job.kind}.start: {job.start} is a {shape.kind} model, not a {job.kind} "
            "model"
        )
    named = job.training.start not in ("scratch", "previous")
    if named:  # models of the study itself may get molecules of another charge
        where = f"training.{job.kind}.start: {job.start}"
        check_start(where, header(job.start), [*job.train, *job.valid])
    species([atoms.numbers for atoms in job.train], shape.elements)  # raises for unknown elements
    if isinstance(shape, PotentialShape):
        if given == "fitted":
            energies = refitted_energies(shape, model, job.train)
        else:
            present = sorted({int(z) for atoms in job.train for z in atoms.numbers})
            new = dict(zip(present, given_energies(given, present), strict=True))
            energies = tuple(
                new.get(z, old)
                for z, old in zip(shape.elements, shape.atomic_energies, strict=True)
            )
        shape = replace(shape, atomic_energies=energies)
        model.get_buffer("atomic_energies_fn.atomic_energies").copy_(
            torch.tensor([energies], dtype=torch.float64)
        )
    model.requires_grad_(True)
    return shape, model


def refitted_energies(
    shape: PotentialShape, model: Any, frames: Sequence[Atoms]
) -> tuple[float, ...]:
    """Return the E0s [eV] with which a trained potential best fits the energies of new labels."""
    predicted = Committee.of([(shape, deepcopy(model))]).evaluate(frames).energy[0]
    errors = np.array([atoms.info[keys.ENERGY] for atoms in frames]) - predicted
    shift = least_norm(frames, shape.elements, errors)
    return tuple(float(e + d) for e, d in zip(shape.atomic_energies, shift, strict=True))
