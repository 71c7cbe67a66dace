"""Calibration of the committee's spread by the true error of held-out frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms

from palirs import keys
from palirs.mace.models.committee import Committee, Predictions, force_spread

LEVEL = 0.9
"""Share of frames whose error the upper factor covers."""


@dataclass(frozen=True)
class Calibration:
    """Spread and true error of the forces on held-out frames.

    Attributes
    ----------
    spread : numpy.ndarray
        Shape ``[frames]`` [eV/Å], force spread, mean over the atoms.
    error : numpy.ndarray
        Shape ``[frames]`` [eV/Å], absolute error of a force component of the committee mean, mean
        over atoms and components.
    """

    spread: np.ndarray
    error: np.ndarray

    @property
    def ratios(self) -> np.ndarray:
        """Error over spread of each frame."""
        return self.error / np.maximum(self.spread, 1e-12)

    @property
    def factor(self) -> float:
        """Mean ratio, which turns a spread into an expected error; NaN where there is no spread.

        The least-squares slope of errors that scatter in proportion to the spread. (The ratio of
        the means follows single frames far out.)
        """
        return float(self.ratios.mean()) if self.spread.min() > 0 else float("nan")

    def upper(self, level: float = LEVEL) -> float:
        """Return the factor that bounds the error in this share of frames, ``inf`` for too few.

        Split conformal prediction (Vovk et al. 2005; Hu et al. 2022, doi:10.1088/2632-2153/aca7b1):
        of n held-out frames the ⌈(n + 1)·level⌉-th ratio of error to spread covers another frame of
        the same kind at this level, whatever the distribution.
        """
        ratios = np.sort(self.ratios)
        rank = int(np.ceil((len(ratios) + 1) * level)) - 1
        return float(ratios[rank]) if rank < len(ratios) else float("inf")

    def metrics(self) -> dict[str, float]:
        """Return both factors, without those that are NaN or infinite."""
        factors = {"committee.calibration": self.factor, "committee.calibration_90": self.upper()}
        return {key: value for key, value in factors.items() if np.isfinite(value)}


def calibrate(committee: Committee, frames: Sequence[Atoms]) -> Calibration:
    """Compare spread and error of a committee on labelled, held-out frames."""
    predicted = committee.evaluate(frames)
    errors = [
        np.abs(forces.mean(axis=0) - atoms.arrays[keys.FORCES]).mean()
        for forces, atoms in zip(predicted.forces, frames, strict=True)
    ]
    return Calibration(mean_spread(predicted), np.array(errors))


def mean_spread(predictions: Predictions) -> np.ndarray:
    """Return the force spread of each frame, mean over its atoms, ``[frames]`` [eV/Å]."""
    return np.array(
        [float(force_spread(torch.tensor(forces)).mean()) for forces in predictions.forces]
    )
