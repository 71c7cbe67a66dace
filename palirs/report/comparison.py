"""The spectra of a molecule that a study holds, and how alike they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import find_peaks

from palirs.settings import Spectroscopy
from palirs.spectra import Spectrum, pearson, wasserstein
from palirs.spectra.baseline import measured
from palirs.spectra.files import read_csv, write_csv

PAIRS = {"ml_ref": ("predicted", "reference"), "ml_exp": ("predicted", "experiment"), "ref_exp": ("reference", "experiment")}
"""Which spectra are compared, by the ending of their metrics."""


@dataclass(frozen=True)
class Shelf:
    """The spectra of a study at one temperature.

    Attributes
    ----------
    directory : Path
        Of the study.
    settings : Spectroscopy
        Names the experiments, and the window of comparisons.
    temperature : float
        [K].
    molecules : sequence of str
        Of the study.
    """

    directory: Path
    settings: Spectroscopy
    temperature: float
    molecules: Sequence[str]

    def file(self, molecule: str, kind: str) -> Path:
        """Return the file of a ``predicted`` or ``reference`` spectrum."""
        return self.directory / "spectra" / f"{molecule}-{self.temperature:g}K-{kind}.csv"

    def put(self, molecule: str, kind: str, spectrum: Spectrum) -> None:
        """Write a spectrum."""
        write_csv(self.file(molecule, kind), spectrum)

    def known(self, molecule: str) -> dict[str, Spectrum]:
        """Return what there is of ``predicted``, ``reference`` and ``experiment``."""
        found = {kind: read_csv(self.file(molecule, kind)) for kind in ("predicted", "reference") if self.file(molecule, kind).exists()}
        path = self.settings.experiments(self.molecules).get(molecule)
        if path:
            found["experiment"] = measured(path, self.settings.window)
        return found

    def compare(self, molecule: str) -> dict[str, float]:
        """Return PCC and WD of every pair of spectra of a molecule, ``spectrum.<molecule>.pcc_ml_ref`` and so on."""
        known = self.known(molecule)
        metrics: dict[str, float] = {}
        for short, (a, b) in PAIRS.items():
            if a in known and b in known:
                pair, how = (known[a], known[b], self.settings.window), self.settings.leave_out_saturated
                metrics[f"spectrum.{molecule}.pcc_{short}"] = pearson(*pair, without_saturated=how)
                metrics[f"spectrum.{molecule}.wd_{short}"] = wasserstein(*pair, without_saturated=how)
        return metrics


def band_error(spectrum: Spectrum, trajectories: int, window: tuple[float, float]) -> float:
    """Return the largest relative standard error of the mean at a band, of those above half the highest.

    Parameters
    ----------
    spectrum : Spectrum
        Mean over trajectories, with their standard deviation.
    trajectories : int
        How many.
    window : tuple of float
        Where bands are looked for [cm⁻¹].
    """
    part = spectrum.within(*window)
    assert part.std is not None
    bands, _ = find_peaks(part.intensity, height=0.5 * part.intensity.max())
    if trajectories < 2 or not len(bands):
        return float("nan")
    return float((part.std[bands] / part.intensity[bands]).max() / np.sqrt(trajectories))


def in_words(metrics: Mapping[str, float]) -> str:
    """Return metrics of comparisons for the log: ``pcc_ml_ref 0.982, wd_ml_ref 0.011``."""
    return ", ".join(f"{key.rpartition('.')[2]} {value:.3f}" for key, value in metrics.items())
