"""Figures of molecules that a committee has not learnt."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from palirs.report.figures import PREDICTED, REFERENCE, STYLE, subplots
from palirs.spectra.store import SpectrumStore


def trust(rows: Sequence[Mapping[str, object]]) -> Figure:
    """Draw expected and true force errors along the MD, and the similarity of the spectra.

    Parameters
    ----------
    rows : sequence of mapping
        Of :func:`palirs.tasks.transfer`.
    """

    def number(row: Mapping[str, object], key: str) -> float:
        return float(str(row.get(key, "nan")))

    rows = sorted(
        rows, key=lambda row: np.nan_to_num(number(row, "expected_meV_per_A"), nan=np.inf)
    )
    places = np.arange(len(rows))[::-1]
    with rc_context(STYLE):
        figure, (left, right) = subplots(1, 2, figsize=(9.5, 1.6 + 0.42 * len(rows)), sharey=True)
        left.plot(
            [number(row, "expected_meV_per_A") for row in rows],
            places,
            "D",
            color=REFERENCE,
            mfc="none",
            label="expected",
        )
        left.errorbar(
            [number(row, "error_meV_per_A") for row in rows],
            places,
            xerr=[number(row, "error_se_meV_per_A") for row in rows],
            fmt="o",
            color=PREDICTED,
            ms=5,
            capsize=2,
            label="true (± standard error)",
        )
        left.set_xscale("log")
        left.set_xlabel("Forces MAE along the MD (meV/Å)")
        middle = np.array([number(row, "pcc_ml_ref") for row in rows])
        ends = np.abs(
            np.array(
                [[number(row, f"pcc_ml_ref_{end}") for row in rows] for end in ("low", "high")]
            )
            - middle
        )
        right.errorbar(
            middle,
            places,
            xerr=ends,
            fmt="o",
            color=PREDICTED,
            ms=5,
            capsize=2,
            label="prediction and reference",
        )
        halves = [number(row, "pcc_ref_ref") for row in rows]
        if np.isfinite(halves).any():
            right.plot(
                halves, places, "|", color=REFERENCE, ms=13, label="reference and itself (halves)"
            )
        right.set_xlabel("Pearson correlation (5 to 95 %)")
        left.set_yticks(
            places,
            [
                f"{row['molecule']}{' (learnt)' if row.get('learnt') else ''}".replace("_", " ")
                for row in rows
            ],
        )
        for axis in (left, right):
            axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=10, borderaxespad=0.2)
            axis.grid(axis="y", alpha=0.3)
        figure.tight_layout()
    return figure


def sheet(store: SpectrumStore) -> Figure:
    """Draw predicted and reference spectra of all molecules over each other, in two columns."""
    spectra = {name: store.read(name) for name in store.molecules}
    spectra = {name: shown for name, shown in spectra.items() if shown}
    with rc_context(STYLE):
        count = max(1, -(-len(spectra) // 2))
        figure, axes = subplots(
            count, 2, figsize=(9.5, 1 + 1.7 * count), sharex=True, squeeze=False
        )
        for axis, (name, shown) in zip(axes.T.ravel(), spectra.items(), strict=False):
            for kind, colour, label in (
                ("reference", REFERENCE, "reference MD"),
                ("predicted", PREDICTED, "palirs"),
            ):
                if kind in shown:
                    part = shown[kind].within(*store.window)
                    axis.plot(
                        part.wavenumber,
                        part.intensity,
                        color=colour,
                        lw=1.1,
                        alpha=0.85,
                        label=label,
                    )
            axis.set_ylim(bottom=0)
            axis.set_title(name.replace("_", " "), fontsize=11, loc="left")
        for axis in axes.ravel()[len(spectra) :]:
            axis.set_axis_off()
        axes[0, 0].set_xlim(store.window[1], store.window[0])
        drawn = [[axis for axis in column if axis.axison] for column in axes.T]
        for axis in (column[-1] for column in drawn if column):  # the lowest of each column
            axis.set_xlabel("Wavenumber (cm⁻¹)")
            axis.tick_params(labelbottom=True)
        figure.supylabel("Intensity (km mol⁻¹ / cm⁻¹)", fontsize=12)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper right", ncols=2, fontsize=10.5)
        figure.tight_layout(rect=(0, 0, 1, 0.97))
    return figure
