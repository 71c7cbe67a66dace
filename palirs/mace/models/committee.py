"""A committee of potentials: energies, forces and their spread for batches of molecules."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from ase import Atoms
from torch import Tensor, nn

from palirs.engines import Properties
from palirs.mace.compiled import Kernel
from palirs.mace.forces.evaluators import evaluator
from palirs.mace.forces.members import Evaluator
from palirs.mace.forces.native import checked_kernel
from palirs.mace.models.graphs import Graph, graph, species
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Evaluation
from palirs.recipes import PalirsError


@dataclass(frozen=True)
class Predictions:
    """Energies and forces by every member for a list of structures.

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

    def __init__(self, shapes: list[PotentialShape], members: list[nn.Module]):
        if len({shape.elements for shape in shapes}) != 1:
            raise PalirsError("the members of a committee must know the same elements")
        self.shapes = shapes
        self.members = [member.eval() for member in members]
        self.elements = shapes[0].elements
        self._kernels = dict[str, Kernel | None]()
        for member in self.members:
            member.requires_grad_(False)

    @classmethod
    def of(cls, parts: Sequence[tuple[PotentialShape, nn.Module]]) -> "Committee":
        """Make a committee from pairs of shape and module."""
        return cls([shape for shape, _ in parts], [module for _, module in parts])

    def __len__(self) -> int:
        return len(self.members)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return next(self.members[0].parameters()).dtype

    def double(self) -> "Committee":
        """Return the committee in float64, for finite differences.

        The modules are built in float64 and given the weights: constants (couplings, Bessel
        frequencies) then have all their digits, as they have in compiled code.
        """
        if self.dtype == torch.float64:
            return self
        return self._in_double

    @cached_property
    def _in_double(self) -> "Committee":
        shapes = [
            replace(shape, architecture=replace(shape.architecture, dtype="float64"))
            for shape in self.shapes
        ]
        copies = [shape.unfilled() for shape in shapes]
        with torch.no_grad():
            for copy, member in zip(copies, self.members, strict=True):
                weights = dict(member.named_parameters())
                for name, parameter in copy.named_parameters():
                    parameter.copy_(weights[name])
        return Committee(shapes, copies)

    def alone(self) -> "list[Committee]":
        """Return each member as a committee of one."""
        return [
            Committee([shape], [member])
            for shape, member in zip(self.shapes, self.members, strict=True)
        ]

    def to(self, device: str) -> "Committee":
        """Return the committee on a device: itself on the CPU, else a copy."""
        if device == "cpu":
            return self
        return Committee(self.shapes, [deepcopy(member).to(device) for member in self.members])

    def graph(self, numbers: Sequence[np.ndarray], device: str = "cpu") -> Graph:
        """Return the static graph of a batch of molecules, given their atomic numbers."""
        return graph(numbers, self.elements, self.dtype, device)

    def species(self, numbers: Sequence[np.ndarray]) -> np.ndarray:
        """Return the index of each atom's element, ``[N]``; an error for unknown elements."""
        return species(numbers, self.elements)

    def isolated(self, kinds: np.ndarray, counts: Sequence[int]) -> Tensor:
        """Return sums of atomic energies, ``[members, B]`` [eV], of atoms given by :meth:`species`.

        Interaction energies are added to them in double precision: a total energy of thousands of
        eV has no meV left in single precision.
        """
        e0 = np.array([shape.atomic_energies for shape in self.shapes])[:, kinds]
        return torch.tensor(
            np.add.reduceat(e0, np.concatenate([[0], np.cumsum(counts)[:-1]]), axis=1)
        )

    def forces(self, batch: Graph, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate every member on one batch by MACE's own code, slower than :meth:`evaluator`.

        Parameters
        ----------
        batch : Graph
            From :meth:`graph`.
        positions : Tensor
            Shape ``[N, 3]`` [Å], any float type.

        Returns
        -------
        energy : Tensor
            Shape ``[members, B]`` [eV], float64.
        forces : Tensor
            Shape ``[members, N, 3]`` [eV/Å].
        """
        energy, forces = self.interaction(batch, positions.to(self.dtype))
        return energy.double() + self.isolated(batch.species.numpy(), batch.counts), forces

    def evaluator(
        self, numbers: Sequence[np.ndarray], settings: Evaluation | None = None, once: bool = False
    ) -> Evaluator:
        """Return :meth:`forces` for one moving batch, by the fastest backend or the one asked for.

        Parameters
        ----------
        numbers : sequence of arrays
            Atomic numbers of each molecule.
        settings : Evaluation, optional
            Backend and device.
        once : bool
            The batch will be evaluated once only.
        """
        return evaluator(self, self.kernel, numbers, settings or Evaluation(), once)

    def kernel(self, radial: str = "table") -> Kernel | None:
        """Return the members as compiled code; ``None``, with a warning, where that fails."""
        if radial not in self._kernels:
            self._kernels[radial] = checked_kernel(self, radial)
        return self._kernels[radial]

    def interaction(self, batch: Graph, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return interaction energies ``[members, B]`` and forces ``[members, N, 3]``, uncast."""
        outputs = [
            member(batch.inputs(positions.detach().requires_grad_(True))) for member in self.members
        ]
        energy = torch.stack([out["interaction_energy"].detach() for out in outputs])
        return energy, torch.stack([out["forces"].detach() for out in outputs])

    def evaluate(self, frames: Sequence[Atoms]) -> Predictions:
        """Evaluate structures of any molecules, in several batches if memory is short."""
        centred = np.concatenate(
            [atoms.positions - atoms.positions.mean(axis=0) for atoms in frames]
        )
        evaluate = self.evaluator([atoms.numbers for atoms in frames], once=True)
        energy, forces = evaluate(torch.tensor(centred))
        pieces = forces.split([len(atoms) for atoms in frames], dim=1)
        return Predictions(energy.numpy(), [piece.numpy() for piece in pieces])

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Return the committee mean of each structure, as engines do (without a dipole)."""
        predictions = self.evaluate(frames)
        return [
            Properties(float(predictions.energy[:, i].mean()), forces.mean(axis=0))
            for i, forces in enumerate(predictions.forces)
        ]


def force_spread(forces: Tensor) -> Tensor:
    """Disagreement of the members on each atom: sqrt(Σ_xyz var), population variance over members.

    Parameters
    ----------
    forces : Tensor
        Shape ``[..., members, N, 3]`` [eV/Å].

    Returns
    -------
    Tensor
        Shape ``[..., N]`` [eV/Å]; zero for a committee of one.
    """
    return forces.var(dim=-3, unbiased=False).sum(dim=-1).sqrt()


def relative_force_error(forces: Tensor, epsilon: float = 0.2) -> Tensor:
    """Spread over (size of the mean force + ε) of each atom, ``[..., N]``.

    ε = 0.2 eV/Å as in MACE's active-learning script.
    """
    return force_spread(forces) / (torch.linalg.norm(forces.mean(dim=-3), dim=-1) + epsilon)
