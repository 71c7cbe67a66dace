"""Harmonic frequencies and intensities by committee and dipole model, against the engine's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from palirs import keys
from palirs.mace.models.committee import Committee
from palirs.mace.models.dipole import DipoleModel
from palirs.mace.models.predictor import Predictor
from palirs.recipes import PalirsError
from palirs.vibrations import Harmonic, Source, harmonic, optimise, together
from palirs.vibrations.matching import ELSEWHERE, displacement, in_order_of

STEPS = 200
"""Of an optimisation by the committee, which starts at the engine's optimum."""

STRONG = 5.0
"""Intensity of the engine [km/mol] above which a mode is strong and has a relative error."""


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
        """Return mean absolute and root mean square error over all modes, and the failures.

        ``harmonic.mae_cm1.<molecule>`` is that of a molecule.
        """
        deviation = self.deviation()
        return {
            "harmonic.mae_cm1": self.mae(),
            "harmonic.rmse_cm1": float(np.sqrt((deviation**2).mean())),
            "harmonic.failed": float(len(self.failed)),
            **{f"harmonic.mae_cm1.{name}": self.mae(name) for name in self.predicted},
        }

    def mae(self, *names: str) -> float:
        """Return the mean absolute error over the modes of these molecules [cm⁻¹].

        By default of all that did not fail; NaN if there is none.
        """
        return float(np.abs(self.deviation(*names)).mean())

    def deviation(self, *names: str) -> np.ndarray:
        """Return the errors of the frequencies of these molecules, or all, by mode [cm⁻¹]."""
        errors = [self.predicted[name] - self.reference[name] for name in names or self.predicted]
        return np.concatenate(errors) if errors else np.array([np.nan])

    def remarks(self) -> list[str]:
        """Return a line for each molecule, worst first: failure, imaginary modes, largest error."""
        lines = [f"{name}: {reason}" for name, reason in self.failed.items()]
        for name in sorted(self.predicted, key=lambda name: -np.abs(self.deviation(name)).max()):
            pairs = list(zip(self.reference[name], self.predicted[name], strict=True))
            lost = [f"{reference:.0f}" for reference, own in pairs if own < 0 < reference]
            reference, own = max(pairs, key=lambda pair: abs(pair[1] - pair[0]))
            text = f"furthest off {reference:.0f} → {own:.0f} cm⁻¹"
            if lost:
                modes = f"lost mode{'s' if len(lost) > 1 else ''} {', '.join(lost)}"
                text = f"{modes} cm⁻¹ (now imaginary); {text}"
            lines.append(f"{name}: {text}")
        return lines


def compare_frequencies(
    committee: Committee, references: Sequence[Harmonic]
) -> FrequencyComparison:
    """Compare harmonic frequencies at the committee's own optima with the engine's, in float64."""
    analyses = [partial(_own_vibrations, reference) for reference in references]
    frequencies, predicted, failed = {}, {}, {}
    for reference, own in zip(references, together(analyses, committee.double()), strict=True):
        name = reference.atoms.info[keys.MOLECULE]
        frequencies[name] = reference.frequencies
        if isinstance(own, str):
            failed[name] = own
        else:
            predicted[name] = own.frequencies
    return FrequencyComparison(frequencies, predicted, failed)


def _own_vibrations(reference: Harmonic, source: Source) -> Harmonic | str:
    """Return the vibrations at a source's optimum near the engine's, or why it fails."""
    try:
        geometry = optimise(reference.atoms, source, max_steps=STEPS)
    except PalirsError:
        return f"the committee finds no optimum within {STEPS} steps"
    if (far := displacement(geometry, reference.atoms)) > ELSEWHERE:
        return f"the committee's optimum is another one, an atom lies {far:.2f} Å off"
    return harmonic(geometry, source, modes=len(reference.frequencies))


@dataclass(frozen=True)
class IntensityComparison:
    """Intensities by molecule, in the engine's order of modes [km/mol]."""

    reference: dict[str, np.ndarray] = field(default_factory=dict)
    predicted: dict[str, np.ndarray] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Return mean absolute error and relative error of strong modes, also by molecule."""
        if not self.reference:
            return {}
        metrics = self._errors(list(self.reference), "")
        for name in self.reference:
            metrics |= self._errors([name], f".{name}")
        return metrics

    def strong(self) -> dict[str, float]:
        """Return the relative error of strong modes by molecule (0: none); of all under ``""``."""
        if not self.reference:
            return {}
        errors = {name: self._relative([name]) for name in self.reference}
        return {"": self._relative(list(self.reference)) or 0.0} | {
            name: error or 0.0 for name, error in errors.items()
        }

    def _relative(self, names: Sequence[str]) -> float | None:
        """Return the relative error of the strong modes of these molecules, if any."""
        reference = np.concatenate([self.reference[name] for name in names])
        deviation = np.abs(np.concatenate([self.predicted[name] for name in names]) - reference)
        strong = reference > STRONG
        return float((deviation[strong] / reference[strong]).mean()) if strong.any() else None

    def _errors(self, names: Sequence[str], ending: str) -> dict[str, float]:
        deviation = np.concatenate([self.predicted[name] - self.reference[name] for name in names])
        metrics = {f"harmonic.intensity_mae_km_per_mol{ending}": float(np.abs(deviation).mean())}
        if (relative := self._relative(names)) is not None:
            metrics[f"harmonic.intensity_relative{ending}"] = relative
        return metrics


def compare_intensities(
    committee: Committee, dipole: DipoleModel, references: Sequence[Harmonic]
) -> IntensityComparison:
    """Compare harmonic intensities at the committee's own optima with the engine's."""
    return paired_intensities(references, own_vibrations(committee, dipole, references))


def paired_intensities(
    references: Sequence[Harmonic], predicted: Mapping[str, Harmonic]
) -> IntensityComparison:
    """Compare intensities by the engine with those of :func:`own_vibrations`."""
    comparison = IntensityComparison()
    for reference in references:
        name = str(reference.atoms.info[keys.MOLECULE])
        own = predicted[name].intensities if name in predicted else None
        if own is not None and reference.intensities is not None:
            comparison.reference[name] = reference.intensities
            comparison.predicted[name] = own
    return comparison


def intensities_in_words(metrics: dict[str, float]) -> str:
    """Return what :meth:`IntensityComparison.metrics` says of all molecules together."""
    relative = metrics.get("harmonic.intensity_relative")
    held_out = metrics.get("harmonic.held_out_intensity")
    strong = f"no mode is stronger than {STRONG:g} km/mol"
    if relative is not None:
        strong = f"strong modes off by {100 * relative:.0f} % on average"
    if held_out is not None:
        strong += f", those of them whose derivatives are not learnt by {100 * held_out:.0f} %"
    return f"MAE {metrics['harmonic.intensity_mae_km_per_mol']:.1f} km/mol, {strong}"


def own_vibrations(
    committee: Committee, dipole: DipoleModel | None, references: Sequence[Harmonic]
) -> dict[str, Harmonic]:
    """Return vibrations by committee and dipole model, in the engine's order of modes.

    Modes are paired by their overlap, so two that change places are not confused. A molecule that
    has no optimum like the engine's is left out.
    """
    source = committee.double() if dipole is None else Predictor(committee.double(), dipole)
    analyses = [partial(_own_vibrations, reference) for reference in references]
    return {
        str(reference.atoms.info[keys.MOLECULE]): in_order_of(reference, own)
        for reference, own in zip(references, together(analyses, source), strict=True)
        if isinstance(own, Harmonic)
    }
