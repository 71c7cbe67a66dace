"""What the next labels will buy, from the errors of the iterations so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from palirs.learning.quality.convergence import EXPECTED, HarmonicErrors
from palirs.settings import Learning

LEAST_GAIN = 0.05
"""An error that is not lower by this share counts as no better."""


@dataclass(frozen=True)
class LearningCurve:
    """Errors of the committees of a study against its labelled structures.

    Attributes
    ----------
    structures : numpy.ndarray
        Shape ``[iterations]``, size of the data set.
    forces : numpy.ndarray
        Shape ``[iterations]``, error expected along MD [meV/Å]; NaN where it is unknown.
    """

    structures: np.ndarray
    forces: np.ndarray

    @classmethod
    def of(cls, history: Sequence[Mapping[str, float]], expected: float) -> "LearningCurve":
        """Make one of the metrics of each iteration, and the last expected error of the forces.

        An iteration's exploration tells the error of the committee before it.
        """
        forces = [metrics.get(EXPECTED, np.nan) for metrics in history[1:]] + [expected]
        return cls(
            np.array([metrics["dataset.size"] for metrics in history]),
            np.where(np.isfinite(forces), forces, np.nan)[: len(history)],
        )

    def forecast(self, more: int) -> tuple[float, float, float] | None:
        """Return the error of the forces with ``more`` structures, and its 68 % interval [meV/Å].

        A power law through the errors (Cortes et al. 1993), a straight line in logarithms, with the
        interval of Student's t. ``None`` before there are three errors, or if they do not fall.
        """
        known = np.isfinite(self.forces) & (self.forces > 0)
        if len(set(self.structures[known])) < 3 or not known[-1]:
            return None
        x, y = np.log(self.structures[known]), np.log(self.forces[known])
        slope, height = np.polyfit(x, y, 1)
        if slope >= 0:
            return None
        there, freedom = np.log(self.structures[-1] + more), len(x) - 2
        variance = ((y - slope * x - height) ** 2).sum() / freedom
        leverage = 1 + 1 / len(x) + (there - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
        width = student.ppf(0.84, freedom) * np.sqrt(variance * leverage)
        value = slope * there + height
        return float(np.exp(value)), float(np.exp(value - width)), float(np.exp(value + width))


def stalled(history: Sequence[Mapping[str, float]], expected: float, goals: Learning) -> bool:
    """Tell whether no error that misses its goal has got better for ``goals.patience`` iterations.

    Errors of frequencies and intensities are those of each molecule, or with ``converge=together``
    of all; that of the forces is the mean over the molecules.

    Parameters
    ----------
    history : sequence of mapping
        Metrics of each iteration.
    expected : float
        Error of the forces expected along MD by the last committee [meV/Å].
    goals : Learning
        Goals and patience.
    """
    if goals.patience is None or len(history) <= goals.patience:
        return False
    forces = LearningCurve.of(history, expected).forces
    errors = [
        _over_goals(metrics, force, goals) for metrics, force in zip(history, forces, strict=True)
    ]
    missed = [name for name, share in errors[-1].items() if not share < 1]
    courses = [np.array([each.get(name, np.inf) for each in errors]) for name in missed]
    return bool(missed) and not any(_improves(course, goals.patience) for course in courses)


def _over_goals(metrics: Mapping[str, float], forces: float, goals: Learning) -> dict[str, float]:
    """Return every error over its goal; infinite where it is unknown."""
    harmonic = HarmonicErrors.from_metrics(metrics)
    frequencies, intensities = harmonic.frequencies, harmonic.intensities
    spreads = {name: harmonic.anharmonic.get(name, np.inf) for name in frequencies}
    if goals.converge == "together":
        spreads = {"": float(np.mean(list(spreads.values())))}
        frequencies, intensities = {"": harmonic.frequency}, {"": harmonic.intensity}
    shares = {f"frequencies {k}": v / max(goals.harmonic_mae, 1e-9) for k, v in frequencies.items()}
    if goals.intensities is not None:
        shares |= {f"intensities {k}": v / goals.intensities for k, v in intensities.items()}
    if goals.anharmonic is not None:
        shares |= {f"anharmonic {k}": v / goals.anharmonic for k, v in spreads.items()}
    if goals.forces_mae is not None:
        shares["forces"] = forces / goals.forces_mae
    if harmonic.failed:
        shares["failed"] = 1.0 + harmonic.failed
    return {name: share if np.isfinite(share) else np.inf for name, share in shares.items()}


def _improves(errors: np.ndarray, patience: int) -> bool:
    """Tell whether one of the last errors is better than all before."""
    return bool(errors[-patience:].min() < (1 - LEAST_GAIN) * errors[:-patience].min())
