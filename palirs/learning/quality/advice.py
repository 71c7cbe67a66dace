"""Whether more training or more data is what is missing, from the logs of a training."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from palirs.mace.settings import Training

OVERFITTED = 1.5
"""Validation over training loss from which the data, and not the training, limits the model."""


def advice(logs: Sequence[Path], training: Training) -> str:
    """Say what limits the members whose logs these are; empty if there are no logs.

    Parameters
    ----------
    logs : sequence of Path
        One JSON line per epoch, see :func:`palirs.mace.training.loop.fit`.
    training : Training
        Their settings.
    """
    histories = [
        [json.loads(line) for line in log.read_text().splitlines()] for log in logs if log.exists()
    ]
    histories = [history for history in histories if history]
    if not histories:
        return ""
    updates = ", ".join(f"{max(entry['updates'] for entry in history):,}" for history in histories)
    if not all("valid_loss" in entry for history in histories for entry in history):
        return f"{updates} updates on all that is not kept for tests"
    ratio = float(
        np.median(
            [min(e["valid_loss"] for e in history) / history[-1]["loss"] for history in histories]
        )
    )
    text = f"{updates} updates, validation error {ratio:.1f} times that of training"
    if ratio > OVERFITTED:
        text += ": more data is what is missing"
    gains = [gain for gain in map(last_gain, histories) if gain is not None]
    if gains and (gain := float(np.median(gains))) >= training.gain and _longest(histories):
        text += (
            f"; twice the updates lowered it by {gain:.0%}: more training will help, "
            f"raise training.potential.updates={training.updates}"
        )
    return text


def last_gain(history: Sequence[dict[str, float]]) -> float | None:
    """Return the relative drop of the validation error by the last doubling, if there was one."""
    last = max(entry.get("cycle", 0) for entry in history)
    if last == 0:
        return None
    before = min(entry["valid_loss"] for entry in history if entry["cycle"] < last)
    return 1 - min(entry["valid_loss"] for entry in history) / before


def _longest(histories: Sequence[Sequence[dict[str, float]]]) -> bool:
    return bool(np.mean([history[-1].get("longest", 0.0) for history in histories]) >= 0.5)
