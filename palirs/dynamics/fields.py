"""Where the forces of a batch of trajectories come from: a committee of potentials, or the reference engine itself."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from palirs.engines import Engine

if TYPE_CHECKING:
    from palirs.mace.evaluation.evaluators import Evaluator


class Found(NamedTuple):
    """Energy ``[B]`` [eV], forces ``[N, 3]`` [eV/Å]; of committees also ``[members, N, 3]``, of engines dipoles ``[B, 3]`` [e·Å]."""

    energy: Tensor
    forces: Tensor
    members: Tensor | None = None
    dipole: Tensor | None = None


class Field(Protocol):
    """Forces as a function of the positions of a whole batch."""

    def __call__(self, positions: Tensor) -> Found:
        """Evaluate at positions ``[N, 3]`` [Å]."""
        ...


class CommitteeField:
    """Mean forces of a committee on a batch of molecules.

    Parameters
    ----------
    evaluator : Evaluator
        From :meth:`palirs.mace.Committee.evaluator`.
    """

    def __init__(self, evaluator: "Evaluator"):
        self.evaluator = evaluator

    def __call__(self, positions: Tensor) -> Found:
        """Evaluate every member at once."""
        energy, members = self.evaluator(positions)
        return Found(energy.mean(dim=0), members.mean(dim=0), members)


class EngineField:
    """Forces and dipoles of a reference engine, one molecule after the other."""

    def __init__(self, engine: Engine, molecules: Sequence[Atoms]):
        self._engine, self._calculator = engine, engine.start()
        self._molecules = [Atoms(atoms.numbers, positions=atoms.positions) for atoms in molecules]

    def __call__(self, positions: Tensor) -> Found:
        """Evaluate each trajectory."""
        pieces = positions.split([len(atoms) for atoms in self._molecules])
        found = []
        for atoms, piece in zip(self._molecules, pieces, strict=True):
            atoms.positions = piece.numpy()
            found.append(self._engine.run(self._calculator, atoms))
        return Found(
            energy=torch.tensor([properties.energy for properties in found], dtype=torch.float64),
            forces=torch.tensor(np.concatenate([properties.forces for properties in found])),
            dipole=torch.tensor(np.array([properties.dipole for properties in found])),
        )
