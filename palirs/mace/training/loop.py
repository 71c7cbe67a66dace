"""The training loop that potentials and dipole models share.

An exponential moving average of the weights is validated after every epoch, the best average is
kept, and training ends early when it has stopped improving. What is needed to go on from the end of
an epoch is written now and then: a training that was killed gives the same weights, bit for bit, as
one that was not (on a CPU, with the same number of threads).
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
from palirs.mace.training.gradients import Data, Gradients
from palirs.mace.training.objectives import Objective
from palirs.mace.training.optimisers import Optimiser
from palirs.mace.training.resume import Progress, ResumeFile
from palirs.recipes import PalirsError

BRANCH = "branch."
"""Names of the tensors that a decay began from."""
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
        File that gets one JSON line per epoch. Beside it is what a killed training goes on from,
        see :class:`ResumeFile`.
    until : float
        Share of the epochs after which to pause; needs ``log``, from which the next call goes on.

    Returns
    -------
    list of dict, or None
        Per epoch: ``epoch``, ``updates``, ``learning_rate``, ``loss``, ``valid_loss``, RMSE and MAE
        of each property in its own unit, ``seconds``. ``None`` if the training was paused.
    """
    run = Run(model, objective, train, valid, training, seed)
    file = ResumeFile(log, model, train, valid, training, seed) if log is not None else None
    history = run.resume(file) if file is not None else []
    end, saved = max(1, round(until * run.epochs)), time.perf_counter()
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
    """A training as it stands after an epoch: parameters, their average and the best one, optimiser, order of the frames."""

    def __init__(
        self,
        model: torch.nn.Module,
        objective: Objective,
        train: Sequence[Atoms],
        valid: Sequence[Atoms],
        training: Training,
        seed: int,
    ):
        self.model, self.objective, self.training = model.to(training.device), objective, training
        self.gradients = Gradients(model, objective, training)
        self.vector = self.gradients.vector
        self.data = Data.of(train, objective, self.vector.dtype, training.device)
        self.held = Data.of(valid, objective, self.vector.dtype, training.device) if valid else None
        self.size = min(training.batch_size, len(train))
        self.per_epoch = len(train) // self.size
        self.cycles = (
            Cycles.of(training.shortest, training.updates, self.per_epoch)
            if training.schedule == "doubling"
            else None
        )
        self.epochs = (
            self.cycles.epochs if self.cycles else max(1, training.updates // self.per_epoch)
        )
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
        """What is written to go on from, beside the optimiser's own."""
        return {"vector": self.vector, "average": self.average, "best": self.best, **self.branch}

    def resume(self, file: ResumeFile) -> list[dict[str, float]]:
        """Go on from a file, if there is one that belongs to this training; return the history up to there."""
        found = file.read()
        if found is None:
            return []
        tensors, self.at, optimiser = found
        self.branch = {name: tensors.pop(name) for name in list(tensors) if name.startswith(BRANCH)}
        for name, mine in self.tensors.items():
            mine.copy_(tensors.pop(name, mine))
        self.optimiser.restore(tensors, optimiser)
        self.rng.bit_generator.state = self.at.random
        self._before, self._started = self.at.seconds, time.perf_counter()
        return file.history(self.at.epoch)

    def goes_on(self) -> bool:
        """Begin the second stage if its time has come; tell whether there is a reason for another epoch."""
        if self.cycles:
            return self._doubles(self.cycles)
        at, stage = self.at, self.training.second_stage
        stalled = at.since > self.training.patience * self.training.updates
        if stage and not at.late and (stalled or at.epoch >= stage.start * self.epochs):
            at.late, at.best, at.since = (
                True,
                float("inf"),
                0,
            )  # the errors are weighted anew, so no earlier loss can be compared
            self.optimiser.begin_stage(stage.learning_rate)
            return True
        return not stalled

    def _doubles(self, cycles: Cycles) -> bool:
        """Begin a decay where a length asks for it; after one, go back to where it began, if the doubling has paid."""
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
        """Pass over the frames once, validate the average, keep it if it is the best so far; return what the log says of it."""
        learning_rate, loss = self.optimiser.learning_rate, self._pass()
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
        updates = self._behind * self.per_epoch
        head: dict[str, float] = {
            "epoch": at.epoch - 1,
            "updates": updates,
            "learning_rate": learning_rate,
            "loss": loss,
        }
        if self.cycles:
            head |= {"cycle": at.cycle, "longest": float(at.cycle + 1 == len(self.cycles))}
        return {**head, **measured, "seconds": at.seconds}

    @property
    def _behind(self) -> int:
        """Epochs that the present weights have seen, decays that were given up not counted."""
        at = self.at
        return (
            at.trunk + (self.cycles.decay[at.cycle] - at.decaying if self.branch else 0)
            if self.cycles
            else at.epoch
        )

    def _pass(self) -> float:
        """Do the updates of one epoch and return their mean loss; frames that do not fill a batch wait an epoch."""
        order = self.rng.permutation(len(self.data))[: self.per_epoch * self.size].reshape(
            self.per_epoch, self.size
        )
        decays = _decays(self.training, self._behind * self.per_epoch + np.arange(self.per_epoch))
        return float(
            self.gradients.updates(
                self.data, order, self.optimiser, self.average, decays, self.at.late
            ).mean()
        )

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
                f"{title}: the loss was never a number; lower training.learning_rate or training.clip_gradient"
            )
        self.vector.copy_(self.best)
        self.model.to("cpu")


def _decays(training: Training, steps: np.ndarray) -> np.ndarray:
    """Decays of the average; the first steps, which start from random weights, are forgotten sooner."""
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
