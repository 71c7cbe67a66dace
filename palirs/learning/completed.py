"""The iterations of a study that are complete, as directories; reading them needs no model."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs.molecules import read_frames
from palirs.recipes import PalirsError

MEASURED = "forces.measured_along_md_meV_per_A"
"""Metric of an iteration that only confirmed the one before: error of the forces on frames of MD
that were not learnt; that of one molecule has its name behind it."""
CONFIRMED = "forces.confirmed"
"""Metric of such an iteration: 1 if all molecules met their goals, 0 if learning just ended."""


def complete_iterations(directory: Path) -> list[Path]:
    """Return the directories of the completed iterations of a study, in order."""
    return sorted(
        place
        for place in (directory / "iterations").glob("[0-9][0-9][0-9]")
        if (place / "metrics.json").is_file()
    )


def last_iteration(directory: Path) -> Path:
    """Return the directory of the last completed iteration of a study.

    Raises
    ------
    PalirsError
        If there is none.
    """
    iterations = complete_iterations(directory)
    if not iterations:
        raise PalirsError(
            f"{directory}: no completed iteration; run task=active_learning (or task=study) on "
            "it first"
        )
    return iterations[-1]


def anharmonic_directory(study: Path, molecule: str, by: str) -> Path:
    """Return the directory of a molecule's anharmonic force fields and levels.

    Parameters
    ----------
    study : Path
        Directory of the study.
    molecule : str
        Name.
    by : {"committee", "engine"}
        Whose; the committee is that of the last iteration.
    """
    source = last_iteration(study).name if by == "committee" else by
    return study / "anharmonic" / f"{molecule}-{source}"


def read_metrics(iteration: Path) -> dict[str, float]:
    """Return the metrics of a completed iteration."""
    return json.loads((iteration / "metrics.json").read_text())["metrics"]


def trained(history: Sequence[Mapping[str, float]]) -> int:
    """Return how many of the iterations with these metrics trained a committee."""
    return sum(MEASURED not in metrics for metrics in history)


def read_dataset(iteration: Path) -> list[Atoms]:
    """Return all labelled frames of a completed iteration."""
    return [atoms for name in ("train.xyz", "test.xyz") for atoms in read_frames(iteration / name)]


def expected_errors(directory: Path) -> list[float]:
    """Return the expected error of the forces along MD by the committee of each iteration [meV/Å].

    It was estimated in the exploration of the next iteration, which may not be complete, and does
    not exist after the last one; NaN where it is unknown.
    """
    errors = []
    for iteration in complete_iterations(directory):
        if MEASURED in read_metrics(iteration):
            errors.append(errors[-1] if errors else np.nan)  # the committee is that of before
            continue
        following = iteration.parent / f"{int(iteration.name) + 1:03d}"
        files = (following / "sampling.json", following.with_suffix(".partial") / "sampling.json")
        file = next((file for file in files if file.is_file()), None)
        values = [] if file is None else json.loads(file.read_text())["expected_meV_per_A"].values()
        by_molecule = [np.nan if value is None else float(value) for value in values]
        errors.append(float(np.mean(by_molecule)) if by_molecule else np.nan)
    return errors
