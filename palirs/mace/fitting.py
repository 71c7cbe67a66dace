"""The training loop that potentials and dipole models share.

Data are put into tensors once. The learning rate follows one cycle; an exponential moving average of the weights is validated after
every epoch, the best average is kept, and training ends early when it has stopped improving.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from ase import Atoms
from torch import Tensor
from tqdm import tqdm

from palirs.mace.graphs import Graph, graph
from palirs.mace.settings import Training
from palirs.mace.tracing import record

IMPROVEMENT = 1e-4
"""A relative drop of the validation loss smaller than this does not count as progress."""


class Objective(Protocol):
    """What is learnt: targets of the frames, deviations of a batch, and their weight in the loss."""

    shape: Any

    def targets(self, frames: Sequence[Atoms], dtype: torch.dtype) -> dict[str, list[Tensor]]:
        """Return for each property one tensor per frame."""
        ...

    def errors(self, model: Any, graph: Graph, positions: Tensor, targets: dict[str, Tensor], training: bool) -> dict[str, Tensor]:
        """Return the deviations of a batch from its targets."""
        ...

    def loss(self, errors: dict[str, Tensor]) -> Tensor:
        """Return the scalar to minimise."""
        ...


@dataclass
class Batches:
    """Labelled frames as tensors, cut into batches."""

    objective: Objective
    numbers: list[np.ndarray]
    positions: list[Tensor]
    targets: dict[str, list[Tensor]]

    @classmethod
    def of(cls, frames: Sequence[Atoms], objective: Objective, dtype: torch.dtype) -> "Batches":
        """Turn frames into tensors; positions are centred, which costs float32 nothing and changes no force."""
        centred = [torch.tensor(atoms.positions - atoms.positions.mean(axis=0), dtype=dtype) for atoms in frames]
        return cls(objective, [atoms.numbers for atoms in frames], centred, objective.targets(frames, dtype))

    def batch(self, chosen: Sequence[int]) -> tuple[Graph, Tensor, dict[str, Tensor]]:
        """Return graph, positions and targets of the chosen frames."""
        dtype = self.positions[0].dtype
        return (
            graph([self.numbers[i] for i in chosen], self.objective.shape.elements, dtype),
            torch.cat([self.positions[i] for i in chosen]),
            {name: torch.cat([values[i] for i in chosen]) for name, values in self.targets.items()},
        )

    def split(self, order: Sequence[int], size: int) -> list[Sequence[int]]:
        """Cut an order of frames into batches of at most ``size``."""
        return [order[start : start + size] for start in range(0, len(order), size)]


def fit(
    model: torch.nn.Module,
    objective: Objective,
    train: Sequence[Atoms],
    valid: Sequence[Atoms],
    training: Training,
    seed: int,
    title: str = "training",
    position: int = 0,
    log: Path | None = None,
) -> list[dict[str, float]]:
    """Train a module in place; at the end it holds the best averaged weights.

    Parameters
    ----------
    model : torch.nn.Module
        The module to train.
    objective : Objective
        Loss and deviations.
    train, valid : sequences of Atoms
        Labelled frames; ``valid`` only decides when to stop and which weights to keep.
    training : Training
        Settings.
    seed : int
        Of the order of the frames.
    title, position
        Of the progress bar.
    log : path, optional
        File that gets one JSON line per epoch.

    Returns
    -------
    list of dict
        Per epoch: ``epoch``, ``updates``, ``loss``, ``valid_loss``, RMSE of each property in its own unit, ``seconds``.
    """
    dtype = next(model.parameters()).dtype
    data, held = Batches.of(train, objective, dtype), Batches.of(valid, objective, dtype)
    size = min(training.batch_size, len(train))
    per_epoch = len(train) // size
    epochs = max(1, round(training.updates / per_epoch))
    optimiser = torch.optim.Adam(model.parameters(), lr=training.learning_rate, amsgrad=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, training.learning_rate, total_steps=epochs * per_epoch, pct_start=0.1)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(training.ema_decay))
    gradients = Gradients(model, objective)
    rng = np.random.default_rng(seed)
    history: list[dict[str, float]] = []
    best, best_weights, since = np.inf, None, 0
    started = time.perf_counter()
    bar = tqdm(range(epochs), desc=title, unit="epoch", position=position, leave=False, mininterval=2)
    for epoch in bar:
        losses = []
        for chosen in data.split(rng.permutation(len(train)), size)[:per_epoch]:  # frames that do not fill a batch wait an epoch
            losses.append(gradients(*data.batch(chosen)))
            torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip_gradient)
            optimiser.step()
            schedule.step()
            average.update_parameters(model)
        entry = {"epoch": epoch, "updates": (epoch + 1) * per_epoch, "loss": float(torch.stack(losses).mean())}
        entry |= {**validate(average.module, held), "seconds": time.perf_counter() - started}
        history.append(entry)
        if log is not None:
            with log.open("a") as file:
                file.write(json.dumps(entry) + "\n")
        bar.set_postfix_str(f"valid loss {entry['valid_loss']:.2e}")
        since = 0 if entry["valid_loss"] < best * (1 - IMPROVEMENT) else since + per_epoch
        if entry["valid_loss"] < best:
            best = entry["valid_loss"]
            best_weights = {name: value.clone() for name, value in average.module.state_dict().items()}
        if since > training.patience * training.updates:
            break
    if best_weights is not None:
        model.load_state_dict(best_weights)
    return history


class Gradients:
    """Loss and gradient of a batch; recorded when all batches look alike, which they do when there is one molecule."""

    def __init__(self, model: torch.nn.Module, objective: Objective):
        self._model, self._objective = model, objective
        self._names = [name for name, _ in model.named_parameters()]
        self._parameters = [parameter for _, parameter in model.named_parameters()]
        self._recorded: dict[int, Callable[..., tuple[Tensor, ...]]] = {}
        self._seen: Graph | None = None

    def __call__(self, batch: Graph, positions: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Put the gradient of the loss into the parameters and return the loss."""
        keys, values = list(targets), list(targets.values())

        def loss_and_gradient(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
            given = dict(zip(keys, rest[: len(keys)], strict=True))
            parameters = rest[len(keys) :]
            module = _Functional(self._model, dict(zip(self._names, parameters, strict=True)))
            loss = self._objective.loss(self._objective.errors(module, batch, x, given, training=True))
            return loss.detach(), *torch.autograd.grad(loss, parameters)

        run: Callable[..., tuple[Tensor, ...]] = loss_and_gradient
        if batch is self._seen:
            if id(batch) not in self._recorded:
                self._recorded = {id(batch): record(loss_and_gradient, [positions, *values, *self._parameters])}
            run = self._recorded[id(batch)]
        self._seen = batch
        loss, *gradients = run(positions, *values, *self._parameters)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        return loss


class _Functional:
    """A module called with parameters given from outside."""

    def __init__(self, module: torch.nn.Module, parameters: dict[str, Tensor]):
        self._module, self._parameters = module, parameters

    def __call__(self, inputs: dict[str, Tensor], **kwargs: bool) -> Any:
        return torch.func.functional_call(self._module, self._parameters, (inputs,), kwargs)


def validate(model: torch.nn.Module, held: Batches, size: int = 64) -> dict[str, float]:
    """Return the loss and the RMSE of each property over all held-out frames."""
    collected: dict[str, list[Tensor]] = {}
    for chosen in held.split(range(len(held.numbers)), size):
        for name, deviation in held.objective.errors(model, *held.batch(chosen), training=False).items():
            collected.setdefault(name, []).append(deviation.detach())
    errors = {name: torch.cat(parts) for name, parts in collected.items()}
    result = {"valid_loss": float(held.objective.loss(errors))}
    return result | {f"valid_{name}_rmse": float((deviation**2).mean().sqrt()) for name, deviation in errors.items()}
