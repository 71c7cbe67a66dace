"""Figures of learning and errors, with units on every axis."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from palirs.learning.quality.calibration import LEVEL, Calibration
from palirs.learning.quality.errors import Parity, errors_of_md
from palirs.learning.quality.modes import not_learnt

PREDICTED, REFERENCE, MEASURED = "#c1272d", "#1b1b1b", "#0b5fa5"
STYLE: Any = {
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "savefig.dpi": 150,
}

TAB10: Any = colormaps["tab10"].colors  # pyright: ignore[reportAttributeAccessIssue]


def subplots(
    rows: int = 1,
    columns: int = 1,
    *,
    figsize: tuple[float, float],
    layout: Any = None,
    **options: Any,
) -> tuple[Figure, Any]:
    """Make subplots without pyplot: the user's backend stays, and no figure has to be closed."""
    figure = Figure(figsize=figsize, layout=layout)
    return figure, figure.subplots(rows, columns, **options)


def save(figure: Figure, path: Path, vector: bool = False) -> Path:
    """Write a PNG, with ``vector`` a PDF for papers beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for file in (path, path.with_suffix(".pdf")) if vector else (path,):
        part = file.with_suffix(f".{os.getpid()}.part")
        figure.savefig(part, format=file.suffix[1:], bbox_inches="tight")
        part.replace(file)  # another program may be drawing it too
    return path


def learning_curves(
    history: Sequence[Mapping[str, float]], expected: Sequence[float], goals: Sequence[float | None]
) -> Figure:
    """Draw errors of frequencies, energies and forces, and expected forces errors, by iteration."""
    rows = [
        ("harmonic", "cm1", "Harmonic frequencies (cm⁻¹)"),
        ("energy", "meV", "Energy (meV)"),
        ("forces", "meV_per_A", "Forces (meV/Å)"),
    ]
    iterations = np.arange(len(history))
    with rc_context(STYLE):
        figure, axes = subplots(1, 3, figsize=(12, 3.8))
        for axis, (name, unit, label) in zip(axes, rows, strict=True):
            for kind, marker, style in (("mae", "o", "-"), ("rmse", "s", "--")):
                values = [metrics[f"{name}.{kind}_{unit}"] for metrics in history]
                bars = [metrics.get(f"{name}.{kind}_se_{unit}", 0.0) for metrics in history]
                color = PREDICTED if kind == "mae" else REFERENCE
                axis.errorbar(
                    iterations,
                    values,
                    bars,
                    ls=style,
                    marker=marker,
                    color=color,
                    capsize=3,
                    label=kind.upper(),
                )
            held_out = [metrics.get(f"{name}.held_out_mae_{unit}", np.nan) for metrics in history]
            if np.isfinite(held_out).any():
                axis.plot(iterations, held_out, "^", color=MEASURED, label="modes held out")
            axis.set_xlabel("Iteration")
            axis.set_ylabel(label)
            axis.set_ylim(bottom=0)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        md = np.array([errors_of_md(metrics) for metrics in history])
        if np.isfinite(md[:, 0]).any():
            bars = np.nan_to_num(md[:, 1])
            marks = {"fmt": "D", "color": "0.45", "capsize": 3, "label": "MAE, frames of MD alone"}
            axes[2].errorbar(iterations + 0.05, md[:, 0], bars, **marks)
        if np.isfinite(expected).any():
            axes[2].plot(iterations, expected, "^", color=MEASURED, label="expected along MD")
        for axis, goal, text in zip(
            (axes[0], axes[2]), goals, ("goal {:g} cm⁻¹", "goal along MD, {:g} meV/Å"), strict=True
        ):
            if goal is not None:
                axis.axhline(goal, color=MEASURED, lw=1, ls=":", label=text.format(goal))
        for axis in axes:
            axis.set_xlim(-0.3, max(1, len(history) - 1) + 0.3)
            lines = len(axis.get_legend_handles_labels()[1])
            axis.set_ylim(top=(1.1 + 0.16 * lines) * axis.get_ylim()[1])  # room for the legend
            axis.legend(fontsize=10, loc="upper right")
        sizes = ", ".join(f"{metrics['dataset.size']:.0f}" for metrics in history)
        figure.suptitle(
            f"Active learning: error of the committee mean (data set: {sizes} structures)",
            fontsize=12.5,
        )
        figure.tight_layout()
    return figure


def bars(results: Mapping[str, Mapping[str, float]], heads: Mapping[str, str]) -> Figure:
    """Draw results of several studies: a panel for each quantity, a bar for each study.

    Parameters
    ----------
    results : mapping
        Numbers of each study, by their keys.
    heads : mapping
        Keys that are drawn, and what they are called, with the unit in parentheses.
    """
    keys = [key for key in heads if any(key in result for result in results.values())]
    with rc_context(STYLE):
        size = (2.0 + 3.0 * len(keys), 1.4 + 0.42 * len(results))
        figure, axes = subplots(
            1, max(1, len(keys)), figsize=size, sharey=True, squeeze=False, layout="constrained"
        )
        for axis, key in zip(axes[0], keys, strict=False):
            values = [result.get(key, np.nan) for result in results.values()]
            drawn = axis.barh(
                range(len(results)), np.nan_to_num(values), color=PREDICTED, alpha=0.75
            )
            axis.bar_label(
                drawn,
                ["" if np.isnan(value) else f"{value:.4g}" for value in values],
                padding=3,
                fontsize=9,
            )
            axis.set_xlabel(heads[key].replace(" (", "\n("))
            axis.margins(x=0.22)
            axis.xaxis.set_major_locator(MaxNLocator(4))
        axes[0, 0].set_yticks(range(len(results)), list(results))
        axes[0, 0].invert_yaxis()
    return figure


def courses(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Draw the errors of the iterations of several studies against the labels they used."""
    panels = {
        "harmonic.mae_cm1": "Harmonic frequencies (of modes\nnot learnt), MAE (cm⁻¹)",
        "forces.mae_meV_per_A": "Forces on test structures,\nMAE (meV/Å)",
    }
    with rc_context(STYLE):
        figure, axes = subplots(1, 2, figsize=(10, 3.8))
        for axis, (key, label) in zip(axes, panels.items(), strict=True):
            for number, (name, rows) in enumerate(histories.items()):
                values = [not_learnt(row, key) for row in rows]
                axis.plot(
                    [row["labels.used"] for row in rows],
                    values,
                    "o-",
                    ms=4,
                    lw=1.2,
                    color=colour(number),
                    label=name,
                )
            axis.set_xlabel("Reference calculations")
            axis.set_ylabel(label)
            axis.set_xlim(left=0)
            axis.set_ylim(bottom=0)
        figure.tight_layout()
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="upper center",
            ncols=min(4, len(labels)),
            bbox_to_anchor=(0.5, 0.0),
            fontsize=10,
        )
    return figure


