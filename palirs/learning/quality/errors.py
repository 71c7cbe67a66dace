"""Numbers that say how good a model is: errors of energies, forces and dipoles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.mace.models.committee import Committee, force_spread
from palirs.mace.models.dipole import DipoleModel
from palirs.units import MILLIDEBYE


@dataclass(frozen=True)
class Parity:
    """Reference and predicted values, flat, in the unit of their metric, and the frame of each.

    Attributes
    ----------
    reference, predicted : numpy.ndarray
        Shape ``[n]``.
    molecule, origin, group : numpy.ndarray
        Shape ``[n]``, names: molecule, origin of its frame (``thermal``, ``exploration_500K``, of
        ring polymers ``md_300K_16beads``), and group of correlated frames.
    """

    reference: np.ndarray
    predicted: np.ndarray
    molecule: np.ndarray
    origin: np.ndarray
    group: np.ndarray

    @classmethod
    def of(
        cls,
        frames: Sequence[Atoms],
        counts: Sequence[int],
        reference: np.ndarray,
        predicted: np.ndarray,
    ) -> "Parity":
        """Make one of the values of some frames, so many of each."""
        names = [
            [str(atoms.info[keys.MOLECULE]), _origin(atoms), _group(atoms, number)]
            for number, atoms in enumerate(frames)
        ]
        return cls(
            reference, predicted, *np.repeat(np.array(names, dtype=object), counts, axis=0).T
        )

    def metrics(self, name: str, unit: str) -> dict[str, float]:
        """Return ``<name>.mae_<unit>``, its standard error ``mae_se``, and ``rmse``."""
        deviation = self.predicted - self.reference
        metrics = {
            f"{name}.mae_{unit}": float(np.abs(deviation).mean()),
            f"{name}.rmse_{unit}": float(np.sqrt((deviation**2).mean())),
        }
        error = standard_error(np.abs(deviation), self.molecule + "/" + self.group)
        return metrics | ({f"{name}.mae_se_{unit}": error} if np.isfinite(error) else {})

    def by(self, what: np.ndarray, name: str, unit: str) -> dict[str, dict[str, float]]:
        """Return :meth:`metrics` of each molecule (``what = parity.molecule``) or origin."""
        return {
            str(name_): self.part(what == name_).metrics(name, unit) for name_ in sorted(set(what))
        }

    def part(self, which: np.ndarray) -> "Parity":
        """Return some of the values."""
        return Parity(
            self.reference[which],
            self.predicted[which],
            self.molecule[which],
            self.origin[which],
            self.group[which],
        )

    def count(self, molecule: str) -> int:
        """Return how many values belong to a molecule."""
        return int((self.molecule == molecule).sum())


def errors_of_md(metrics: Mapping[str, float]) -> tuple[float, float]:
    """Return the error of the forces on the frames of MD that only test [meV/Å], and its error.

    NaN before there are any.
    """
    names = "forces.md.mae_meV_per_A", "forces.md.mae_se_meV_per_A"
    return metrics.get(names[0], np.nan), metrics.get(names[1], np.nan)


def standard_error(values: np.ndarray, group: np.ndarray) -> float:
    """Return the standard error of a mean over groups of correlated values; NaN for one group.

    Linearised ratio estimator (Cochran 1977, Sampling Techniques, eq. 6.13): groups are
    independent, values within one are not.
    """
    _, inverse = np.unique(group.astype(str), return_inverse=True)
    sums, counts = np.bincount(inverse, weights=values), np.bincount(inverse)
    if len(counts) < 2:
        return float("nan")
    residues = sums - values.mean() * counts
    return float(np.sqrt(len(counts) / (len(counts) - 1) * (residues**2).sum()) / counts.sum())


def above(energy: Parity, optima: Mapping[str, float]) -> Parity:
    """Return energies [meV] relative to those of the optima [eV]."""
    zero = np.array([optima[name] for name in energy.molecule]) * 1e3
    return replace(energy, reference=energy.reference - zero, predicted=energy.predicted - zero)


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
    energies = np.array([atoms.info[keys.ENERGY] for atoms in frames])
    energy = Parity.of(frames, [1] * len(frames), energies * 1e3, found.energy.mean(axis=0) * 1e3)
    forces = Parity.of(
        frames,
        [3 * len(atoms) for atoms in frames],
        np.concatenate([atoms.arrays[keys.FORCES].ravel() for atoms in frames]) * 1e3,
        np.concatenate([forces.mean(axis=0).ravel() for forces in found.forces]) * 1e3,
    )
    spread = max(float(force_spread(torch.tensor(forces)).max()) for forces in found.forces)
    return energy, forces, spread


def dipole_parity(model: DipoleModel, frames: Sequence[Atoms]) -> Parity:
    """Compare dipole components with labels [mDebye]."""
    return Parity.of(
        frames,
        [3] * len(frames),
        np.concatenate([np.asarray(atoms.info[keys.DIPOLE]) for atoms in frames]) * MILLIDEBYE,
        model.evaluate(frames).mean(axis=0).ravel() * MILLIDEBYE,
    )


def dipole_errors(model: DipoleModel, frames: Sequence[Atoms]) -> dict[str, float]:
    """Return the metrics of dipoles on labelled frames; of several models also their spread."""
    spread = {"dipole.std_mD": dipole_spread(model, frames)} if len(model) > 1 else {}
    return dipole_parity(model, frames).metrics("dipole", "mD") | spread


def dipole_spread(model: DipoleModel, frames: Sequence[Atoms]) -> float:
    """Return the spread of the dipole over the members, root mean square over frames [mDebye]."""
    return float(np.sqrt((model.evaluate(frames).var(axis=0).sum(axis=-1)).mean()) * MILLIDEBYE)


def _origin(atoms: Atoms) -> str:
    kelvin = atoms.info.get(keys.TEMPERATURE)
    beads = atoms.info.get(keys.BEADS)
    return (
        str(atoms.info.get(keys.ORIGIN, "unknown"))
        + (f"_{float(kelvin):g}K" if kelvin is not None else "")
        + (f"_{beads}beads" if beads is not None else "")
    )


def _group(atoms: Atoms, number: int) -> str:
    return str(atoms.info.get(keys.GROUP, number))
