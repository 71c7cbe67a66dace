"""Harmonic frequencies of the committee beside those of the engine: the criterion that ends active learning."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation

from palirs import keys
from palirs.mace.models.committee import Committee
from palirs.recipes import PalirsError
from palirs.vibrations import Harmonic, Source, harmonic, optimise, together

ELSEWHERE = 0.3
"""An atom of the committee's optimum further than this from where the engine has it [Å]: another minimum, whose modes are others."""
STEPS = 200
"""Of an optimisation by the committee, which starts at the engine's optimum."""


@dataclass(frozen=True)
class FrequencyComparison:
    """Harmonic frequencies of the committee beside those of the engine.

    Attributes
    ----------
    reference, predicted : dict
        Frequencies [cm⁻¹] by molecule, ascending; ``predicted`` lacks those that failed.
    failed : dict
        Why there are none: the committee found no optimum, or another one.
    """

    reference: dict[str, np.ndarray]
    predicted: dict[str, np.ndarray]
    failed: dict[str, str] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Return mean absolute and root mean square error over all modes of the molecules that have an optimum, and how many have none.

        ``harmonic.mae_cm1.<molecule>`` is that of a molecule.
        """
        deviation = np.concatenate([self.deviation(name) for name in self.predicted] or [np.array([np.nan])])
        return {
            "harmonic.mae_cm1": float(np.abs(deviation).mean()),
            "harmonic.rmse_cm1": float(np.sqrt((deviation**2).mean())),
            "harmonic.failed": float(len(self.failed)),
            **{f"harmonic.mae_cm1.{name}": float(np.abs(self.deviation(name)).mean()) for name in self.predicted},
        }

    def deviation(self, name: str) -> np.ndarray:
        """Return what the frequencies of a molecule are off [cm⁻¹]; modes are paired in ascending order."""
        return self.predicted[name] - self.reference[name]

    def remarks(self) -> list[str]:
        """Say what failed, which modes are lost (imaginary) and which one is furthest off, molecule by molecule, worst first."""
        lines = [f"{name}: {reason}" for name, reason in self.failed.items()]
        for name in sorted(self.predicted, key=lambda name: -np.abs(self.deviation(name)).max()):
            pairs = list(zip(self.reference[name], self.predicted[name], strict=True))
            lost = [f"{known:.0f}" for known, found in pairs if found < 0 < known]
            known, found = max(pairs, key=lambda pair: abs(pair[1] - pair[0]))
            text = f"lost mode{'s' if len(lost) > 1 else ''} {', '.join(lost)} cm⁻¹ (now imaginary); " if lost else ""
            lines.append(f"{name}: {text}furthest off {known:.0f} → {found:.0f} cm⁻¹")
        return lines


def compare_frequencies(committee: Committee, references: Sequence[Harmonic]) -> FrequencyComparison:
    """Harmonic analysis of each molecule at the committee's own optimum, in float64, against the engine's; the molecules share batches."""
    names = [known.atoms.info[keys.MOLECULE] for known in references]
    found = dict(zip(names, together([partial(_predicted, known) for known in references], committee.double()), strict=True))
    return FrequencyComparison(
        {name: known.frequencies for name, known in zip(names, references, strict=True)},
        {name: values for name, values in found.items() if not isinstance(values, str)},
        {name: reason for name, reason in found.items() if isinstance(reason, str)},
    )


def _predicted(known: Harmonic, source: Source) -> np.ndarray | str:
    """Return the frequencies [cm⁻¹] at the optimum that another source finds from the engine's, or why there are none."""
    try:
        geometry = optimise(known.atoms, source, max_steps=STEPS)
    except PalirsError:
        return f"the committee finds no optimum within {STEPS} steps"
    if (far := displacement(geometry, known.atoms)) > ELSEWHERE:
        return f"the committee's optimum is another one, an atom lies {far:.2f} Å off"
    return harmonic(geometry, source, modes=len(known.frequencies)).frequencies


def displacement(atoms: Atoms, target: Atoms) -> float:
    """Return how far the atom that is furthest off lies from its place [Å], once the molecules are superposed."""
    moved = atoms.copy()
    minimize_rotation_and_translation(target, moved)
    return float(np.linalg.norm(moved.positions - target.positions, axis=1).max())
