"""A committee of potentials: energies and forces of every member for a whole batch of molecules, and what their spread tells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from palirs.engines import Properties
from palirs.mace.dipole import chunks
from palirs.mace.graphs import Graph, graph
from palirs.mace.potential import PotentialShape
from palirs.mace.tracing import record
from palirs.recipes import PalirsError


@dataclass(frozen=True)
class Evaluation:
    """What the members say of a list of structures.

    Attributes
    ----------
    energy : numpy.ndarray
        Shape ``[members, B]`` [eV].
    forces : list of numpy.ndarray
        For each structure, shape ``[members, atoms, 3]`` [eV/Å].
    """

    energy: np.ndarray
    forces: list[np.ndarray]


class Committee:
    """Potentials that differ by their seed.

    Parameters
    ----------
    shapes : list of PotentialShape
        One per member.
    members : list of modules
        The trained potentials.
    """

    def __init__(self, shapes: list[PotentialShape], members: list[Any]):
        if len({shape.elements for shape in shapes}) != 1:
            raise PalirsError("the members of a committee must know the same elements")
        self.shapes = shapes
        self.members = [member.eval() for member in members]
        self.elements = shapes[0].elements
        for member in self.members:
            for parameter in member.parameters():
                parameter.requires_grad_(False)

    @classmethod
    def of(cls, parts: Sequence[tuple[Any, Any]]) -> "Committee":
        """Make a committee from pairs of shape and module."""
        return cls([shape for shape, _ in parts], [module for _, module in parts])

    def __len__(self) -> int:
        return len(self.members)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return next(self.members[0].parameters()).dtype

    def double(self) -> "Committee":
        """Return a copy in float64, for finite differences."""
        copies = []
        for shape, member in zip(self.shapes, self.members, strict=True):
            copy = shape.build()
            copy.load_state_dict(member.state_dict())
            copies.append(copy.double())
        return Committee(self.shapes, copies)

    def graph(self, numbers: Sequence[np.ndarray]) -> Graph:
        """Return the static graph of a batch of molecules, given their atomic numbers."""
        return graph(numbers, self.elements, self.dtype)

    def forces(self, batch: Graph, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate every member on one batch.

        Parameters
        ----------
        batch : Graph
            From :meth:`graph`.
        positions : Tensor
            Shape ``[N, 3]`` [Å], any float type.

        Returns
        -------
        energy : Tensor
            Shape ``[members, B]`` [eV], float64: the interaction energy in the precision of the model plus E0 in double, since a total
            energy of thousands of eV has no meV left in single precision.
        forces : Tensor
            Shape ``[members, N, 3]`` [eV/Å].
        """
        energy, forces = self._interaction(batch, positions.to(self.dtype))
        return energy.double() + self._isolated(batch), forces

    def recorded(self, batch: Graph, positions: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """Return :meth:`forces` for one batch as a recording, for MD: same numbers, less overhead.

        Parameters
        ----------
        batch : Graph
            The batch, fixed from now on.
        positions : Tensor
            Any positions of it, ``[N, 3]`` [Å].
        """
        replay = record(lambda x: self._interaction(batch, x), [positions.to(self.dtype)])
        isolated = self._isolated(batch)

        def forces(x: Tensor) -> tuple[Tensor, Tensor]:
            energy, found = replay(x.to(self.dtype))
            return energy.double() + isolated, found

        return forces

    def _interaction(self, batch: Graph, positions: Tensor) -> tuple[Tensor, Tensor]:
        found = [member(batch.inputs(positions.detach().requires_grad_(True))) for member in self.members]
        return torch.stack([out["interaction_energy"].detach() for out in found]), torch.stack([out["forces"].detach() for out in found])

    def _isolated(self, batch: Graph) -> Tensor:
        e0 = torch.tensor([shape.atomic_energies for shape in self.shapes], dtype=torch.float64)[:, batch.species]
        return torch.zeros(len(self), len(batch.counts), dtype=torch.float64).index_add(1, batch.system, e0)

    def evaluate(self, frames: Sequence[Atoms], batch_atoms: int = 1500) -> Evaluation:
        """Evaluate structures of any mixture of molecules in batches of at most ``batch_atoms`` atoms."""
        energies: list[np.ndarray] = []
        forces: list[np.ndarray] = []
        for part in chunks(frames, batch_atoms):
            chosen = [frames[i] for i in part]
            centred = np.concatenate([atoms.positions - atoms.positions.mean(axis=0) for atoms in chosen])
            energy, force = self.forces(self.graph([atoms.numbers for atoms in chosen]), torch.tensor(centred))
            energies.append(energy.numpy())
            forces += [piece.double().numpy() for piece in force.split([len(atoms) for atoms in chosen], dim=1)]
        return Evaluation(np.concatenate(energies, axis=1), forces)

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Return the committee mean of each structure, in the form that engines give (no dipole)."""
        found = self.evaluate(frames)
        return [Properties(float(found.energy[:, i].mean()), forces.mean(axis=0)) for i, forces in enumerate(found.forces)]


def force_spread(forces: Tensor) -> Tensor:
    """Disagreement of the members on each atom, sqrt(Σ_xyz var) with the population variance over members.

    Parameters
    ----------
    forces : Tensor
        Shape ``[members, N, 3]`` [eV/Å].

    Returns
    -------
    Tensor
        Shape ``[N]`` [eV/Å]; zero for a committee of one.
    """
    return forces.var(dim=0, unbiased=False).sum(dim=-1).sqrt()


def relative_force_error(forces: Tensor, epsilon: float = 0.2) -> Tensor:
    """Spread over (size of the mean force + ε) of each atom, ``[N]``; ε = 0.2 eV/Å as in MACE's active-learning script."""
    return force_spread(forces) / (torch.linalg.norm(forces.mean(dim=0), dim=-1) + epsilon)
