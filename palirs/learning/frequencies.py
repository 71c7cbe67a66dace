"""Harmonic frequencies of the committee, the criterion that ends active learning, and intensities with the dipole model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from scipy.optimize import linear_sum_assignment

from palirs import keys
from palirs.mace.models.committee import Committee
from palirs.mace.models.dipole import DipoleModel
from palirs.mace.models.predictor import Predictor
from palirs.recipes import PalirsError
from palirs.vibrations import Harmonic, Source, harmonic, optimise, together

ELSEWHERE = 0.3
"""An atom of the committee's optimum further than this from where the engine has it [Å]: another
minimum, whose modes are others."""
STEPS = 200
"""Of an optimisation by the committee, which starts at the engine's optimum."""

STRONG = 5.0
"""Intensity of the engine [km/mol] above which a relative error says something."""


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
        deviation = np.concatenate(
            [self.deviation(name) for name in self.predicted] or [np.array([np.nan])]
        )
        return {
            "harmonic.mae_cm1": float(np.abs(deviation).mean()),
            "harmonic.rmse_cm1": float(np.sqrt((deviation**2).mean())),
            "harmonic.failed": float(len(self.failed)),
            **{
                f"harmonic.mae_cm1.{name}": float(np.abs(self.deviation(name)).mean())
                for name in self.predicted
            },
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
            text = (
                f"lost mode{'s' if len(lost) > 1 else ''} {', '.join(lost)} cm⁻¹ (now imaginary); "
                if lost
                else ""
            )
            lines.append(f"{name}: {text}furthest off {known:.0f} → {found:.0f} cm⁻¹")
        return lines


def compare_frequencies(
    committee: Committee, references: Sequence[Harmonic]
) -> FrequencyComparison:
    """Harmonic analysis of each molecule at the committee's own optimum, in float64, against the engine's; the molecules share batches."""
    names = [known.atoms.info[keys.MOLECULE] for known in references]
    found = dict(
        zip(
            names,
            together([partial(_own, known) for known in references], committee.double()),
            strict=True,
        )
    )
    return FrequencyComparison(
        {name: known.frequencies for name, known in zip(names, references, strict=True)},
        {name: own.frequencies for name, own in found.items() if not isinstance(own, str)},
        {name: reason for name, reason in found.items() if isinstance(reason, str)},
    )


def _own(known: Harmonic, source: Source) -> Harmonic | str:
    """Return the vibrations at the optimum that another source finds from the engine's, or why there are none."""
    try:
        geometry = optimise(known.atoms, source, max_steps=STEPS)
    except PalirsError:
        return f"the committee finds no optimum within {STEPS} steps"
    if (far := displacement(geometry, known.atoms)) > ELSEWHERE:
        return f"the committee's optimum is another one, an atom lies {far:.2f} Å off"
    return harmonic(geometry, source, modes=len(known.frequencies))


def displacement(atoms: Atoms, target: Atoms) -> float:
    """Return how far the atom that is furthest off lies from its place [Å], once the molecules are superposed."""
    moved = atoms.copy()
    minimize_rotation_and_translation(target, moved)
    return float(np.linalg.norm(moved.positions - target.positions, axis=1).max())


@dataclass(frozen=True)
class IntensityComparison:
    """Intensities [km/mol] of modes in the order of the engine's, by molecule; those that have no optimum or no dipoles are left out."""

    reference: dict[str, np.ndarray] = field(default_factory=dict)
    predicted: dict[str, np.ndarray] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Return the mean absolute error, and the mean relative error of strong modes; also of each molecule. None without molecules."""
        if not self.reference:
            return {}
        metrics = self._errors(list(self.reference), "")
        for name in self.reference:
            metrics |= self._errors([name], f".{name}")
        return metrics

    def _errors(self, names: Sequence[str], ending: str) -> dict[str, float]:
        known = np.concatenate([self.reference[name] for name in names])
        off = np.abs(np.concatenate([self.predicted[name] for name in names]) - known)
        strong = known > STRONG
        relative = (
            {f"harmonic.intensity_relative{ending}": float((off[strong] / known[strong]).mean())}
            if strong.any()
            else {}
        )
        return {f"harmonic.intensity_mae_km_per_mol{ending}": float(off.mean()), **relative}


def compare_intensities(
    committee: Committee, dipole: DipoleModel, references: Sequence[Harmonic]
) -> IntensityComparison:
    """Harmonic intensities at the committee's own optimum against the engine's, mode by mode (see :func:`own_vibrations`)."""
    return paired_intensities(references, own_vibrations(committee, dipole, references))


def paired_intensities(
    references: Sequence[Harmonic], predicted: Mapping[str, Harmonic]
) -> IntensityComparison:
    """Compare the intensities of vibrations by the engine and, by molecule, of :func:`own_vibrations`."""
    compared = IntensityComparison()
    for reference in references:
        name = str(reference.atoms.info[keys.MOLECULE])
        if name in predicted and reference.intensities is not None:
            intensities = predicted[name].intensities
            if intensities is not None:
                compared.reference[name] = reference.intensities
                compared.predicted[name] = intensities
    return compared


def intensities_in_words(metrics: dict[str, float]) -> str:
    """Return what :meth:`IntensityComparison.metrics` says of all molecules together."""
    relative = metrics.get("harmonic.intensity_relative")
    strong = f"no mode is stronger than {STRONG:g} km/mol"
    if relative is not None:
        strong = f"strong modes off by {100 * relative:.0f} % on average"
    return f"MAE {metrics['harmonic.intensity_mae_km_per_mol']:.1f} km/mol, {strong}"


def own_vibrations(
    committee: Committee, dipole: DipoleModel | None, references: Sequence[Harmonic]
) -> dict[str, Harmonic]:
    """Return the vibrations of committee and dipole model at their own optimum, in the order of the engine's modes.

    Modes are paired by their overlap, so that two neighbours that change places are not told apart
    by their order. A molecule that has no optimum like the engine's is left out.
    """
    source = committee.double() if dipole is None else Predictor(committee.double(), dipole)
    found = together([partial(_own, known) for known in references], source)
    return {
        str(known.atoms.info[keys.MOLECULE]): _in_order(known, mine)
        for known, mine in zip(references, found, strict=True)
        if isinstance(mine, Harmonic)
    }


def _in_order(known: Harmonic, mine: Harmonic) -> Harmonic:
    _, order = linear_sum_assignment(-overlap(known, mine))
    intensities = None if mine.intensities is None else mine.intensities[order]
    return replace(
        mine, frequencies=mine.frequencies[order], modes=mine.modes[order], intensities=intensities
    )


def overlap(one: Harmonic, other: Harmonic) -> np.ndarray:
    """Return the squared overlap of mass-weighted modes, ``[modes, modes]``; both geometries are oriented alike."""
    roots = np.sqrt(one.atoms.get_masses())[None, :, None]
    first, second = ((known.modes * roots).reshape(len(known.modes), -1) for known in (one, other))
    return (first @ second.T) ** 2
