"""Errors of several studies against the number of labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import numpy as np

from palirs.learning.quality.modes import not_learnt
from palirs.recipes import PalirsError
from palirs.results.tables import read_table


@dataclass(frozen=True)
class Course:
    """Errors and labels of the iterations of one study.

    Attributes
    ----------
    way : str
        The group of studies it belongs to, which differ by seed.
    molecule : str
        Name, or names, of its molecules.
    seed : str
        Of the study.
    rows : list of dict
        Of ``test_set/errors.csv``, one per iteration.
    """

    way: str
    molecule: str
    seed: str
    rows: list[dict[str, float]]

    def values(self, key: str) -> np.ndarray:
        """Return a column; NaN where it is empty.

        Of frequencies, that of the modes held out where the others are learnt.
        """
        return np.array([not_learnt(row, key) for row in self.rows])

    def labels_until(self, goals: Mapping[str, float]) -> float:
        """Return the labels of the first iteration that meets all goals, else ``inf``."""
        good = np.all([self.values(key) < goal for key, goal in goals.items()], axis=0)
        return float(self.values("labels.used")[good.argmax()]) if good.any() else np.inf


def find_studies(studies: Mapping[str, str]) -> dict[str, list[Path]]:
    """Return the study directories that patterns name.

    Parameters
    ----------
    studies : mapping
        Name of a group, and a pattern of study directories, such as ``studies/published-*``.

    Raises
    ------
    PalirsError
        If a pattern names none.
    """
    directories = {}
    for way, pattern in studies.items():
        # the name of a study may have brackets
        names = [pattern] if Path(pattern).is_dir() else sorted(glob(pattern))
        directories[way] = [Path(name) for name in names if Path(name, "config.yaml").is_file()]
        if not directories[way]:
            raise PalirsError(
                f"task.studies.{way} = {pattern!r}: there is no study directory of this name"
            )
    return directories


def read_courses(
    studies: Mapping[str, Sequence[Path]], describe: Callable[[Path], tuple[str, str]]
) -> list[Course]:
    """Read the errors of studies on their test sets.

    Parameters
    ----------
    studies : mapping
        Name of a group, and its study directories, by :func:`find_studies`.
    describe : callable
        Gives name of the molecules and seed of a study directory.

    Raises
    ------
    PalirsError
        If one has no test set.
    """
    courses = []
    for way, directories in studies.items():
        for directory in directories:
            file = directory / "test_set" / "errors.csv"
            if not file.is_file():
                raise PalirsError(
                    f"{directory} has no test set; run task=test_set study={directory} first"
                )
            rows = [{key: float(value) for key, value in row.items()} for row in read_table(file)]
            molecule, seed = describe(directory)
            courses.append(Course(way, molecule, seed, rows))
    return courses


def table(courses: Sequence[Course], goals: Mapping[str, float]) -> list[dict[str, object]]:
    """Return the labels until the goals are met, and the last errors, by molecule and group."""
    rows: list[dict[str, object]] = []
    for molecule in dict.fromkeys(course.molecule for course in courses):
        for way in dict.fromkeys(course.way for course in courses):
            group = [
                course for course in courses if (course.molecule, course.way) == (molecule, way)
            ]
            if not group:
                continue
            needed = np.array([course.labels_until(goals) for course in group])
            rows.append(
                {
                    "molecule": molecule,
                    "way": way,
                    "labels": ", ".join(
                        f"{count:.0f}"
                        if np.isfinite(count)
                        else f"> {course.values('labels.used')[-1]:.0f}"
                        for count, course in zip(needed, group, strict=True)
                    ),
                    "mean": float(needed.mean()) if np.isfinite(needed).all() else "",
                    **{
                        f"last {key}": float(np.mean([course.values(key)[-1] for course in group]))
                        for key in goals
                    },
                }
            )
    return rows
