"""Targets, predictions and losses of potentials and dipole models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from palirs import keys
from palirs.mace.compiled import Batch, Loss
from palirs.mace.models.dipole import DipoleNetwork, DipoleShape
from palirs.mace.models.graphs import Graph
from palirs.mace.models.potential import PotentialShape
from palirs.mace.models.shape import Shape
from palirs.mace.settings import SecondStage, Training

Tensors = dict[str, Tensor]


class Objective(Protocol):
    """Targets of frames, predictions of a batch, and the loss of their deviations."""

    shape: Any
    training: Training

    def targets(self, frames: Sequence[Atoms], dtype: torch.dtype) -> dict[str, list[Tensor]]:
        """Return for each property one tensor per frame."""
        ...

    def predict(self, model: Any, graph: Graph, positions: Tensor, training: bool) -> Tensors:
        """Return predictions of each property by the module itself."""
        ...

    def predict_compiled(self, batch: Batch, positions: np.ndarray) -> Tensors:
        """Return predictions of each property by compiled code."""
        ...

    def compiled_loss(self, late: bool = False) -> Loss:
        """Return the settings of :meth:`loss` for the compiled code."""
        ...

    def errors(self, predictions: Tensors, targets: Tensors, counts: Tensor) -> Tensors:
        """Return deviations; ``counts`` are the atoms per molecule."""
        ...

    def loss(
        self, errors: Tensors, late: bool = False, row_weights: Tensor | None = None
    ) -> Tensor:
        """Return the scalar to minimise; ``late`` in the second stage.

        ``row_weights`` belong to the rows of forces or dipoles, by default 1.
        """
        ...


@dataclass
class PotentialObjective:
    """Loss and errors of a potential on labelled frames."""

    shape: PotentialShape
    training: Training

    def targets(self, frames: Sequence[Atoms], dtype: torch.dtype) -> dict[str, list[Tensor]]:
        """Return interaction energies (total minus E0) and forces of each frame."""
        e0 = dict(zip(self.shape.elements, self.shape.atomic_energies, strict=True))
        energy = [
            atoms.info[keys.ENERGY] - sum(e0[int(z)] for z in atoms.numbers) for atoms in frames
        ]
        return {
            "energy": [torch.tensor([e], dtype=dtype) for e in energy],
            "forces": [torch.tensor(atoms.arrays[keys.FORCES], dtype=dtype) for atoms in frames],
        }

    def predict(
        self, model: Any, graph: Graph, positions: Tensor, training: bool
    ) -> dict[str, Tensor]:
        """Return interaction energies ``[B]`` [eV] and forces ``[N, 3]`` [eV/Å] by MACE."""
        out = model(graph.inputs(positions.detach().requires_grad_(True)), training=training)
        return {"energy": out["interaction_energy"], "forces": out["forces"]}

    def predict_compiled(self, batch: Batch, positions: np.ndarray) -> dict[str, Tensor]:
        """Return the same by compiled code."""
        energy, forces = batch.forces(positions)
        return {"energy": torch.from_numpy(energy[0]), "forces": torch.from_numpy(forces[0])}

    def compiled_loss(self, late: bool = False) -> Loss:
        """Return the settings of :meth:`loss` for the compiled code."""
        stage, training = self._stage(late), self.training
        return Loss(
            training.loss, training.huber_delta, 1.0, stage.energy_weight, stage.forces_weight
        )

    def errors(
        self, predictions: dict[str, Tensor], targets: dict[str, Tensor], counts: Tensor
    ) -> dict[str, Tensor]:
        """Return the deviations: energy per atom ``[B]`` [eV] and forces ``[N, 3]`` [eV/Å]."""
        return {
            "energy": (predictions["energy"] - targets["energy"]) / counts,
            "forces": predictions["forces"] - targets["forces"],
        }

    def loss(
        self, errors: Tensors, late: bool = False, row_weights: Tensor | None = None
    ) -> Tensor:
        """Weighted errors of energy per atom and forces, see :class:`Training`."""
        stage, energy, forces = self._stage(late), errors["energy"], errors["forces"]
        energy_term = stage.energy_weight * norm(energy[:, None], self.training)
        return energy_term + stage.forces_weight * norm(forces, self.training, row_weights)

    def _stage(self, late: bool) -> Training | SecondStage:
        return self.training.second_stage if late and self.training.second_stage else self.training


@dataclass
class DipoleObjective:
    """Loss and errors of a dipole model on labelled frames."""

    shape: DipoleShape
    training: Training

    def targets(self, frames: Sequence[Atoms], dtype: torch.dtype) -> dict[str, list[Tensor]]:
        """Return the reference dipoles [e·Å]."""
        dipoles = [np.asarray(atoms.info[keys.DIPOLE])[None] for atoms in frames]
        return {"dipole": [torch.tensor(dipole, dtype=dtype) for dipole in dipoles]}

    def predict(
        self, model: DipoleNetwork, graph: Graph, positions: Tensor, training: bool
    ) -> dict[str, Tensor]:
        """Return the dipoles ``[B, 3]`` [e·Å]."""
        with torch.set_grad_enabled(training):
            return {"dipole": model(graph.inputs(positions))}

    def predict_compiled(self, batch: Batch, positions: np.ndarray) -> dict[str, Tensor]:
        """Return the same by compiled code."""
        return {"dipole": torch.from_numpy(batch.dipoles(positions)[0])}

    def compiled_loss(self, late: bool = False) -> Loss:
        """Return the settings of :meth:`loss` for the compiled code."""
        return Loss(self.training.loss, self.training.huber_delta, self.shape.scale)

    def errors(
        self, predictions: dict[str, Tensor], targets: dict[str, Tensor], counts: Tensor
    ) -> dict[str, Tensor]:
        """Return the deviations ``[B, 3]`` [e·Å]."""
        return {"dipole": predictions["dipole"] - targets["dipole"]}

    def loss(
        self, errors: Tensors, late: bool = False, row_weights: Tensor | None = None
    ) -> Tensor:
        """Error in units of the scale of the data, see :class:`Training`."""
        return norm(errors["dipole"] / self.shape.scale, self.training, row_weights)


def objective_of(shape: Shape, training: Training) -> Objective:
    """Return the objective of a model of this shape."""
    if isinstance(shape, PotentialShape):
        return PotentialObjective(shape, training)
    assert isinstance(shape, DipoleShape)
    return DipoleObjective(shape, training)


def norm(errors: Tensor, training: Training, weights: Tensor | None = None) -> Tensor:
    """Weighted mean of the deviations ``[n, components]`` in the norm of the loss."""
    each = weights[:, None] if weights is not None else 1.0
    if training.loss == "mse":
        return (each * errors**2).mean()
    if training.loss == "huber":
        zero = torch.zeros_like(errors)
        huber = torch.nn.functional.huber_loss
        return (each * huber(errors, zero, reduction="none", delta=training.huber_delta)).mean()
    sizes = errors.abs() if errors.shape[1] == 1 else length(errors)[:, None]
    return (each * sizes).mean()


def length(vectors: Tensor) -> Tensor:
    """Length of each vector, smooth at zero (within 1e-4 of the unit)."""
    return torch.sqrt((vectors**2).sum(dim=-1) + 1e-8)
