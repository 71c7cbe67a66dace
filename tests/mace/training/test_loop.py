"""The training loop: options, and going on after being killed."""

import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from palirs.mace.models.dipole import DipoleShape
from palirs.mace.models.files import read
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import SecondStage, Training
from palirs.mace.training import loop
from palirs.mace.training.cycles import Cycles
from palirs.mace.training.jobs import Job, train
from palirs.mace.training.loop import fit
from palirs.mace.training.objectives import DipoleObjective, PotentialObjective
from palirs.recipes import PalirsError

SHORT = Training(updates=120, batch_size=4, learning_rate=0.02, ema_decay=0.9, save_interval=0.0)
VARIANTS = {
    "amsgrad": SHORT,
    "second stage": replace(SHORT, second_stage=SecondStage(start=0.4, learning_rate=1e-3)),
    "adamw, plateau": replace(
        SHORT, optimiser="adamw", weight_decay=1e-4, schedule="plateau", learning_rate=0.1
    ),
    "schedule-free": replace(SHORT, optimiser="schedule_free", schedule="constant"),
    "cosine, huber": replace(SHORT, schedule="cosine", loss="huber"),
    "doubling": replace(SHORT, schedule="doubling", shortest=30, gain=0.001),
}


class Killed(Exception):
    pass


def fitted(
    training, frames, small, log=None, killed_after=None, kind="potential", seed=0, until=1.0
):
    """Weights and history of a training.

    It may be broken off in its n-th validation, after the updates of that epoch.
    """
    objective_of, shape_of = (
        (PotentialObjective, PotentialShape)
        if kind == "potential"
        else (DipoleObjective, DipoleShape)
    )
    objective = objective_of(shape_of.of(frames, small), training)
    torch.manual_seed(seed)
    model = objective.shape.build()
    plain, calls = objective.loss, 0

    def counted(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == killed_after:
            raise Killed
        return plain(*args, **kwargs)

    objective.loss = counted
    held = frames[32:] if training.validation_fraction else []
    history = fit(model, objective, frames[:32], held, training, seed=5, log=log, until=until) or []
    weights = torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])
    return weights, [{**entry, "seconds": 0} for entry in history], calls


