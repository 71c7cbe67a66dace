"""Figures of spectra, wavenumbers falling from left to right."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from palirs.report.figures import MEASURED, PREDICTED, REFERENCE, STYLE, colour, subplots
from palirs.spectra import Spectrum

PANELS = {"predicted": PREDICTED, "reference": REFERENCE, "experiment": MEASURED}
NAMED = 7
"""Bands that get their name, the strongest; of two that lie nearer than :data:`APART` the stronger
one."""
APART = 0.07
"""Of the drawn range."""
SMALLEST = 0.05
"""Of the highest: smaller bands get no name."""
QUIET = (1700.0, 2700.0)
"""Where few molecules absorb [cm⁻¹]."""


def overlay(
    title: str,
    spectra: Mapping[str, Spectrum],
    reference: Spectrum | None,
    window: tuple[float, float],
) -> Figure:
    """Draw predictions of several studies over one another, and the engine's own MD below them.

    Parameters
    ----------
    title : str
        Molecule and temperature.
    spectra : mapping
        Name of each study, and its spectrum.
    reference : Spectrum or None
        Of the engine's own MD.
    window : tuple of float
        Drawn range [cm⁻¹].
    """
    with rc_context(STYLE):
        figure, axis = subplots(figsize=(9.5, 4.2))
        if reference is not None:
            part = reference.within(*window)
            axis.fill_between(
                part.wavenumber, part.intensity, color="0.8", label="reference MD", lw=0
            )
        for number, (name, spectrum) in enumerate(spectra.items()):
            part = spectrum.within(*window)
            axis.plot(part.wavenumber, part.intensity, lw=1.2, color=colour(number), label=name)
        axis.set_xlim(window[1], window[0])
        axis.set_ylim(bottom=0)
        axis.set_xlabel("Wavenumber (cm⁻¹)")
        axis.set_ylabel(f"Absorption ({next(iter(spectra.values())).unit})")
        axis.set_title(title, fontsize=12)
        axis.legend(fontsize=10)
        figure.tight_layout()
    return figure


def spectrum(
    name: str,
    spectra: Mapping[str, Spectrum],
    window: tuple[float, float],
    notes: Mapping[str, str],
    bands: Sequence[Mapping[str, float | str]] = (),
    sticks: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> Figure:
    """Draw prediction, reference, harmonic intensities and experiment, a panel each.

    Parameters
    ----------
    name : str
        Molecule and temperature, for the title.
    spectra : mapping
        ``predicted``, and if there are, ``reference`` and ``experiment``; the first two, in km/mol
        per cm⁻¹, share one scale. ``equal`` is the experiment at their resolution, drawn over it.
    window : tuple of float
        Drawn range [cm⁻¹].
    notes : mapping
        Label of a panel to a line written into it (PCC, WD).
    bands : sequence of mapping
        Rows of :func:`palirs.production.assign`, whose assignments are written at the bands.
    sticks : mapping, optional
        Harmonic wavenumbers [cm⁻¹] and intensities [km/mol] by ``predicted`` and ``reference``, and
        ``moved``: anharmonic wavenumbers.
    """
    drawn = [key for key in ("predicted", "reference") if key in spectra]
    below = (["harmonic"] if sticks else []) + (["experiment"] if "experiment" in spectra else [])
    heights = [
        3.0 if bands else 2.4,
        *[2.4] * (len(drawn) - 1),
        *[1.5 if key == "harmonic" else 2.4 for key in below],
    ]
    curves = [spectra[key] for key in (*drawn, "moved") if key in spectra]
    top = max(_highest(curve.within(*window)) for curve in curves)
    top = top or 1.0  # a molecule without a dipole has a flat one
    with rc_context(STYLE):
        figure, axes = subplots(
            len(heights),
            1,
            figsize=(9.5, 1.2 + sum(heights)),
            sharex=True,
            squeeze=False,
            height_ratios=heights,
        )
        for axis, key in zip(axes[:, 0], [*drawn, *below], strict=True):
            if key == "harmonic":
                _sticks(axis, sticks or {}, window)
                continue
            _curve(axis, key, spectra, window)
            if key != "experiment":
                axis.set_ylim(0, (1.3 if bands and key == "predicted" else 1.05) * top)
            if key in notes:
                axis.text(
                    0.01,
                    0.98,
                    notes[key],
                    transform=axis.transAxes,
                    ha="left",
                    va="top",
                    fontsize=10.5,
                )
        _names(axes[0, 0], bands, spectra["predicted"], window)
        axes[-1, 0].set_xlim(window[1], window[0])
        axes[-1, 0].set_xlabel("Wavenumber (cm⁻¹)")
        figure.suptitle(f"Infrared spectrum of {name}")
        figure.align_ylabels(axes[:, 0])
        figure.tight_layout()
    return figure


def _curve(
    axis: Axes, key: str, spectra: Mapping[str, Spectrum], window: tuple[float, float]
) -> None:
    colour, unit = PANELS[key], spectra[key].unit
    power = (
        0
        if key != "experiment"
        else int(
            np.floor(np.log10(max(1e-30, float(spectra[key].within(*window).intensity.max()))))
        )
    )
    power = power if not -2 <= power <= 3 else 0
    shown = replace(spectra[key], intensity=spectra[key].intensity * 10.0**-power)
    part = shown.within(*window)
    label = f"experiment: {shown.label[:24]}" if shown.measured else shown.label
    equal = spectra.get("equal") if key == "experiment" else None
    faint = 0.35 if equal is not None else 1.0
    axis.plot(
        part.wavenumber,
        part.intensity,
        color=colour,
        lw=0.9 if equal is not None else 1.4,
        alpha=faint,
        label=label,
    )
    if key == "predicted" and "moved" in spectra:
        moved = spectra["moved"].within(*window)
        axis.plot(
            moved.wavenumber,
            moved.intensity,
            ":",
            color="0.2",
            lw=1.5,
            label="bands moved by quantum shifts",
        )
    if equal is not None:
        same = replace(
            equal.within(*window), intensity=equal.within(*window).intensity * 10.0**-power
        )
        axis.plot(
            same.wavenumber, same.intensity, color=colour, lw=1.6, label="at the resolution above"
        )
        # needles of a Q branch would leave nothing of the rest to be seen
        axis.set_ylim(top=1.05 * max(2.2 * same.intensity.max(), 0.4 * part.intensity.max()))
    if part.error is not None and np.isfinite(part.error).any():
        low, high = (
            np.clip(part.intensity - 2 * part.error, 0, None),
            part.intensity + 2 * part.error,
        )
        label_of_band = (
            "± 2 standard errors" if key == "predicted" else None
        )  # once: beside the notes there is no room for more
        axis.fill_between(
            part.wavenumber, low, high, color=colour, alpha=0.25, lw=0, label=label_of_band
        )
    axis.set_ylim(bottom=0)
    if key == "experiment":
        axis.set_ylabel(
            f"Absorption\n({unit}{f' × $10^{{{power}}}$' if power else ''})", fontsize=10
        )
    else:
        axis.set_ylabel("Intensity\n(km mol⁻¹ / cm⁻¹)")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 0.99), ncols=2, borderaxespad=0, fontsize=10.5)


def _edge(spectrum: Spectrum) -> np.ndarray:
    """Return the upper edge of the error band."""
    return spectrum.intensity + (
        0.0 if spectrum.error is None else 2 * np.nan_to_num(spectrum.error)
    )


def _highest(spectrum: Spectrum) -> float:
    return float(_edge(spectrum).max())


def _sticks(
    axis: Axes, sticks: Mapping[str, tuple[np.ndarray, np.ndarray]], window: tuple[float, float]
) -> None:
    looks = {
        "reference": (REFERENCE, "harmonic, engine", "o", 3.2),
        "predicted": (PREDICTED, "harmonic, palirs", "D", 1.4),
        "moved": ("0.55", "anharmonic, palirs", "^", 1.0),
    }
    for key, (tint, label, marker, width) in looks.items():
        if key in sticks:
            x, y = (
                values[(sticks[key][0] >= window[0]) & (sticks[key][0] <= window[1])]
                for values in sticks[key]
            )
            axis.vlines(x, 0, y, color=tint, lw=width)
            axis.plot(x, y, marker, color=tint, ms=2 + width, label=label)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("Intensity\n(km mol⁻¹)")
    axis.legend(
        loc="lower left",
        bbox_to_anchor=(0, 0.97),
        ncols=3,
        borderaxespad=0,
        fontsize=10.5,
        handletextpad=0.2,
    )


def _names(
    axis: Axes,
    bands: Sequence[Mapping[str, float | str]],
    shown: Spectrum,
    window: tuple[float, float],
) -> None:
    """Write the assignments above the strongest bands, where they do not overlap."""
    taken: list[float] = []
    span, edge = window[1] - window[0], _edge(shown)
    top = shown.within(*window).intensity.max()
    for row in sorted(bands, key=lambda row: -float(row["area_km_per_mol"])):
        at = float(row["position_cm1"])
        if (
            len(taken) == NAMED
            or any(abs(at - other) < APART * span for other in taken)
            or str(row["assignment"])[:2] in ("", "no")
        ):
            continue
        if shown.on(np.array([at]))[0] < SMALLEST * top:
            continue
        taken.append(at)
        words = (
            str(row["assignment"]).replace("antisymmetric", "antisym.").replace("symmetric", "sym.")
        )
        text = (
            words.replace("; ", " +\n").replace(" + ", " +\n")
            if "+" in words or ";" in words
            else words.replace(" ", "\n", 1)
        )
        height = float(np.interp(at, shown.wavenumber, edge))
        axis.annotate(
            text,
            (at, height),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8.5,
        )


def temperatures(
    name: str,
    spectra: Mapping[float, Mapping[str, Spectrum]],
    window: tuple[float, float],
    notes: Mapping[float, str],
) -> Figure:
    """Draw the spectra of a molecule at several temperatures, the coldest at the bottom.

    Parameters
    ----------
    name : str
        Of the molecule.
    spectra : mapping
        Temperature [K] to its ``predicted`` spectrum, and ``reference`` if there is one.
    window : tuple of float
        Drawn range [cm⁻¹].
    notes : mapping
        Written beside each temperature.
    """
    step = 0.75 * max(_highest(shown["predicted"].within(*window)) for shown in spectra.values())
    with rc_context(STYLE):
        figure, axis = subplots(figsize=(9.5, 1.6 + 1.25 * len(spectra)))
        for number, temperature in enumerate(sorted(spectra)):
            base = number * step
            for key, colour, style, label in (
                ("reference", REFERENCE, "-", "reference MD"),
                ("predicted", PREDICTED, "-", "palirs"),
            ):
                if key in spectra[temperature]:
                    part = spectra[temperature][key].within(*window)
                    axis.plot(
                        part.wavenumber,
                        base + part.intensity,
                        style,
                        color=colour,
                        lw=1.3,
                        alpha=0.85,
                        label=label if not number else None,
                    )
            words = f"{temperature:g} K" + (
                f", {notes[temperature]}" if temperature in notes else ""
            )
            axis.text(
                sum(QUIET) / 2, base + 0.1 * step, words, ha="center", va="bottom", fontsize=10.5
            )
        axis.set_xlim(window[1], window[0])
        axis.set_ylim(-0.03 * step)
        axis.set_xlabel("Wavenumber (cm⁻¹)")
        axis.set_ylabel("Intensity (km mol⁻¹ / cm⁻¹), shifted")
        axis.legend(
            loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0, fontsize=10.5
        )
        figure.suptitle(f"Infrared spectrum of {name} at several temperatures")
        figure.tight_layout()
    return figure


def lengths(name: str, curves: Mapping[str, Sequence[tuple[float, float, float, float]]]) -> Figure:
    """Draw how alike spectra are against how much MD they are made of.

    Parameters
    ----------
    name : str
        Of the molecule.
    curves : mapping
        Name to rows of simulated time, all trajectories together [ps], median, 5th and 95th
        percentile of the Pearson correlation.
    """
    with rc_context(STYLE):
        figure, axis = subplots(figsize=(7, 4.2))
        for (label, rows), colour in zip(
            curves.items(), (PREDICTED, MEASURED, REFERENCE, "0.5"), strict=False
        ):
            time, middle, low, high = np.array(rows).T
            axis.plot(time, middle, "o-", color=colour, ms=4, label=label)
            axis.fill_between(time, low, high, color=colour, alpha=0.15, lw=0)
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("Simulated time, all trajectories (ps)")
        axis.set_ylabel("Pearson correlation")
        axis.legend(loc="lower right", fontsize=10)
        axis.set_title(f"{name}: spectra of so much MD (median, 5 to 95 %)", fontsize=12)
        figure.tight_layout()
    return figure
