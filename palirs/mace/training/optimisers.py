"""Optimisers and schedules of torch and schedulefree for one vector of parameters."""

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palirs.mace.compiled import OPTIMISERS, Steps
from palirs.mace.settings import Training
from palirs.mace.training.cycles import StableDecay

WARM_UP = 0.05
"""Share of the first length in which the learning rate of ``schedule=doubling`` rises."""
PLATEAU = 0.05
"""Share of the updates without improvement after which ``schedule=plateau`` lowers the learning
rate."""


class Optimiser:
    """Optimiser, schedule and gradient clipping.

    Parameters
    ----------
    vector, gradient : Tensor
        Parameters, and where their gradient will be.
    training : Training
        Settings.
    steps : int
        Updates in all.
    per_epoch : int
        Updates per epoch.
    """

    def __init__(
        self, vector: Tensor, gradient: Tensor, training: Training, steps: int, per_epoch: int
    ):
        self._training, self._gradient, self._vector = training, gradient, vector
        self._optimiser: Any = _optimiser(vector, training)
        self._schedule: Any = _schedule(self._optimiser, training, steps, per_epoch)
        if training.optimiser in OPTIMISERS:
            vector.grad = None
            self._optimiser.step()  # without effect; schedules warn if they step first
        vector.grad = gradient
        self._fixed = False

    def step(self) -> None:
        """Clip the gradient and change the parameters."""
        torch.nn.utils.clip_grad_norm_([self._vector], self._training.clip_gradient)
        self._optimiser.step()
        self._scheduled()

    def planned(self, steps: int, average: Tensor, decays: np.ndarray) -> Steps | None:
        """Return the next steps for compiled code to do, and count them as done.

        The moments are those of torch's optimiser, which are changed in place. ``None`` for an
        optimiser that the compiled code does not have.
        """
        training, group = self._training, self._optimiser.param_groups[0]
        if training.optimiser not in OPTIMISERS:
            return None
        state = self._optimiser.state[self._vector]
        names = ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if group["amsgrad"] else ()))
        if not state:
            state |= {
                "step": torch.tensor(0.0),
                **{name: torch.zeros_like(self._vector) for name in names},
            }
        rates, momenta = np.empty(steps), np.empty(steps)
        done = int(state["step"])
        for number in range(steps):
            rates[number], momenta[number] = group["lr"], group["betas"][0]
            self._scheduled()
        state["step"] += steps
        return Steps(
            kind=training.optimiser,
            rates=rates,
            momenta=momenta,
            decays=decays,
            moments=[average, *(state[name] for name in names)],
            done=done,
            clip=training.clip_gradient,
            weight_decay=training.weight_decay,
            beta=group["betas"][1],
            epsilon=group["eps"],
        )

    def _scheduled(self) -> None:
        if self._schedule is not None and not self._fixed and self._training.schedule != "plateau":
            self._schedule.step()

    def decay(self, updates: int) -> None:
        """Begin the decay of the learning rate (``schedule=doubling``)."""
        self._schedule.decay(updates)

    @property
    def averages(self) -> bool:
        """Whether the optimiser averages the parameters by itself."""
        return self._training.optimiser == "schedule_free"

    def validated(self, loss: float) -> None:
        """Give the validation loss of an epoch to the schedule."""
        if self._schedule is not None and not self._fixed and self._training.schedule == "plateau":
            self._schedule.step(loss)

    def begin_stage(self, learning_rate: float | None) -> None:
        """Forget earlier losses, and keep this learning rate from now on if one is given."""
        if self._schedule is not None and self._training.schedule == "plateau":
            self._schedule.best, self._schedule.num_bad_epochs = float("inf"), 0
        if learning_rate is not None:
            self._fixed = True
            for group in self._optimiser.param_groups:
                group["lr"] = learning_rate

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return float(self._optimiser.param_groups[0]["lr"])

    def average(self, on: bool) -> None:
        """Switch a schedule-free optimiser between its average and the point of the gradients."""
        if self.averages:
            (self._optimiser.eval if on else self._optimiser.train)()

    def state(self) -> tuple[dict[str, Tensor], str]:
        """Return everything that later steps depend on: tensors, and other values as JSON."""
        state = self._optimiser.state_dict()
        moments = state["state"].get(0, {})
        tensors = {name: value for name, value in moments.items() if isinstance(value, Tensor)}
        others = {
            "state": {name: value for name, value in moments.items() if name not in tensors},
            "groups": state["param_groups"],
            "schedule": self._schedule.state_dict() if self._schedule is not None else None,
            "fixed": self._fixed,
        }
        return tensors, json.dumps(others)

    def restore(self, tensors: dict[str, Tensor], text: str) -> None:
        """Go on from :meth:`state`."""
        others = json.loads(text)
        state = {0: {**tensors, **others["state"]}} if tensors else {}
        groups = [_with_tuples(group) for group in others["groups"]]
        self._optimiser.load_state_dict({"state": state, "param_groups": groups})
        if self._schedule is not None:
            self._schedule.load_state_dict(others["schedule"])
        self._fixed = others["fixed"]


def _optimiser(vector: Tensor, training: Training) -> Any:
    if training.optimiser == "amsgrad":
        return torch.optim.Adam([vector], lr=training.learning_rate, amsgrad=True)
    if training.optimiser == "adamw":
        return torch.optim.AdamW(
            [vector], lr=training.learning_rate, weight_decay=training.weight_decay
        )
    from schedulefree import AdamWScheduleFree

    optimiser = AdamWScheduleFree(
        [vector], lr=training.learning_rate, weight_decay=training.weight_decay
    )
    optimiser.train()
    return optimiser


def _schedule(optimiser: Any, training: Training, steps: int, per_epoch: int) -> Any:
    kinds = torch.optim.lr_scheduler
    if training.schedule == "doubling":
        return StableDecay(optimiser, round(WARM_UP * min(training.shortest, training.updates)))
    if training.schedule == "one_cycle":
        total = steps + 1
        return kinds.OneCycleLR(
            optimiser,
            training.learning_rate,
            total_steps=total,
            pct_start=max(0.1, min(2 / total, 0.9)),
        )
    if training.schedule == "cosine":
        return kinds.CosineAnnealingLR(optimiser, steps)
    if training.schedule == "plateau":
        return kinds.ReduceLROnPlateau(
            optimiser, factor=0.8, patience=max(1, round(PLATEAU * steps / per_epoch))
        )
    return None


def _with_tuples(group: dict) -> dict:
    """Turn the betas, a list in JSON, back into a tuple."""
    return {key: tuple(value) if key == "betas" else value for key, value in group.items()}
