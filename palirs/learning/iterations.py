"""Saving and restoring iterations: each directory appears, complete, by one rename."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from palirs.learning.completed import MEASURED, last_iteration, read_dataset
from palirs.learning.confirmation import below_goal
from palirs.learning.quality.convergence import HarmonicErrors
from palirs.learning.quality.frequencies import FrequencyComparison
from palirs.learning.state import LearningSetup, LearningState
from palirs.learning.walkers import Walker, new_walkers
from palirs.mace.models.committee import Committee
from palirs.mace.models.files import dipole_files, load_committee
from palirs.settings import Sampler


def final_committee(directory: Path) -> Committee:
    """Load the committee of the last completed iteration of a study."""
    return load_committee(last_iteration(directory))


def final_dipole_files(directory: Path, members: int) -> tuple[Path, ...]:
    """Return the files, which need not exist, of the dipole models of the last completed iteration.

    They lie in the iteration if it trained them, else beside the iterations, named by the one whose
    data they learnt.
    """
    last = last_iteration(directory)
    files = dipole_files(last, members)
    if all(file.exists() for file in files):
        return files
    names = [f"dipole-{last.name}"] + [f"dipole-{last.name}-{n}" for n in range(1, members)]
    return tuple(directory / f"{name}.safetensors" for name in names)


def save(
    place: Path,
    done: int,
    train: list[Atoms],
    test: list[Atoms],
    metrics: dict[str, float],
    frequencies: FrequencyComparison,
) -> None:
    """Write the results of an iteration, then rename its partial directory to the final name."""
    ase.io.write(place / "train.xyz", train, format="extxyz")
    ase.io.write(place / "test.xyz", test, format="extxyz")
    summary = {
        "iterations_done": done,
        "metrics": metrics,
        "frequencies_cm1": {
            name: {"reference": frequencies.reference[name].tolist(), "committee": values.tolist()}
            for name, values in frequencies.predicted.items()
        },
        "failed": frequencies.failed,
    }
    _complete(place, summary)


def save_confirmed(
    place: Path,
    before: Path,
    done: int,
    train: list[Atoms],
    test: list[Atoms],
    metrics: dict[str, float],
) -> None:
    """Write an iteration that only tested: its models and frequencies are those of ``before``."""
    ase.io.write(place / "train.xyz", train, format="extxyz")
    ase.io.write(place / "test.xyz", test, format="extxyz")
    for model in before.glob("*.safetensors"):
        (place / model.name).unlink(missing_ok=True)
        shutil.copy2(model, place / model.name)
    summary = json.loads((before / "metrics.json").read_text())
    _complete(place, {**summary, "iterations_done": done, "metrics": metrics})


def _complete(place: Path, summary: dict[str, Any]) -> None:
    """Write the summary of an iteration, and give its directory the final name."""
    (place / "metrics.json").write_text(json.dumps(summary, indent=1))
    for path in (*place.iterdir(), place):
        _sync(path)
    place.rename(place.with_suffix(""))
    _sync(place.parent)


def restore(place: Path, setup: LearningSetup, before: LearningState) -> LearningState:
    """Read the state after a completed iteration; ``before`` is that after the one before."""
    summary = json.loads((place / "metrics.json").read_text())
    sampling = json.loads((place / "sampling.json").read_text())
    added = set(setup.molecules) - set(sampling["molecules"])
    walkers = read_walkers(place, setup)
    explored = {w.molecule_name for w in walkers if w.name in sampling["stopped"]}
    unmoved = explored_otherwise(sampling, setup.sampler) or any(
        w.name not in sampling["stopped"] and w.molecule_name in explored for w in walkers
    )
    return LearningState(
        summary["iterations_done"],
        read_dataset(place),
        walkers,
        summary["metrics"],
        HarmonicErrors.from_metrics(summary["metrics"]),
        forces_converged=below_goal(summary["metrics"], setup),
        unsampled=bool(added) or unmoved,
        counted_from=summary["iterations_done"]
        if added or explored_otherwise(sampling, setup.sampler)
        else before.counted_from + (MEASURED in summary["metrics"]),
        history=() if added or unmoved else (*before.history, summary["metrics"]),
    )


def explored_otherwise(sampling: dict[str, Any], sampler: Sampler) -> bool:
    """Tell whether an exploration was one of other nuclei, or of another number of beads."""
    return bool(sampling["stopped"]) and sampling.get("beads") != sampler.ring_beads


def read_walkers(place: Path, setup: LearningSetup) -> list[Walker]:
    """Return the walkers after an exploration; those added since are at their optimum.

    Of a ring polymer that had another number of beads, or was classical, the centroid goes on.
    """
    walkers, beads = [], setup.sampler.ring_beads
    with np.load(place / "sampling.npz") as arrays:
        for walker in new_walkers(setup.optima, setup.sampler):
            molecule = walker.molecule.copy()
            molecule.positions = arrays.get(f"{walker.name}/positions", molecule.positions)
            velocities, modes = (arrays.get(f"{walker.name}/{x}") for x in ("velocities", "modes"))
            if modes is not None and velocities is not None and len(modes) != beads:
                velocities, modes = velocities[0], None
            walkers.append(replace(walker, molecule=molecule, velocities=velocities, modes=modes))
    return walkers


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
