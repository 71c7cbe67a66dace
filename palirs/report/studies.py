"""Several studies beside each other: what so many labels bought."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from palirs.recipes import PalirsError
from palirs.report.figures import STYLE, TAB10, subplots
from palirs.report.tables import read_table

ERRORS = {
    "harmonic.mae_cm1": "Harmonic frequencies,\nMAE (cm⁻¹)",
    "forces.mae_meV_per_A": "Forces on the test set,\nMAE (meV/Å)",
}


@dataclass(frozen=True)
class Course:
    """What the iterations of one study cost and gave.

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
        """Return a column; not a number where it is empty."""
        return np.array([row.get(key, np.nan) for row in self.rows])

    def labels_until(self, goals: Mapping[str, float]) -> float:
        """Return the labels of the first iteration in which all errors are below their goals; ``inf`` if there is none."""
        good = np.all([self.values(key) < goal for key, goal in goals.items()], axis=0)
        return float(self.values("labels.used")[good.argmax()]) if good.any() else np.inf


def find_studies(studies: Mapping[str, str]) -> dict[str, list[Path]]:
    """Return the study directories that patterns name.

    Parameters
    ----------
    studies : mapping
        Name of a way to do it, and a pattern of study directories, such as ``studies/published-*``.

    Raises
    ------
    PalirsError
        If a pattern names none.
    """
    found = {}
    for way, pattern in studies.items():
        names = (
            [pattern] if Path(pattern).is_dir() else sorted(glob(pattern))
        )  # the name of a study may have brackets
        found[way] = [place for name in names if ((place := Path(name)) / "config.yaml").is_file()]
        if not found[way]:
            raise PalirsError(
                f"task.studies.{way} = {pattern!r}: there is no study directory of this name"
            )
    return found


def read_courses(
    studies: Mapping[str, Sequence[Path]], describe: Callable[[Path], tuple[str, str]]
) -> list[Course]:
    """Read the errors of studies on their test sets.

    Parameters
    ----------
    studies : mapping
        Name of a way to do it, and study directories, by :func:`find_studies`.
    describe : callable
        Gives name of the molecules and seed of a study directory.

    Raises
    ------
    PalirsError
        If one has no test set.
    """
    courses = []
    for way, places in studies.items():
        for place in places:
            file = place / "test_set" / "errors.csv"
            if not file.is_file():
                raise PalirsError(f"{place} has no test set; run task=test_set study={place} first")
            rows = [{key: float(value) for key, value in row.items()} for row in read_table(file)]
            molecule, seed = describe(place)
            courses.append(Course(way, molecule, seed, rows))
    return courses


def table(courses: Sequence[Course], goals: Mapping[str, float]) -> list[dict[str, object]]:
    """Return for each molecule and way the labels until the goals are met, seed by seed, and their mean; and the last errors."""
    rows: list[dict[str, object]] = []
    for molecule in dict.fromkeys(course.molecule for course in courses):
        for way in dict.fromkeys(course.way for course in courses):
            mine = [
                course for course in courses if (course.molecule, course.way) == (molecule, way)
            ]
            if not mine:
                continue
            needed = np.array([course.labels_until(goals) for course in mine])
            rows.append(
                {
                    "molecule": molecule,
                    "way": way,
                    "labels": ", ".join(
                        f"{count:.0f}"
                        if np.isfinite(count)
                        else f"> {course.values('labels.used')[-1]:.0f}"
                        for count, course in zip(needed, mine, strict=True)
                    ),
                    "mean": float(needed.mean()) if np.isfinite(needed).all() else "",
                    **{
                        f"last {key}": float(np.mean([course.values(key)[-1] for course in mine]))
                        for key in goals
                    },
                }
            )
    return rows


def figure(courses: Sequence[Course], goals: Mapping[str, float]) -> Figure:
    """Draw the errors against the labels, a column of panels for each molecule, a line for each study."""
    molecules, ways = (
        list(dict.fromkeys(getattr(course, name) for course in courses))
        for name in ("molecule", "way")
    )
    colours = TAB10
    with rc_context(STYLE):
        drawn, axes = subplots(
            2,
            len(molecules),
            figsize=(1.2 + 3.1 * len(molecules), 6.4),
            sharex="col",
            sharey="row",
            squeeze=False,
        )
        for row, (key, label) in enumerate(ERRORS.items()):
            for column, molecule in enumerate(molecules):
                axis = axes[row, column]
                for course in (course for course in courses if course.molecule == molecule):
                    number = ways.index(course.way)
                    axis.plot(
                        course.values("labels.used"),
                        course.values(key),
                        "o-",
                        ms=4,
                        lw=1.2,
                        alpha=0.75,
                        color=colours[number],
                    )
                axis.axhline(goals[key], color="0.3", lw=1, ls=":")
                axis.set_yscale("log")
                axis.yaxis.set_major_formatter("{x:g}")
            axes[row, 0].set_ylabel(label)
        for axis, molecule in zip(axes[0], molecules, strict=True):
            axis.set_title(molecule.replace("_", " "), fontsize=12)
        for axis in axes[1]:
            axis.set_xlabel("Labels, all told")
            axis.set_xlim(left=0)
        lines = [
            Line2D([], [], marker="o", ms=4, color=colours[number], label=way)
            for number, way in enumerate(ways)
        ]
        lines.append(Line2D([], [], color="0.3", lw=1, ls=":", label="goal"))
        drawn.legend(
            handles=lines, loc="upper center", ncols=len(lines), bbox_to_anchor=(0.5, 1.06)
        )
        drawn.tight_layout()
    return drawn
