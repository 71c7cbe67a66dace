"""Whether active learning has converged: errors of harmonic vibrations, and of forces along MD."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from palirs.learning.quality.modes import INTENSITY as HELD_OUT_INTENSITY
from palirs.learning.quality.modes import WAVENUMBER as HELD_OUT_WAVENUMBER
from palirs.settings import Learning

EXPECTED = "exploration.force_error_meV_per_A"
BEADS = "exploration.beads"
"""Metric of iterations whose errors along MD are those along ring-polymer MD of so many beads."""
FREQUENCY, FAILED = "harmonic.mae_cm1", "harmonic.failed"
INTENSITY, STRONG_INTENSITY = "harmonic.intensity_mae_km_per_mol", "harmonic.intensity_relative"
ANHARMONIC = "anharmonic.spread_cm1"
"""Metrics; those of one molecule have its name behind them."""


@dataclass(frozen=True)
class HarmonicErrors:
    """Errors of the harmonic vibrations of committee and dipole model against the engine's.

    Where the derivatives along the modes are learnt, an error of all modes says little: each error
    here is then the larger one of that of all modes and that of the modes held out.

    Attributes
    ----------
    frequency : float
        Mean absolute error over the modes of all molecules [cm⁻¹].
    frequencies : dict
        That of each molecule; one without an optimum has none.
    failed : int
        Molecules without an optimum.
    intensity : float
        Mean relative error of the strong modes of all molecules; infinite where intensities were
        not compared, 0 where no mode is strong.
    intensities : dict
        That of each molecule that was compared.
    anharmonic : dict
        Standard deviation of the members' anharmonic fundamentals of each molecule that has them,
        mean over the modes [cm⁻¹].
    """

    frequency: float = np.nan
    frequencies: dict[str, float] = field(default_factory=dict)
    failed: int = 1
    intensity: float = np.inf
    intensities: dict[str, float] = field(default_factory=dict)
    anharmonic: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, float]) -> "HarmonicErrors":
        """Return the errors of an iteration from its metrics."""
        compared = _by_molecule(metrics, INTENSITY)
        strong = _by_molecule(metrics, STRONG_INTENSITY)
        held_out_strong = _by_molecule(metrics, HELD_OUT_INTENSITY)
        held_out = _by_molecule(metrics, HELD_OUT_WAVENUMBER)
        frequencies = _by_molecule(metrics, FREQUENCY)
        intensity = metrics.get(STRONG_INTENSITY, 0.0 if INTENSITY in metrics else np.inf)
        return cls(
            _larger(metrics.get(FREQUENCY, np.nan), metrics.get(HELD_OUT_WAVENUMBER, 0.0)),
            {name: _larger(error, held_out.get(name, 0.0)) for name, error in frequencies.items()},
            int(metrics.get(FAILED, 1)),
            _larger(intensity, metrics.get(HELD_OUT_INTENSITY, 0.0)),
            {
                name: _larger(strong.get(name, 0.0), held_out_strong.get(name, 0.0))
                for name in compared
            },
            _by_molecule(metrics, ANHARMONIC),
        )

    def converged(self, goals: Learning) -> bool:
        """Tell whether all have an optimum, and errors below the goals: each, or on average."""
        if self.failed:
            return False
        if goals.converge == "each":
            return all(self.molecule_converged(name, goals) for name in self.frequencies)
        spread = np.mean([self.anharmonic.get(name, np.inf) for name in self.frequencies])
        return (
            self.frequency < goals.harmonic_mae
            and (goals.intensities is None or self.intensity < goals.intensities)
            and (goals.anharmonic is None or bool(spread < goals.anharmonic))
        )

    def molecule_converged(self, molecule: str, goals: Learning) -> bool:
        """Tell whether the errors of one molecule are below the goals."""
        intensity = self.intensities.get(molecule, np.inf)
        spread = self.anharmonic.get(molecule, np.inf)
        return (
            self.frequencies.get(molecule, np.inf) < goals.harmonic_mae
            and (goals.intensities is None or intensity < goals.intensities)
            and (goals.anharmonic is None or spread < goals.anharmonic)
        )


def _larger(*errors: float) -> float:
    """Return the largest error; NaN if one is."""
    return float(np.max(errors))


def _by_molecule(metrics: Mapping[str, float], name: str) -> dict[str, float]:
    prefix = f"{name}."
    return {
        key.removeprefix(prefix): value for key, value in metrics.items() if key.startswith(prefix)
    }


def converged_molecules(
    force_errors: Mapping[str, float], harmonic: HarmonicErrors, goals: Learning
) -> set[str]:
    """Return the molecules that need no more labels.

    Parameters
    ----------
    force_errors : mapping
        Error of the forces that is expected along the exploration of each molecule [meV/Å].
    harmonic : HarmonicErrors
        Of the committee that explored.
    goals : Learning
        With ``converge=together`` it is all molecules or none, by their averages.
    """
    limit = np.inf if goals.forces_mae is None else goals.forces_mae
    if goals.converge == "each":
        return {
            name
            for name, error in force_errors.items()
            if harmonic.molecule_converged(name, goals)
            and (goals.forces_mae is None or error < limit)
        }
    if not force_errors or goals.forces_mae is None or not harmonic.converged(goals):
        return set()
    return set(force_errors) if np.mean(list(force_errors.values())) < limit else set()
