"""Loss and gradient of a batch of labelled frames.

They come from compiled code on a CPU, from MACE's modules and autograd elsewhere.
"""

import logging
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from palirs.mace.compiled import CompilerError, Frames, Learner, Steps, UnsupportedError, flat
from palirs.mace.models.graphs import Graph, graph, join, species
from palirs.mace.settings import Training
from palirs.mace.training.derivatives import FRACTION, Derivative, displaced, weights
from palirs.mace.training.objectives import Objective, Tensors
from palirs.mace.training.optimisers import Optimiser
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)


@dataclass
class Data:
    """What is learnt, as arrays for compiled code, and as graphs and tensors for MACE's own.

    Labelled frames, then pairs of displaced ones (:class:`Derivative`): entries of
    :class:`palirs.mace.compiled.Frames`.
    """

    frames: Frames
    targets: dict[str, list[Tensor]]
    graphs: list[Graph]
    positions: list[Tensor]

    @classmethod
    def of(
        cls,
        frames: Sequence[Atoms],
        objective: Objective,
        dtype: torch.dtype,
        device: str = "cpu",
        derivatives: Sequence[Derivative] = (),
    ) -> "Data":
        """Turn labels into arrays and tensors; positions are centred, for the sake of float32."""
        frames = [*frames, *displaced(derivatives)]
        centred = [atoms.positions - atoms.positions.mean(axis=0) for atoms in frames]
        elements, targets = objective.shape.elements, objective.targets(frames, dtype)
        numbers = {name: torch.cat(values).double().numpy() for name, values in targets.items()}
        return cls(
            Frames(
                np.array([len(atoms) for atoms in frames]),
                np.ascontiguousarray(
                    species([atoms.numbers for atoms in frames], elements), dtype=np.int32
                ),
                np.concatenate(centred),
                numbers["dipole"] if "dipole" in numbers else numbers["energy"],
                numbers.get("forces"),
                weights(derivatives, objective.training.derivatives),
                2 * FRACTION,
            ),
            {name: [value.to(device) for value in values] for name, values in targets.items()},
            [graph([atoms.numbers], elements, dtype, device) for atoms in frames],
            [torch.tensor(positions, dtype=dtype, device=device) for positions in centred],
        )

    def __len__(self) -> int:
        """Return the number of entries: a pair is one."""
        return self.frames.singles + len(self.frames.pair_weights)

    def chosen(self, frames: Sequence[int]) -> tuple[Graph, Tensor, Tensors, Tensor]:
        """Return graph, positions, targets and atoms per molecule of a batch of frames."""
        targets = {
            name: torch.cat([values[i] for i in frames]) for name, values in self.targets.items()
        }
        positions = torch.cat([self.positions[i] for i in frames])
        counts = torch.tensor(
            self.frames.counts[list(frames)], dtype=positions.dtype, device=positions.device
        )
        return join([self.graphs[i] for i in frames]), positions, targets, counts


