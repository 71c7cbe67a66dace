"""Numbers that say how good a model is: errors of frequencies, energies, forces and dipoles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.mace.models.committee import Committee, force_spread
from palirs.mace.models.dipole import DipoleModel
from palirs.recipes import PalirsError
from palirs.units import MILLIDEBYE
from palirs.vibrations import Harmonic, harmonic, optimise


@dataclass(frozen=True)
class Parity:
    """Reference and predicted values, flat, in the unit of their metric; the molecule that each belongs to."""

    reference: np.ndarray
    predicted: np.ndarray
    molecule: np.ndarray

    def metrics(self, name: str, unit: str) -> dict[str, float]:
        """Return ``<name>.mae_<unit>`` and ``<name>.rmse_<unit>``."""
        deviation = self.predicted - self.reference
        return {
            f"{name}.mae_{unit}": float(np.abs(deviation).mean()),
            f"{name}.rmse_{unit}": float(np.sqrt((deviation**2).mean())),
        }

    def by_molecule(self, name: str, unit: str) -> dict[str, dict[str, float]]:
        """Return :meth:`metrics` of each molecule."""
        parts = {str(each): self.molecule == each for each in sorted(set(self.molecule))}
        return {each: Parity(self.reference[m], self.predicted[m], self.molecule[m]).metrics(name, unit) for each, m in parts.items()}

    def count(self, molecule: str) -> int:
        """Return how many values belong to a molecule."""
        return int((self.molecule == molecule).sum())


def above(energy: Parity, optima: Mapping[str, float]) -> Parity:
    """Return energies [meV] relative to those of the optima [eV]."""
    zero = np.array([optima[name] for name in energy.molecule]) * 1e3
    return Parity(energy.reference - zero, energy.predicted - zero, energy.molecule)


def potential_parity(committee: Committee, frames: Sequence[Atoms]) -> tuple[Parity, Parity, float]:
    """Compare the committee mean with labels.

    Returns
    -------
    energy : Parity
        [meV], per molecule, not per atom.
    forces : Parity
        [meV/Å], every component.
    spread : float
        Largest force spread of any atom of any frame [eV/Å].
    """
    import torch

    found = committee.evaluate(frames)
    energy = Parity(
        np.array([atoms.info[keys.ENERGY] for atoms in frames]) * 1e3,
        found.energy.mean(axis=0) * 1e3,
        _molecules(frames, [1] * len(frames)),
    )
    forces = Parity(
        np.concatenate([atoms.arrays[keys.FORCES].ravel() for atoms in frames]) * 1e3,
        np.concatenate([forces.mean(axis=0).ravel() for forces in found.forces]) * 1e3,
        _molecules(frames, [3 * len(atoms) for atoms in frames]),
    )
    spread = max(float(force_spread(torch.tensor(forces)).max()) for forces in found.forces)
    return energy, forces, spread


def dipole_parity(model: DipoleModel, frames: Sequence[Atoms]) -> Parity:
    """Compare dipole components with labels [mDebye]."""
    return Parity(
        np.concatenate([np.asarray(atoms.info[keys.DIPOLE]) for atoms in frames]) * MILLIDEBYE,
        model.evaluate(frames).mean(axis=0).ravel() * MILLIDEBYE,
        _molecules(frames, [3] * len(frames)),
    )


def dipole_spread(model: DipoleModel, frames: Sequence[Atoms]) -> float:
    """Return the standard deviation of the dipole over the members, root mean square over the frames [mDebye]."""
    return float(np.sqrt((model.evaluate(frames).var(axis=0).sum(axis=-1)).mean()) * MILLIDEBYE)


def _molecules(frames: Sequence[Atoms], counts: Sequence[int]) -> np.ndarray:
    return np.repeat([str(atoms.info[keys.MOLECULE]) for atoms in frames], counts)


@dataclass(frozen=True)
class FrequencyComparison:
    """Harmonic frequencies of the committee beside those of the engine.

    Attributes
    ----------
    reference, predicted : dict
        Frequencies [cm⁻¹] by molecule.
    lost : tuple of str
        Molecules that the committee could not relax; their frequencies at the reference geometry are used.
    """

    reference: dict[str, np.ndarray]
    predicted: dict[str, np.ndarray]
    lost: tuple[str, ...]

    def metrics(self) -> dict[str, float]:
        """Return ``harmonic.mae_cm1`` and ``harmonic.rmse_cm1`` over all modes of all molecules."""
        names = np.repeat(list(self.reference), [len(values) for values in self.reference.values()])
        return Parity(
            np.concatenate(list(self.reference.values())), np.concatenate([self.predicted[name] for name in self.reference]), names
        ).metrics("harmonic", "cm1")


def compare_frequencies(committee: Committee, references: Sequence[Harmonic]) -> FrequencyComparison:
    """Harmonic analysis of each molecule at the committee's own optimum, in float64, against the engine's.

    Modes are paired in ascending order.
    """
    precise = committee.double()
    predicted, lost = {}, []
    for known in references:
        name = known.atoms.info[keys.MOLECULE]
        try:
            geometry = optimise(known.atoms, precise, max_steps=200)
        except PalirsError:
            geometry, lost = known.atoms, [*lost, name]
        predicted[name] = harmonic(geometry, precise, modes=len(known.frequencies)).frequencies
    return FrequencyComparison({known.atoms.info[keys.MOLECULE]: known.frequencies for known in references}, predicted, tuple(lost))
