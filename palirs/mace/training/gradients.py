"""Loss and gradient of a batch of labelled frames: by compiled code on a CPU, by MACE's modules and autograd elsewhere."""

import logging
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from palirs.mace.compiled import CompilerError, Learner, UnsupportedError, flat
from palirs.mace.models.graphs import Graph, graph, join, species
from palirs.mace.settings import Training
from palirs.mace.training.objectives import Objective, Tensors
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)


@dataclass
class Batch:
    """Some labelled frames, put together."""

    species: np.ndarray
    counts: tuple[int, ...]
    positions: np.ndarray
    targets: Tensors
    graphs: list[Graph]
    places: list[Tensor]


@dataclass
class Data:
    """Labelled frames, on the device once: arrays of species and positions for compiled code, graphs and tensors for MACE's."""

    species: list[np.ndarray]
    positions: list[np.ndarray]
    targets: dict[str, list[Tensor]]
    graphs: list[Graph]
    places: list[Tensor]

    @classmethod
    def of(cls, frames: Sequence[Atoms], objective: Objective, dtype: torch.dtype, device: str = "cpu") -> "Data":
        """Turn frames into arrays; positions are centred, which costs float32 nothing and changes no force."""
        centred = [atoms.positions - atoms.positions.mean(axis=0) for atoms in frames]
        elements = objective.shape.elements
        return cls(
            [species([atoms.numbers], elements) for atoms in frames],
            centred,
            {name: [value.to(device) for value in values] for name, values in objective.targets(frames, dtype).items()},
            [graph([atoms.numbers], elements, dtype, device) for atoms in frames],
            [torch.tensor(positions, dtype=dtype, device=device) for positions in centred],
        )

    def __len__(self) -> int:
        return len(self.species)

    def batch(self, chosen: Sequence[int]) -> Batch:
        """Put the chosen frames together."""
        return Batch(
            np.concatenate([self.species[i] for i in chosen]),
            tuple(len(self.species[i]) for i in chosen),
            np.concatenate([self.positions[i] for i in chosen]),
            {name: torch.cat([values[i] for i in chosen]) for name, values in self.targets.items()},
            [self.graphs[i] for i in chosen],
            [self.places[i] for i in chosen],
        )


class Gradients:
    """Loss and gradient of a model whose parameters are one vector.

    Attributes
    ----------
    vector, gradient : Tensor
        Parameters and their gradient; the parameters of the model are views of the one, their ``grad`` of the other.

    Raises
    ------
    PalirsError
        If the backend or the device asked for is not there.
    """

    def __init__(self, model: Any, objective: Objective, training: Training):
        self.model, self._objective, self._device = model, objective, training.device
        self.vector = flat(model)
        self.gradient = torch.zeros_like(self.vector)
        start = 0
        for parameter in (parameter for parameter in model.parameters() if parameter.requires_grad):
            parameter.grad = self.gradient[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
        self._learner = _learner(model, self.vector, training)
        self.dtype = self.vector.dtype

    @property
    def compiled(self) -> bool:
        """Whether compiled code does the work."""
        return self._learner is not None

    def __call__(self, batch: Batch, late: bool = False) -> Tensor:
        """Put the gradient of the loss into :attr:`gradient` and return the loss."""
        self.gradient.zero_()
        counts = torch.tensor(batch.counts, dtype=self.dtype, device=self._device)
        if self._learner is not None:
            self._learner.refresh()
            together = self._learner.batch(batch.species, batch.counts)
            predictions, rest = self._objective.predict_compiled(self.model, together, batch.positions)
            loss = self._objective.loss(self._objective.errors(predictions, batch.targets, counts), late)
            loss.backward()
            self.gradient += torch.from_numpy(rest())
        else:
            loss = self._objective.loss(self._objective.errors(self._predict(batch, training=True), batch.targets, counts), late)
            loss.backward()
        return loss.detach()

    def errors(self, data: Data, size: int = 64) -> Tensors:
        """Return the deviations of all frames."""
        collected: dict[str, list[Tensor]] = {}
        if self._learner is not None:
            self._learner.refresh()
        for start in range(0, len(data), size):
            batch = data.batch(range(start, min(start + size, len(data))))
            if self._learner is not None:
                together = self._learner.batch(batch.species, batch.counts)
                predictions, _ = self._objective.predict_compiled(self.model, together, batch.positions)
            else:
                predictions = self._predict(batch, training=False)
            counts = torch.tensor(batch.counts, dtype=self.dtype, device=self._device)
            for name, deviation in self._objective.errors(predictions, batch.targets, counts).items():
                collected.setdefault(name, []).append(deviation.detach())
        return {name: torch.cat(parts) for name, parts in collected.items()}

    @contextmanager
    def holding(self, vector: Tensor):
        """Let the model have other parameters for a while."""
        kept = self.vector.clone()
        self.vector.copy_(vector)
        try:
            yield
        finally:
            self.vector.copy_(kept)

    def _predict(self, batch: Batch, training: bool) -> Tensors:
        return self._objective.predict(self.model, join(batch.graphs), torch.cat(batch.places), training)


def _learner(model: Any, vector: Tensor, training: Training) -> Learner | None:
    if training.device != "cpu" or training.backend == "eager":
        return None
    try:
        return Learner(model, vector)
    except (CompilerError, UnsupportedError) as problem:
        if training.backend == "native":
            raise PalirsError(f"training.backend = native: {problem}; use backend=auto or eager") from problem
        log.warning("training takes the slower path, MACE's own code: %s", problem)
        return None