class Gradients:
    """Loss and gradient of a model whose parameters are one vector.

    Attributes
    ----------
    vector, gradient : Tensor
        Parameters and their gradient; the parameters of the model are views of the one, their
        ``grad`` of the other.

    Raises
    ------
    PalirsError
        If the backend or the device asked for is not there.
    """

    def __init__(self, model: Any, objective: Objective, training: Training):
        self.model, self._objective = model, objective
        self.vector = flat(model)
        self.gradient = torch.zeros_like(self.vector)
        start = 0
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in trained:
            parameter.grad = self.gradient[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
        self._learner = _learner(model, self.vector, self.gradient, training)
        self.dtype = self.vector.dtype

    @property
    def compiled(self) -> bool:
        """Whether compiled code does the work."""
        return self._learner is not None

    def __call__(self, data: Data, chosen: Sequence[int], late: bool = False) -> float:
        """Return the loss of the chosen entries; its gradient is put into :attr:`gradient`."""
        if self._learner is not None:
            loss = self._objective.compiled_loss(late)
            return float(self._learner.update(data.frames, np.array([chosen]), loss, Steps())[0])
        self.gradient.zero_()
        graph, positions, targets, counts = data.chosen(data.frames.members(chosen))
        predictions = self._objective.predict(self.model, graph, positions, training=True)
        row_weights = None
        if len(data.frames.pair_weights):
            predictions, row_weights = _changes(data.frames, chosen, predictions)
            targets, _ = _changes(replace(data.frames, span=1.0), chosen, targets)
            firsts = [data.frames.members([entry])[0] for entry in chosen]
            counts = counts.new_tensor(data.frames.counts[firsts])
        errors = self._objective.errors(predictions, targets, counts)
        loss = self._objective.loss(errors, late, row_weights)
        loss.backward()
        return float(loss.detach())

    def updates(
        self,
        data: Data,
        order: np.ndarray,
        optimiser: Optimiser,
        average: Tensor,
        decays: np.ndarray,
        late: bool,
    ) -> np.ndarray:
        """Do one update for each row of entries in ``order [updates, batch]``; return the losses.

        ``average`` decays by ``decays [updates]``; schedule-free optimisers average by themselves.
        """
        if self._learner is not None:
            steps = optimiser.planned(len(order), average, decays)
            if steps is not None:
                loss = self._objective.compiled_loss(late)
                return self._learner.update(data.frames, order, loss, steps)
        losses = np.zeros(len(order))
        for number, chosen in enumerate(order):
            losses[number] = self(data, chosen, late)
            optimiser.step()
            if not optimiser.averages:
                average.lerp_(self.vector, 1 - float(decays[number]))
        return losses

    def errors(self, data: Data, size: int = 64) -> Tensors:
        """Return predicted minus labelled values of all frames, by name, as the objective has them.

        Of data without pairs. MACE's own code takes ``size`` frames at a time.
        """
        if self._learner is not None:
            predictions = self._objective.predict_compiled(
                self._learner.batch(data.frames), data.frames.positions
            )
            _, _, targets, counts = data.chosen(range(len(data)))
            return self._objective.errors(predictions, targets, counts)
        collected: dict[str, list[Tensor]] = {}
        for start in range(0, len(data), size):
            chosen = range(start, min(start + size, len(data)))
            graph, positions, targets, counts = data.chosen(chosen)
            predictions = self._objective.predict(self.model, graph, positions, training=False)
            for name, deviation in self._objective.errors(predictions, targets, counts).items():
                collected.setdefault(name, []).append(deviation.detach())
        return {name: torch.cat(parts) for name, parts in collected.items()}

    @contextmanager
    def holding(self, vector: Tensor):
        """Give the model other parameters within a ``with`` block."""
        kept = self.vector.clone()
        self.vector.copy_(vector)
        try:
            yield
        finally:
            self.vector.copy_(kept)


def _changes(
    frames: Frames, entries: Sequence[int], values: Tensors
) -> tuple[Tensors, Tensor | None]:
    """Return values of a batch with those of a pair replaced by their change, and row weights.

    A pair has no energy of its own; the weights belong to the rows of forces or dipoles.
    """
    rows: dict[str, list[Tensor]] = {name: [] for name in values}
    members = frames.members(entries)
    split = {
        name: list(value.split([int(frames.counts[i]) if name == "forces" else 1 for i in members]))
        for name, value in values.items()
    }
    weights = []
    for entry in map(int, entries):
        pair = entry - frames.singles
        for name, parts in split.items():
            first = parts.pop(0)
            if pair >= 0:
                second = parts.pop(0)
                first = 0 * first if name == "energy" else (first - second) / frames.span
            rows[name].append(first)
            if name != "energy":
                weight = float(frames.pair_weights[pair]) if pair >= 0 else 1.0
                weights.append(first.new_full((len(first),), weight))
    return {name: torch.cat(parts) for name, parts in rows.items()}, torch.cat(weights)


def _learner(model: Any, vector: Tensor, gradient: Tensor, training: Training) -> Learner | None:
    if training.device != "cpu" or training.backend == "eager":
        return None
    try:
        return Learner(model, vector, gradient)
    except (CompilerError, UnsupportedError) as problem:
        if training.backend == "native":
            raise PalirsError(
                f"training.backend = native: {problem}; use backend=auto or eager"
            ) from problem
        log.warning("training takes the slower path, MACE's own code: %s", problem)
        return None
