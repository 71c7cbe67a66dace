"""The training loop that potentials and dipole models share.

An exponential moving average of the weights is validated after every epoch, the best average is kept, and training ends early when it has
stopped improving. What is needed to go on from the end of an epoch is written now and then: a training that was killed gives the same
weights, bit for bit, as one that was not (on a CPU, with the same number of threads).
"""

import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from palirs import keys
from palirs.mace.settings import Training
from palirs.mace.training.gradients import Data, Gradients, Objective
from palirs.mace.training.optimisers import Optimiser
from palirs.recipes import PalirsError

_log = logging.getLogger(__name__)

IMPROVEMENT = 1e-4
"""A relative drop of the validation loss smaller than this does not count as progress."""


@dataclass
class Progress:
    """Where a training stands after an epoch, beside its tensors and the optimiser: plain values, written as JSON."""

    epoch: int = 0
    best: float = float("inf")
    since: int = 0
    late: bool = False
    seconds: float = 0.0
    random: Any = None


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
        File that gets one JSON line per epoch. Beside it, with the suffix ``.resume``, is what a killed training goes on from; it is
        taken if it belongs to the same model, data and settings; the caller removes it when the model is safe.

    Returns
    -------
    list of dict
        Per epoch: ``epoch``, ``updates``, ``learning_rate``, ``loss``, ``valid_loss``, RMSE and MAE of each property in its own unit,
        ``seconds``.
    """
    model.to(training.device)
    gradients = Gradients(model, objective, training)
    vector, dtype = gradients.vector, gradients.vector.dtype
    data, held = (Data.of(frames, objective, dtype, training.device) for frames in (train, valid))
    size = min(training.batch_size, len(train))
    per_epoch = len(train) // size
    epochs = max(1, training.updates // per_epoch)
    optimiser = Optimiser(vector, gradients.gradient, training, epochs * per_epoch, per_epoch)
    average, best = vector.clone(), vector.clone()
    rng, at = np.random.default_rng(seed), Progress()
    resume = _Resume(log, model, train, valid, training, seed) if log is not None else None
    history: list[dict[str, float]] = []
    if resume is not None and (found := resume.read()) is not None:
        tensors, at, rest = found
        for mine, name in ((vector, "vector"), (average, "average"), (best, "best")):
            mine.copy_(tensors.pop(name))
        optimiser.restore(tensors, rest)
        rng.bit_generator.state = at.random
        history = resume.history(at.epoch)
    started = saved = time.perf_counter()
    before = at.seconds
    bar = tqdm(range(at.epoch, epochs), desc=title, unit="epoch", position=position, leave=False, mininterval=2)
    for epoch in bar:
        stalled = at.since > training.patience * training.updates
        if training.second_stage and not at.late and (stalled or epoch >= training.second_stage.start * epochs):
            at.late, at.best, at.since = True, float("inf"), 0  # the errors are weighted anew, so no earlier loss can be compared
            optimiser.begin_stage(training.second_stage.learning_rate)
        elif stalled:
            break
        learning_rate, losses = optimiser.learning_rate, []
        order = rng.permutation(len(train))
        for start in range(0, per_epoch * size, size):  # frames that do not fill a batch wait an epoch
            losses.append(gradients(data.batch(order[start : start + size]), at.late))
            optimiser.step()
            if training.optimiser != "schedule_free":
                average.lerp_(vector, 1 - _decay(training, epoch * per_epoch + start // size))
        if training.optimiser == "schedule_free":
            optimiser.average(True)
            average.copy_(vector)
        with gradients.holding(average):
            measured = validate(gradients, objective, held, at.late)
        optimiser.average(False)
        optimiser.validated(measured["valid_loss"])
        at.since = 0 if measured["valid_loss"] < at.best * (1 - IMPROVEMENT) else at.since + per_epoch
        if measured["valid_loss"] < at.best:
            at.best = measured["valid_loss"]
            best.copy_(average)
        at.epoch, at.seconds, at.random = epoch + 1, before + time.perf_counter() - started, rng.bit_generator.state
        entry = {
            "epoch": epoch,
            "updates": at.epoch * per_epoch,
            "learning_rate": learning_rate,
            "loss": float(torch.stack(losses).mean()),
            **measured,
            "seconds": at.seconds,
        }
        history.append(entry)
        if log is not None:
            with log.open("a") as file:
                file.write(json.dumps(entry) + "\n")
        bar.set_postfix_str(f"valid loss {entry['valid_loss']:.2e}", refresh=False)
        if resume is not None and time.perf_counter() - saved >= training.save_interval:
            resume.write({"vector": vector, "average": average, "best": best}, at, optimiser)
            saved = time.perf_counter()
    if not np.isfinite(at.best):
        raise PalirsError(f"{title}: the validation loss was never a number; lower training.learning_rate or training.clip_gradient")
    vector.copy_(best)
    model.to("cpu")
    return history


def _decay(training: Training, step: int) -> float:
    """Decay of the average; the first steps, which start from random weights, are forgotten sooner."""
    return min(training.ema_decay, (1 + step) / (10 + step))


def validate(gradients: Gradients, objective: Objective, held: Data, late: bool = False) -> dict[str, float]:
    """Return the loss, and RMSE and MAE of each property over all held-out frames."""
    with torch.no_grad() if gradients.compiled else torch.enable_grad():
        errors = gradients.errors(held)
        result = {"valid_loss": float(objective.loss(errors, late))}
        for name, deviation in errors.items():
            result |= {f"valid_{name}_rmse": float((deviation**2).mean().sqrt()), f"valid_{name}_mae": float(deviation.abs().mean())}
        return result


class _Resume:
    """The file that a killed training goes on from."""

    def __init__(self, log: Path, model: torch.nn.Module, train: Sequence[Atoms], valid: Sequence[Atoms], training: Training, seed: int):
        self._log, self._file = log, log.with_suffix(".resume")
        settings = replace(training, save_interval=0.0)
        digest = sha256(repr((settings, seed, torch.get_num_threads(), torch.__version__)).encode())
        for value in model.state_dict().values():
            digest.update(value.detach().cpu().numpy().tobytes())
        for frames in (train, valid):
            for atoms in frames:
                for values in (atoms.numbers, atoms.positions, atoms.info.get(keys.ENERGY), atoms.arrays.get(keys.FORCES)):
                    digest.update(np.asarray(values, dtype=float).tobytes())
                digest.update(np.asarray(atoms.info.get(keys.DIPOLE, 0.0), dtype=float).tobytes())
        self._identity = digest.hexdigest()

    def write(self, tensors: dict[str, Tensor], at: Progress, optimiser: Optimiser) -> None:
        """Write atomically."""
        state, rest = optimiser.state()
        part = self._file.with_name(self._file.name + ".part")
        everything = {name: value.detach().cpu().contiguous() for name, value in {**tensors, **state}.items()}
        save_file(everything, part, metadata={"identity": self._identity, "progress": json.dumps(at.__dict__), "optimiser": rest})
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(self._file)

    def read(self) -> tuple[dict[str, Tensor], Progress, str] | None:
        """Return tensors, progress and the optimiser's state, or nothing if there is no such training to go on from."""
        if not self._file.exists():
            self._log.unlink(missing_ok=True)
            return None
        with safe_open(self._file, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("identity") != self._identity:
                _log.warning("%s belongs to another model, data, settings or number of threads; training starts anew", self._file)
                self._log.unlink(missing_ok=True)
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        return tensors, Progress(**json.loads(metadata["progress"])), metadata["optimiser"]

    def history(self, epochs: int) -> list[dict[str, float]]:
        """Return the log of the epochs that count, and cut off what came after them."""
        lines = self._log.read_text().splitlines()[:epochs]
        part = self._log.with_name(self._log.name + ".part")
        part.write_text("".join(line + "\n" for line in lines))
        part.replace(self._log)
        return [json.loads(line) for line in lines]
