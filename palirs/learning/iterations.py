"""The directories of iterations: each appears, complete, by one rename, and is read back as it was written."""

import json
import os
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from palirs import keys
from palirs.learning.exploration import Walker, walkers
from palirs.learning.frequencies import FrequencyComparison
from palirs.learning.state import Plan, State
from palirs.mace.models.committee import Committee
from palirs.mace.models.files import load_committee
from palirs.molecules import read_frames
from palirs.recipes import PalirsError


def complete_iterations(directory: Path) -> list[Path]:
    """Return the directories of the completed iterations of a study, in order."""
    return sorted(
        place
        for place in (directory / "iterations").glob("[0-9][0-9][0-9]")
        if (place / "metrics.json").is_file()
    )


def final_committee(directory: Path) -> Committee:
    """Load the committee of the last completed iteration."""
    if not complete_iterations(directory):
        raise PalirsError(f"{directory}: no completed iteration; run task=active_learning first")
    return load_committee(complete_iterations(directory)[-1])


def expected_errors(directory: Path) -> list[float]:
    """Return the error of the forces that is expected along the exploration by the committee of each iteration [meV/Å].

    That exploration belongs to the next iteration, which may not be complete, as there is none
    after the last; NaN where it is not known.
    """
    found = []
    for place in complete_iterations(directory):
        following = place.parent / f"{int(place.name) + 1:03d}"
        files = [
            file
            for file in (
                following / "sampling.json",
                following.with_suffix(".partial") / "sampling.json",
            )
            if file.is_file()
        ]
        values = json.loads(files[0].read_text())["expected_meV_per_A"].values() if files else ()
        known = [np.nan if value is None else float(value) for value in values]
        found.append(float(np.mean(known)) if known else np.nan)
    return found


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
    record = {
        "iterations_done": done,
        "metrics": metrics,
        "frequencies_cm1": {
            name: {"reference": frequencies.reference[name].tolist(), "committee": values.tolist()}
            for name, values in frequencies.predicted.items()
        },
        "failed": frequencies.failed,
    }
    (place / "metrics.json").write_text(json.dumps(record, indent=1))
    for path in (*place.iterdir(), place):
        _sync(path)
    place.rename(place.with_suffix(""))
    _sync(place.parent)


def restore(place: Path, plan: Plan, since: int = 0) -> State:
    """Read the state after a completed iteration; ``since`` is that of the state before."""
    record, told = (
        json.loads((place / "metrics.json").read_text()),
        json.loads((place / "sampling.json").read_text()),
    )
    done, new = record["iterations_done"], set(plan.molecules) - set(told["molecules"])
    group = read_walkers(place, plan)
    moved = {
        walker.molecule.info[keys.MOLECULE] for walker in group if walker.name in told["stopped"]
    }
    unmoved = any(
        walker.name not in told["stopped"] and walker.molecule.info[keys.MOLECULE] in moved
        for walker in group
    )
    lacking = bool(new) or unmoved
    return State(
        done,
        read_dataset(place),
        group,
        record["metrics"],
        lacking=lacking,
        since=done if new else since,
    )


def read_walkers(place: Path, plan: Plan) -> list[Walker]:
    """Return the walkers as they stood after the exploration of an iteration; those that came since stand at their optimum."""
    group = []
    with np.load(place / "sampling.npz") as arrays:
        for walker in walkers([known.atoms for known in plan.references], plan.sampler):
            molecule = walker.molecule.copy()
            molecule.positions = arrays.get(f"{walker.name}/positions", molecule.positions)
            group.append(
                replace(
                    walker, molecule=molecule, velocities=arrays.get(f"{walker.name}/velocities")
                )
            )
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