def colour(number: int) -> str:
    """Return the colour of one of many lines, as ``#rrggbb``."""
    return to_hex(TAB10[number % 10])


def energy_distribution(initial: np.ndarray, final: np.ndarray) -> Figure:
    """Draw the distributions of energies above the optimum [eV] of the first and the final data."""
    bins = np.linspace(0, max(initial.max(), final.max(), 1e-3), 50)
    with rc_context(STYLE):
        figure, axis = subplots(figsize=(7, 4))
        axis.hist(
            final,
            bins=bins,
            color=PREDICTED,
            alpha=0.6,
            label=f"final data ({len(final)} structures)",
        )
        axis.hist(
            initial,
            bins=bins,
            histtype="step",
            color=REFERENCE,
            lw=1.6,
            label=f"initial data ({len(initial)} structures)",
        )
        axis.set_xlabel("Energy above the optimum (eV)")
        axis.set_ylabel("Structures")
        axis.legend()
    return figure


def principal_components(places: Mapping[str, np.ndarray], shares: Sequence[float]) -> Figure:
    """Draw where structures lie along the first two principal components of their descriptor.

    Parameters
    ----------
    places : mapping
        Name of a set of structures to its coordinates ``[F, 2]``; drawn in this order, the first
        lies lowest.
    shares : sequence of float
        Of the variance, that the two components hold.
    """
    looks = [
        ("o", 9, 0.35, "0.6"),
        ("o", 9, 0.5, PREDICTED),
        ("o", 9, 0.9, REFERENCE),
        ("x", 22, 0.9, MEASURED),
    ]
    with rc_context(STYLE):
        figure, axis = subplots(figsize=(6.4, 5.2))
        for (name, coordinates), (marker, size, alpha, color) in zip(
            places.items(), looks, strict=False
        ):
            look = {
                "s": size,
                "marker": marker,
                "alpha": alpha,
                "color": color,
                "lw": 0 if marker == "o" else 1,
            }
            if len(coordinates):
                axis.scatter(*coordinates.T, **look, label=f"{name} ({len(coordinates)})")
        axis.set_xlabel(f"First principal component of MBTR ({shares[0]:.0%} of the variance)")
        axis.set_ylabel(f"Second principal component ({shares[1]:.0%})")
        axis.legend(
            fontsize=10, markerscale=1.8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0)
        )
        figure.tight_layout()
    return figure


