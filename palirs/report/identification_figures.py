"""Figure of the candidates that are most similar to a measured record."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from palirs.report.figures import MEASURED, PREDICTED, STYLE, subplots
from palirs.spectra import Spectrum
from palirs.spectra.identification.matching import Match

DRAWN = 3
"""Candidates that are drawn, the most similar ones."""
ROOM = 1.4
"""Height of a panel over that of its highest band: the text stands above the bands."""


def beside_record(
    record: Spectrum,
    candidates: Mapping[str, Spectrum],
    matches: Sequence[Match],
    window: tuple[float, float],
    sentence: str,
) -> Figure:
    """Draw the first candidates at their best scale, a panel each, over the record.

    Parameters
    ----------
    record : Spectrum
        At the resolution of the candidates.
    candidates : mapping
        Spectra by name.
    matches : sequence of Match
        The most similar first.
    window : tuple of float
        Drawn range [cm⁻¹].
    sentence : str
        Title.
    """
    shown = list(matches[:DRAWN])
    with rc_context(STYLE | {"font.size": 14}):
        figure, axes = subplots(
            len(shown),
            1,
            figsize=(9.5, 1.5 + 2.4 * len(shown)),
            sharex=True,
            squeeze=False,
        )
        for number, (axis, match) in enumerate(zip(axes[:, 0], shown, strict=True)):
            x, y = _normalised(record, window)
            axis.fill_between(x, y, color=MEASURED, alpha=0.3, lw=0, label="record")
            x, y = _normalised(candidates[match.name].scaled(match.scale), window)
            label = "candidate, wavenumbers scaled"
            axis.plot(x, y, color=PREDICTED, lw=1.8, label=label)
            low, high = match.interval
            words = (
                f"{number + 1}. {match.name}:  {match.similarity:.2f} ({low:.2f} to {high:.2f}),  "
                f"wavenumbers × {match.scale:.3f}"
            )
            axis.text(0.01, 0.97, words, transform=axis.transAxes, ha="left", va="top")
            axis.set_ylim(0, ROOM)
            axis.set_yticks([0, 0.5, 1])
        axes[0, 0].legend(
            loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0, fontsize=13
        )
        axes[-1, 0].set_xlim(window[1], window[0])
        axes[-1, 0].set_xlabel("Wavenumber (cm⁻¹)")
        figure.supylabel("Absorption (highest band = 1)", fontsize=14)
        figure.suptitle(sentence, fontsize=15)
        figure.tight_layout()
    return figure


def _normalised(spectrum: Spectrum, window: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return wavenumbers within a window and intensities relative to the highest."""
    part = spectrum.within(*window)
    top = part.intensity.max(initial=0.0)
    return part.wavenumber, np.clip(part.intensity, 0, None) / (top if top > 0 else 1.0)