@pytest.mark.parametrize("kind", ["potential", "dipole"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_training_that_was_broken_off_ends_as_if_it_had_not_been(
    variant, kind, frames, small, tmp_path
):
    training = (
        VARIANTS[variant] if kind == "potential" else replace(VARIANTS[variant], second_stage=None)
    )
    whole, history, evaluations = fitted(training, frames, small, kind=kind)
    assert min(entry["valid_loss"] for entry in history) < 0.9 * history[0]["valid_loss"]
    log = tmp_path / "model.jsonl"
    for killed_after in (4, 7):  # of 15 epochs
        with pytest.raises(Killed):
            fitted(training, frames, small, log, killed_after, kind)
    weights, resumed, rest = fitted(training, frames, small, log, kind=kind)
    assert rest < evaluations - 6, "it should not have begun anew"
    assert torch.equal(weights, whole)
    assert resumed == history
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == list(
        range(len(history))
    )


@pytest.mark.parametrize("change", ["seed of the weights", "frames", "settings"])
def test_a_training_does_not_go_on_from_another_one_and_says_so(
    change, frames, small, tmp_path, caplog
):
    moved = [atoms.copy() for atoms in frames]
    moved[3].positions[0, 0] += 1e-9
    data = moved if change == "frames" else frames
    training = replace(SHORT, learning_rate=0.0201) if change == "settings" else SHORT
    seed = 1 if change == "seed of the weights" else 0
    log = tmp_path / "model.jsonl"
    with pytest.raises(Killed):
        fitted(SHORT, frames, small, log, 5)
    with caplog.at_level("WARNING"):
        weights, history, evaluations = fitted(training, data, small, log, seed=seed)
    assert "training starts anew" in caplog.text
    expected, alone, whole = fitted(training, data, small, seed=seed)
    assert evaluations == whole
    assert torch.equal(weights, expected)
    assert history == alone
    assert len(log.read_text().splitlines()) == len(history)


def test_how_often_it_is_saved_may_change(frames, small, tmp_path):
    log = tmp_path / "model.jsonl"
    with pytest.raises(Killed):
        fitted(SHORT, frames, small, log, 9)
    assert fitted(replace(SHORT, save_interval=60.0), frames, small, log)[2] < 9


@pytest.mark.thorough
def test_killed_at_random_moments_the_weights_are_the_same_to_the_last_bit(
    frames, small, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the process, as it is of this one
    job = Job(
        "potential",
        tmp_path / "a.safetensors",
        frames[:32],
        frames[32:],
        small,
        replace(SHORT, updates=4000),
        3,
    )
    train(job)
    other = replace(job, path=tmp_path / "b.safetensors")
    log, kills, rng = other.path.with_suffix(".jsonl"), 0, np.random.default_rng()
    for _ in range(3):
        process = multiprocessing.get_context("spawn").Process(target=train, args=(other,))
        process.start()
        before = len(log.read_text().splitlines()) if log.exists() else 0
        while process.is_alive() and not (
            log.exists() and len(log.read_text().splitlines()) != before
        ):
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.5))  # [s] of a training of about two
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.join()
    assert kills > 0, "the training was over before it could be killed"
    begun = log.read_text().splitlines()[0]
    train(other)
    assert log.read_text().splitlines()[0] == begun, "it has begun anew"
    expected, found = (read(path)[1].state_dict() for path in (job.path, other.path))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not list(tmp_path.glob("*.resume"))


def test_the_second_stage_minimises_the_energies(frames, small):
    """With a thousand times the weight on energies, they end better than without."""
    plain = fitted(SHORT, frames, small)[1][-1]
    staged = fitted(
        replace(SHORT, second_stage=SecondStage(start=0.3, energy_weight=1e5)), frames, small
    )[1][-1]
    assert staged["valid_energy_rmse"] < 0.7 * plain["valid_energy_rmse"]


def test_a_training_that_has_stalled_goes_on_to_its_second_stage(frames, small):
    """With a learning rate of next to nothing, patience ends after a tenth.

    The stage, with its own rate, gets the rest.
    """
    stage = SecondStage(start=0.9, learning_rate=0.02)
    training = replace(
        SHORT,
        updates=240,
        patience=0.1,
        learning_rate=1e-12,
        schedule="constant",
        second_stage=stage,
    )
    history = fitted(training, frames, small)[1]
    late = [entry["updates"] for entry in history if entry["learning_rate"] == 0.02]
    assert late[0] < 0.3 * 240
    assert history[-1]["valid_forces_rmse"] < 0.9 * history[0]["valid_forces_rmse"]


def test_the_plateau_does_not_compare_losses_of_two_stages(frames, small):
    stage = SecondStage(start=0.5, forces_weight=1000.0)
    training = replace(
        SHORT, updates=400, schedule="plateau", learning_rate=0.005, second_stage=stage
    )
    history = fitted(training, frames, small)[1]
    rates = [entry["learning_rate"] for entry in history if entry["epoch"] > 0.55 * len(history)]
    falling = [entry["valid_loss"] for entry in history if entry["epoch"] > 0.55 * len(history)]
    assert falling[-1] < 0.95 * falling[0], "the stage should have something to do here"
    assert rates[-1] > 0.5 * rates[0]


def test_with_nothing_held_out_the_schedule_goes_to_its_end(frames, small, tmp_path):
    """A validation on one frame may end a training early, and does not keep the last weights.

    Without one both are so.
    """
    training = replace(SHORT, patience=0.05, validation_fraction=0.0)
    weights, history, _ = fitted(training, frames, small)
    assert history[-1]["updates"] == SHORT.updates
    assert history[-1]["learning_rate"] < 0.02 * max(entry["learning_rate"] for entry in history)
    assert not any("valid_loss" in entry for entry in history)
    held = fitted(replace(SHORT, patience=1.0), frames, small)
    last = held[1][-1]["valid_loss"] == min(entry["valid_loss"] for entry in held[1])
    assert torch.equal(weights, held[0]) == last, (
        "held-out frames change nothing but which weights are kept"
    )
    fitted(training, frames, small, tmp_path / "model.jsonl", until=0.5)
    assert torch.equal(fitted(training, frames, small, tmp_path / "model.jsonl")[0], weights), (
        "it goes on from where it was paused"
    )


def test_a_training_that_diverges_is_an_error_not_a_model(frames, small, tmp_path, monkeypatch):
    """Settings that make numbers overflow are refused by now; whatever else does it is told."""
    monkeypatch.setattr(loop, "validate", lambda *arguments: {"valid_loss": float("nan")})
    with pytest.raises(PalirsError, match=r"never a number"):
        train(
            Job("potential", tmp_path / "a.safetensors", frames[:32], frames[32:], small, SHORT, 3)
        )
    assert not (tmp_path / "a.safetensors").exists()


def test_the_plateau_lowers_the_learning_rate(frames, small):
    rates = [
        entry["learning_rate"] for entry in fitted(VARIANTS["adamw, plateau"], frames, small)[1]
    ]
    assert rates[-1] < rates[0]
    assert all(abs(b / a - 1) < 1e-12 or b / a == pytest.approx(0.8) for a, b in pairwise(rates))


def test_a_doubled_training_is_the_one_that_was_planned_for_its_length(frames, small, monkeypatch):
    """What the shorter lengths tried out leaves no trace in the weights, to the last bit."""
    settings = replace(SHORT, schedule="doubling", shortest=30, gain=1e-9)
    doubled, history, _ = fitted(settings, frames, small)
    assert [entry["cycle"] for entry in history] == sorted(entry["cycle"] for entry in history)
    assert {entry["cycle"] for entry in history} == {0, 1, 2}
    plain = Cycles.of(30, 120, 8)
    monkeypatch.setattr(Cycles, "of", lambda *given: Cycles(plain.trunk[-1:], plain.decay[-1:]))
    planned, alone, _ = fitted(settings, frames, small)
    assert len(alone) == 120 // 8
    np.testing.assert_array_equal(doubled, planned)


def test_lengths_double_up_to_the_longest():
    cycles = Cycles.of(4000, 64000, 10)
    assert [trunk + decay for trunk, decay in zip(cycles.trunk, cycles.decay, strict=True)] == [
        400,
        800,
        1600,
        3200,
        6400,
    ]
    assert cycles.epochs == pytest.approx(1.4 * 6400, rel=0.02)
    assert len(Cycles.of(4000, 5000, 10)) == 1
    assert len(Cycles.of(4000, 300, 1000)) == 1, "an epoch may be longer than the training"


def test_training_ends_where_doubling_does_not_pay(frames, small):
    settings = replace(SHORT, schedule="doubling", shortest=30, updates=480)
    eager = fitted(replace(settings, gain=1e-9), frames, small)[1]
    content = fitted(replace(settings, gain=0.999), frames, small)[1]
    assert max(entry["cycle"] for entry in content) == 1 < max(entry["cycle"] for entry in eager)
    best = [min(entry["valid_loss"] for entry in history) for history in (eager, content)]
    assert best[0] < best[1]


def test_the_learning_rate_of_a_branch_rises_stays_and_decays(frames, small):
    history = fitted(replace(SHORT, schedule="doubling", shortest=120, updates=240), frames, small)[
        1
    ]
    first = [entry["learning_rate"] for entry in history if entry["cycle"] == 0]
    assert first[0] < first[1] == SHORT.learning_rate
    assert first[-3] > first[-2] > first[-1]
    assert next(entry["updates"] for entry in history if entry["cycle"] == 1) == 80, (
        "the second length goes on where the branch began"
    )
