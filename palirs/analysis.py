"""Numbers that say how good a model is: errors of frequencies, energies, forces and dipoles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.mace.committee import Committee, force_spread
from palirs.mace.dipole import DipoleModel
from palirs.recipes import PalirsError
from palirs.units import MILLIDEBYE
from palirs.vibrations import Harmonic, harmonic, optimise


@dataclass(frozen=True)
class Parity:
    """Reference and predicted values, flat, in the unit of their metric."""

    reference: np.ndarray
    predicted: np.ndarray

    def metrics(self, name: str, unit: str) -> dict[str, float]:
        """Return ``<name>.mae_<unit>`` and ``<name>.rmse_<unit>``."""
        deviation = self.predicted - self.reference
        return {
            f"{name}.mae_{unit}": float(np.abs(deviation).mean()),
            f"{name}.rmse_{unit}": float(np.sqrt((deviation**2).mean())),
        }


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
    )
    forces = Parity(
        np.concatenate([atoms.arrays[keys.FORCES].ravel() for atoms in frames]) * 1e3,
        np.concatenate([forces.mean(axis=0).ravel() for forces in found.forces]) * 1e3,
    )
    spread = max(float(force_spread(torch.tensor(forces)).max()) for forces in found.forces)
    return energy, forces, spread


def dipole_parity(model: DipoleModel, frames: Sequence[Atoms]) -> Parity:
    """Compare dipole components with labels [mDebye]."""
    return Parity(
        np.concatenate([np.asarray(atoms.info[keys.DIPOLE]) for atoms in frames]) * MILLIDEBYE,
        model.evaluate(frames)[0].ravel() * MILLIDEBYE,
    )


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
        return Parity(
            np.concatenate(list(self.reference.values())), np.concatenate([self.predicted[name] for name in self.reference])
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
        predicted[name] = harmonic(geometry, precise).frequencies
    return FrequencyComparison({known.atoms.info[keys.MOLECULE]: known.frequencies for known in references}, predicted, tuple(lost))
