"""The training loop that potentials and dipole models share.

An exponential moving average of the weights is validated after every epoch, the best average is
kept, and training ends early when it has stopped improving. Checkpoints at the end of epochs let a
training that was killed go on and give the same weights, bit for bit, as one that was not (on a
CPU, with the same number of threads).
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from torch import Tensor
from tqdm import tqdm

from palirs.mace.settings import Training
from palirs.mace.training.cycles import Cycles
from palirs.mace.training.derivatives import Derivative, displaced
from palirs.mace.training.gradients import Data, Gradients
from palirs.mace.training.objectives import Objective
from palirs.mace.training.optimisers import Optimiser
from palirs.mace.training.resume import Progress, ResumeFile
from palirs.recipes import PalirsError

BRANCH = "branch."
"""Prefix of the tensors that a decay began from."""
IMPROVEMENT = 1e-4
"""A relative drop of the validation loss smaller than this does not count as progress."""


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
    until: float = 1.0,
    derivatives: Sequence[Derivative] = (),
) -> list[dict[str, float]] | None:
    """Train a module in place; at the end it holds the best averaged weights.

    Parameters
    ----------
    model : torch.nn.Module
        The module to train.
    objective : Objective
        Loss and deviations.
    train, valid : sequences of Atoms
        Labelled frames; ``valid`` only decides when to stop and which weights to keep. Without any
        the schedule goes to its end, and the last weights are kept.
    training : Training
        Settings.
    seed : int
        Of the order of the frames.
    title, position
        Of the progress bar.
    log : path, optional
        File that gets one JSON line per epoch; the checkpoint is beside it, see
        :class:`ResumeFile`.
    until : float
        Share of the epochs after which to pause; needs ``log``, from which the next call goes on.
    derivatives : sequence of Derivative
        Learnt beside the frames; an epoch has each of them once.

    Returns
    -------
    list of dict, or None
        Per epoch: ``epoch``, ``updates``, ``learning_rate``, ``loss``, ``valid_loss``, RMSE and MAE
        of each property in its own unit, ``seconds``. ``None`` if the training was paused.
    """
    run = Run(model, objective, train, valid, training, seed, derivatives)
    everything = (train, valid, displaced(derivatives))
    file = ResumeFile(log, model, everything, training, seed) if log is not None else None
    history = run.resume(file) if file is not None else []
    end = max(1, round(until * run.epochs))
    saved = time.perf_counter()
    bar = tqdm(
        range(run.at.epoch, end),
        desc=title,
        unit="epoch",
        position=position,
        leave=False,
        mininterval=2,
    )
    for _ in bar:
        if not run.goes_on():
            break
        entry = run.epoch()
        history.append(entry)
        bar.set_postfix_str(
            f"valid loss {entry['valid_loss']:.2e}" if valid else f"loss {entry['loss']:.2e}",
            refresh=False,
        )
        if file is not None:
            file.log(entry)
            if time.perf_counter() - saved >= training.save_interval:
                file.write(run.tensors, run.at, run.optimiser)
                saved = time.perf_counter()
    else:
        if file is not None and end < run.epochs:
            file.write(run.tensors, run.at, run.optimiser)
            return None
    run.finish(title)
    return history


class Run:
    """State of a training: parameters, their average, the best average, optimiser and data."""

    def __init__(
        self,
        model: torch.nn.Module,
        objective: Objective,
        train: Sequence[Atoms],
        valid: Sequence[Atoms],
        training: Training,
        seed: int,
        derivatives: Sequence[Derivative] = (),
    ):
        self.model, self.objective, self.training = model.to(training.device), objective, training
        self.gradients = Gradients(model, objective, training)
        self.vector = self.gradients.vector
        self.data = Data.of(train, objective, self.vector.dtype, training.device, derivatives)
        self.held = Data.of(valid, objective, self.vector.dtype, training.device) if valid else None
        self.size = min(training.batch_size, len(self.data))
        self.per_epoch = len(self.data) // self.size
        self.cycles: Cycles | None = None
        self.epochs = max(1, training.updates // self.per_epoch)
        if training.schedule == "doubling":
            self.cycles = Cycles.of(training.shortest, training.updates, self.per_epoch)
            self.epochs = self.cycles.epochs
        self.optimiser = Optimiser(
            self.vector,
            self.gradients.gradient,
            training,
            self.epochs * self.per_epoch,
            self.per_epoch,
        )
        self.branch: dict[str, Tensor] = {}
        self.average, self.best = self.vector.clone(), self.vector.clone()
        self.rng, self.at = np.random.default_rng(seed), Progress()
        self._before, self._started = 0.0, time.perf_counter()

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint, without the optimiser's own."""
        return {"vector": self.vector, "average": self.average, "best": self.best, **self.branch}

    def resume(self, file: ResumeFile) -> list[dict[str, float]]:
        """Restore the checkpoint of this training, if any, and return the history until it."""
        checkpoint = file.read()
        if checkpoint is None:
            return []
        tensors, self.at, optimiser = checkpoint
        self.branch = {name: tensors.pop(name) for name in list(tensors) if name.startswith(BRANCH)}
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors.pop(name, tensor))
        self.optimiser.restore(tensors, optimiser)
        self.rng.bit_generator.state = self.at.random
        self._before, self._started = self.at.seconds, time.perf_counter()
        return file.history(self.at.epoch)

    def goes_on(self) -> bool:
        """Begin the second stage when it is due; return whether another epoch is to follow."""
        if self.cycles:
            return self._doubles(self.cycles)
        at, stage = self.at, self.training.second_stage
        stalled = at.since > self.training.patience * self.training.updates
        if stage and not at.late and (stalled or at.epoch >= stage.start * self.epochs):
            # losses with the new weights cannot be compared with earlier ones
            at.late, at.best, at.since = True, float("inf"), 0
            self.optimiser.begin_stage(stage.learning_rate)
            return True
        return not stalled

    def _doubles(self, cycles: Cycles) -> bool:
        """Begin a decay at the end of a length; after it, go back to the trunk if doubling paid.

        Returns whether another epoch is to follow.
        """
        at = self.at
        if at.decaying == 0 and self.branch:
            if at.cycle + 1 == len(cycles) or at.best > at.before * (1 - self.training.gain):
                return False
            at.before, at.cycle = at.best, at.cycle + 1
            kept = {name.removeprefix(BRANCH): value for name, value in self.branch.items()}
            self.vector.copy_(kept.pop("vector"))
            self.average.copy_(kept.pop("average"))
            self.optimiser.restore(kept, at.branch["optimiser"])
            self.rng.bit_generator.state = at.branch["random"]
            self.branch, at.branch = {}, None
        if at.decaying == 0 and at.trunk >= cycles.trunk[at.cycle]:
            tensors, optimiser = self.optimiser.state()
            at.branch = {"optimiser": optimiser, "random": self.rng.bit_generator.state}
            kept = {"vector": self.vector, "average": self.average, **tensors}
            self.branch = {f"{BRANCH}{name}": value.clone() for name, value in kept.items()}
            at.decaying = cycles.decay[at.cycle]
            self.optimiser.decay(at.decaying * self.per_epoch)
        return True

    def epoch(self) -> dict[str, float]:
        """Train one epoch, validate the average, keep it if best; return the log entry."""
        learning_rate = self.optimiser.learning_rate
        loss = self._pass()
        if self.optimiser.averages:
            self.optimiser.average(True)
            self.average.copy_(self.vector)
        measured: dict[str, float] = {}
        if self.held is not None:
            with self.gradients.holding(self.average):
                measured = validate(self.gradients, self.objective, self.held, self.at.late)
            self.optimiser.validated(measured["valid_loss"])
        self.optimiser.average(False)
        self._keep(measured.get("valid_loss", loss))
        at = self.at
        at.epoch, at.random = at.epoch + 1, self.rng.bit_generator.state
        if self.branch:
            at.decaying -= 1
        else:
            at.trunk += 1
        at.seconds = self._before + time.perf_counter() - self._started
        head: dict[str, float] = {
            "epoch": at.epoch - 1,
            "updates": self._behind * self.per_epoch,
            "learning_rate": learning_rate,
            "loss": loss,
        }
        if self.cycles:
            head |= {"cycle": at.cycle, "longest": float(at.cycle + 1 == len(self.cycles))}
        return {**head, **measured, "seconds": at.seconds}

    @property
    def _behind(self) -> int:
        """Epochs that led to the present weights, without decays that were abandoned."""
        at = self.at
        if self.cycles is None:
            return at.epoch
        return at.trunk + (self.cycles.decay[at.cycle] - at.decaying if self.branch else 0)

    def _pass(self) -> float:
        """Do the updates of one epoch, in full batches only, and return their mean loss."""
        order = self.rng.permutation(len(self.data))[: self.per_epoch * self.size]
        order = order.reshape(self.per_epoch, self.size)
        decays = _decays(self.training, self._behind * self.per_epoch + np.arange(self.per_epoch))
        losses = self.gradients.updates(
            self.data, order, self.optimiser, self.average, decays, self.at.late
        )
        return float(losses.mean())

    def _keep(self, loss: float) -> None:
        at = self.at
        if self.held is None:  # the end of the schedule is the best
            at.best = loss
            self.best.copy_(self.average)
            return
        at.since = 0 if loss < at.best * (1 - IMPROVEMENT) else at.since + self.per_epoch
        if loss < at.best:
            at.best = loss
            self.best.copy_(self.average)

    def finish(self, title: str) -> None:
        """Give the module its best weights."""
        if not np.isfinite(self.at.best):
            raise PalirsError(
                f"{title}: the loss was never a number; lower training.learning_rate or "
                "training.clip_gradient"
            )
        self.vector.copy_(self.best)
        self.model.to("cpu")


def _decays(training: Training, steps: np.ndarray) -> np.ndarray:
    """Decays of the average; it forgets the first steps, from random weights, faster."""
    return np.minimum(training.ema_decay, (1 + steps) / (10 + steps))


def validate(
    gradients: Gradients, objective: Objective, held: Data, late: bool = False
) -> dict[str, float]:
    """Return the loss, and RMSE and MAE of each property over all held-out frames."""
    with torch.no_grad() if gradients.compiled else torch.enable_grad():
        errors = gradients.errors(held)
        result = {"valid_loss": float(objective.loss(errors, late))}
        for name, deviation in errors.items():
            result |= {
                f"valid_{name}_rmse": float((deviation**2).mean().sqrt()),
                f"valid_{name}_mae": float(deviation.abs().mean()),
            }
        return result