def parity(name: str, unit: str, values: Parity) -> Figure:
    """Draw predicted against reference values of the test frames."""
    with rc_context(STYLE):
        figure, axis = subplots(figsize=(4.8, 4.6))
        ends = [
            min(values.reference.min(), values.predicted.min()),
            max(values.reference.max(), values.predicted.max()),
        ]
        axis.plot(ends, ends, color="0.6", lw=1)
        axis.plot(values.reference, values.predicted, ".", ms=3, color=PREDICTED, alpha=0.6)
        mae = np.abs(values.predicted - values.reference).mean()
        axis.set_title(f"{name}, test frames: MAE {mae:.3g} {unit}", fontsize=12)
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(MaxNLocator(5))
        axis.set_xlabel(f"Reference ({unit})")
        axis.set_ylabel(f"Committee ({unit})" if name != "Dipole" else f"Model ({unit})")
    return figure


def reliability(calibration: Calibration, origins: Sequence[str]) -> Figure:
    """Draw the force error of each test frame against the spread, and the calibration lines.

    Parameters
    ----------
    calibration : Calibration
        Spread and error of each frame.
    origins : sequence of str
        How each frame came to be.
    """
    spread, error, names = 1e3 * calibration.spread, 1e3 * calibration.error, np.array(origins)
    with rc_context(STYLE):
        figure, axis = subplots(figsize=(5.6, 4.6))
        for name, color in zip(sorted(set(origins)), TAB10, strict=False):
            axis.plot(
                spread[names == name],
                error[names == name],
                "o",
                ms=4,
                alpha=0.7,
                color=color,
                label=name.replace("_", " "),
            )
        ends = np.array([spread.min() / 1.3, spread.max() * 1.3])
        axis.plot(
            ends,
            calibration.factor * ends,
            color="0.2",
            lw=1.2,
            label=f"expected, {calibration.factor:.2f} × spread",
        )
        if np.isfinite(calibration.upper()):
            axis.plot(
                ends,
                calibration.upper() * ends,
                color="0.2",
                lw=1,
                ls="--",
                label=f"above {LEVEL:.0%} of frames, {calibration.upper():.2f} ×",
            )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("Spread of the committee's forces, mean over atoms (meV/Å)")
        axis.set_ylabel("Absolute force error, mean (meV/Å)")
        axis.legend(fontsize=10)
        figure.tight_layout()
    return figure
