"""The figure of several studies: errors against labels."""

from collections.abc import Mapping, Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from palirs.report.figures import STYLE, TAB10, subplots
from palirs.results.courses import Course

ERRORS = {
    "harmonic.mae_cm1": "Harmonic frequencies,\nMAE (cm⁻¹)",
    "forces.mae_meV_per_A": "Forces on the test set,\nMAE (meV/Å)",
}
"""Errors that are drawn, and their axes."""


def labels_against_errors(courses: Sequence[Course], goals: Mapping[str, float]) -> Figure:
    """Draw errors against labels, a column of panels per molecule, a line per study."""
    molecules, ways = (
        list(dict.fromkeys(getattr(course, name) for course in courses))
        for name in ("molecule", "way")
    )
    with rc_context(STYLE):
        figure, axes = subplots(
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
                        color=TAB10[number],
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
            Line2D([], [], marker="o", ms=4, color=TAB10[number], label=way)
            for number, way in enumerate(ways)
        ]
        lines.append(Line2D([], [], color="0.3", lw=1, ls=":", label="goal"))
        figure.legend(
            handles=lines, loc="upper center", ncols=len(lines), bbox_to_anchor=(0.5, 1.06)
        )
        figure.tight_layout()
    return figure
