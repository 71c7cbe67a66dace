"""How fast this machine is at the work of a study, measured on work that is thrown away."""

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.journal import largest_memory
from palirs.mace.training.committees import train_committee, train_dipoles
from palirs.planning import rates
from palirs.planning.stages import MIN_STAGE, mean_size, note_md, note_training
from palirs.planning.work import rate_names
from palirs.production import Simulation, seconds_per_step
from palirs.settings import MD, StudySettings

UPDATES, FRAMES, STEPS = 300, 40, 20000
"""Of the training that is timed, structures in it, and steps of all trajectories of the MD."""
COLD, WEAK = 1e-3, 1e-4
"""Temperature of that MD [K] and stiffness of what its models have learnt [eV/Å²]: molecules stay
as they are."""


def measure(
    study: StudySettings, molecules: Sequence[Atoms], executors: tuple[Executor, Executor, Executor]
) -> None:
    """Measure how long labels, updates of trainings and steps of MD take; keep the rates only.

    Parameters
    ----------
    study : StudySettings
        The settings.
    molecules : sequence of Atoms
        Start geometries.
    executors : tuple of Executor
        For labels, trainings and MD; they should be on this machine.
    """
    labels, training_executor, md_executor = executors
    for atoms in molecules:
        rates.note(
            "label",
            rate_names(study)["label"],
            len(atoms),
            seconds_per_step(study.engine, [atoms], labels),
        )
    frames, names = _frames(molecules), rate_names(study)
    with tempfile.TemporaryDirectory() as name:
        place, early = Path(name), Path(name) / "pretraining"
        _time_training(study, "training", place, frames, training_executor)
        if study.pretraining.engine is not None and names["pretraining"] != names["training"]:
            early.mkdir()
            _time_training(study, "pretraining", early, frames, training_executor)
        if study.engine.gives_dipole:
            _time_training(study, "dipole", place, frames, training_executor)
        with largest_memory() as memory:
            files = tuple(sorted(place.glob("dipole-*.safetensors")))
            seconds, steps = _timed_md(study, molecules, (place, files), md_executor)
        done = {"seconds": seconds, "memory_MiB": max(memory), "steps": steps}
        note_md(study, molecules, done, least=0.0)


def _time_training(
    study: StudySettings,
    which: str,
    place: Path,
    frames: Sequence[Atoms],
    training_executor: Executor,
) -> None:
    """Run a short training, whose models stay in a directory; keep how long an update took."""
    short = {
        "updates": UPDATES,
        "shortest": UPDATES,
        "schedule": "constant",
        "start": "scratch",
        "second_stage": None,
    }
    fits = {
        "training": study.training.potential,
        "pretraining": study.pretraining.training,
        "dipole": study.training.dipole,
    }
    fit = replace(fits[which], **short, validation_fraction=0.1, atomic_energies="fitted")
    with largest_memory() as memory:
        if which == "dipole":
            files = [
                place / f"dipole-{number}.safetensors" for number in range(study.committee.dipoles)
            ]
            train_dipoles(files, frames, study.model.dipole, fit, 0, training_executor)
        else:
            train_committee(
                place,
                frames,
                study.committee.size,
                study.model.potential,
                fit,
                0,
                0,
                training_executor,
            )
    pattern = "dipole-*.jsonl" if which == "dipole" else "potential-*.jsonl"
    done = {"seconds": MIN_STAGE, "memory_MiB": max(memory)}
    note_training(study, which, sorted(place.glob(pattern)), mean_size(frames), done)


def _frames(molecules: Sequence[Atoms]) -> list[Atoms]:
    """Return structures with labels to learn: weak springs between atoms, random dipoles."""
    rng, frames = np.random.default_rng(0), []
    for number in range(FRAMES):
        atoms = molecules[number % len(molecules)].copy()
        rest = atoms.get_all_distances()
        atoms.positions += rng.normal(0, 0.03, atoms.positions.shape)
        apart = atoms.positions[:, None] - atoms.positions[None]
        stretch = atoms.get_all_distances() - rest
        atoms.info |= {
            keys.ENERGY: -10.0 * len(atoms) + 0.25 * WEAK * float((stretch**2).sum()),
            keys.DIPOLE: rng.normal(0, 0.2, 3),
        }
        atoms.info[keys.ORIGIN] = "md"
        atoms.arrays[keys.FORCES] = -WEAK * (
            (stretch / (rest + np.eye(len(atoms))))[:, :, None] * apart
        ).sum(axis=1)
        frames.append(atoms)
    return frames


def _timed_md(
    study: StudySettings,
    molecules: Sequence[Atoms],
    source: tuple[Path, tuple[Path, ...]],
    md_executor: Executor,
) -> tuple[float, int]:
    """Return seconds and steps of MD without its start-up: a long run minus a short one."""
    settings = replace(study.spectrum, nuclei="classical")
    replicas = min(settings.production.replicas, max(1, 64 // len(molecules)))
    length = max(STEPS / (replicas * len(molecules)) * settings.timestep * 1e-3, 0.1)
    timed = []
    for number, part in enumerate((0.05, 0.05, 1.0)):
        simulation = Simulation(
            source=source,
            model="rate",
            md=MD(replicas=replicas, thermalisation=0.0, length=part * length),
            settings=settings,
            temperature=COLD,
            seed=0,
            directory=source[0] / f"md{number}",
            evaluation=study.evaluation,
        )
        started = time.perf_counter()
        simulation.simulate(molecules, md_executor)
        seconds = time.perf_counter() - started
        timed.append((seconds, len(molecules) * replicas * simulation.steps))
    (short, few), (long, many) = timed[1:]
    return max(long - short, 0.1 * long), many - few
