"""Gradients by compiled code against autograd through MACE's own modules, for all parameters."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from palirs.mace.compiled import compiler
from palirs.mace.models.dipole import DipoleShape
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Architecture, SecondStage, Training
from palirs.mace.training.gradients import Data, Gradients
from palirs.mace.training.objectives import DipoleObjective, PotentialObjective
from palirs.mace.training.optimisers import Optimiser
from palirs.recipes import PalirsError

ARCHITECTURES = [
    Architecture(
        channels=3, max_L=0, max_ell=1, correlation=1, radial_mlp=(9,), bessel=5, cutoff=4.0
    ),
    Architecture(channels=4, max_L=1, max_ell=3, correlation=3, radial_mlp=(16, 24), cutoff=2.5),
    Architecture(
        channels=3,
        max_L=2,
        max_ell=2,
        correlation=2,
        layers=3,
        radial_mlp=(8,),
        cutoff=3.0,
        residual_first=True,
    ),
]
KINDS = {
    "potential": (PotentialObjective, PotentialShape),
    "dipole": (DipoleObjective, DipoleShape),
}


def gradients(kind, frames, architecture, training, late=False):
    """Loss and gradient of some frames of both molecules, and the validation errors."""
    objective_of, shape_of = KINDS[kind]
    torch.manual_seed(0)
    objective = objective_of(shape_of.of(frames, architecture), training)
    exact = replace(objective.shape, architecture=replace(architecture, dtype="float64")).build()
    model = objective.shape.build()
    model.load_state_dict(exact.state_dict())
    both = Gradients(model, objective, training)
    data = Data.of(frames, objective, both.dtype)
    loss = both(data, [0, 25, 1, 30, 31], late)
    return float(loss), both.gradient.numpy().copy(), both.errors(data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "architecture",
    ARCHITECTURES,
    ids=lambda a: f"{a.channels}-{a.max_L}-{a.max_ell}-{a.correlation}-{a.layers}",
)
def test_compiled_gradients_are_those_of_autograd(kind, architecture, frames):
    exact = replace(architecture, dtype="float64")
    loss, gradient, errors = gradients(kind, frames, exact, Training(backend="native"))
    expected_loss, expected, expected_errors = gradients(
        kind, frames, exact, Training(backend="eager")
    )
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    for name, values in expected_errors.items():
        torch.testing.assert_close(errors[name], values.detach(), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("training", "late"),
    [
        (Training(loss="mse"), False),
        (Training(loss="huber", huber_delta=0.1), False),
        (Training(energy_weight=0.0), False),
        (Training(forces_weight=0.0), False),
        (Training(second_stage=SecondStage(energy_weight=77.0)), True),
    ],
    ids=["mse", "huber", "forces alone", "energies alone", "second stage"],
)
def test_every_loss_has_its_gradient(training, late, small, frames):
    loss, gradient, _ = gradients(
        "potential", frames, small, replace(training, backend="native"), late
    )
    expected_loss, expected, _ = gradients(
        "potential", frames, small, replace(training, backend="eager"), late
    )
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_loses_digits_only(kind, small, frames):
    _, exact, _ = gradients(kind, frames, small, Training(backend="native"))
    _, single, _ = gradients(
        kind, frames, replace(small, dtype="float32"), Training(backend="native")
    )
    assert np.linalg.norm(single - exact) < 1e-4 * np.linalg.norm(exact)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_the_gradient_by_rounding_only_and_always_alike(kind, small, frames):
    one = gradients(kind, frames, small, Training(backend="native"))[1]
    torch.set_num_threads(2)
    try:
        two, again = (
            gradients(kind, frames, small, Training(backend="native"))[1] for _ in range(2)
        )
    finally:
        torch.set_num_threads(1)
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-12 * np.abs(one).max())
    np.testing.assert_array_equal(two, again)


@pytest.mark.parametrize("length", ["16", "64"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_length_of_vectors_changes_rounding_only(kind, length, small, frames, monkeypatch):
    monkeypatch.setenv(compiler.VECTOR_BYTES, "32")
    expected = gradients(kind, frames, small, Training(backend="native"))[1]
    monkeypatch.setenv(compiler.VECTOR_BYTES, length)
    found = gradients(kind, frames, small, Training(backend="native"))[1]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
@pytest.mark.parametrize("kind", KINDS)
def test_clang_gives_what_gcc_gives(kind, small, frames, monkeypatch):
    found = []
    for name in ("gcc", "clang"):
        monkeypatch.setenv("CC", name)
        compiler.library.cache_clear()
        found.append(gradients(kind, frames, small, Training(backend="native")))
    compiler.library.cache_clear()
    (_, expected, errors), (_, gradient, of_clang) = found
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    for name, values in errors.items():
        torch.testing.assert_close(of_clang[name], values, rtol=0, atol=1e-12)


def test_vectors_of_another_length_are_refused(small, frames, monkeypatch):
    monkeypatch.setenv(compiler.VECTOR_BYTES, "48")
    with pytest.raises(PalirsError, match="PALIRS_VECTOR_BYTES = '48': it must be 16, 32 or 64"):
        gradients("potential", frames, small, Training(backend="native"))


UPDATES = {
    "amsgrad": Training(),
    "clipped": Training(clip_gradient=0.1, schedule="cosine", ema_decay=0.5),
    "adamw": Training(optimiser="adamw", weight_decay=0.1, schedule="constant"),
    "schedule-free": Training(optimiser="schedule_free", weight_decay=0.1, schedule="constant"),
}


@pytest.mark.parametrize("name", UPDATES)
def test_updates_are_those_of_torch(name, small, frames):
    """Parameters, average, moments and what comes next, after two rounds of updates.

    The first of them is broken off and gone on with.
    """
    training, ends = UPDATES[name], []
    order = np.random.default_rng(1).permutation(len(frames))[:30].reshape(6, 5)
    for backend in ("native", "eager"):
        training = replace(training, backend=backend)
        torch.manual_seed(0)
        objective = PotentialObjective(PotentialShape.of(frames, small), training)
        both = Gradients(objective.shape.build(), objective, training)
        data, average = Data.of(frames, objective, both.dtype), both.vector.clone()
        optimiser, losses = Optimiser(both.vector, both.gradient, training, 40, 6), []
        for _ in range(2):
            losses.append(
                both.updates(data, order, optimiser, average, np.linspace(0.1, 0.9, 6), False)
            )
            state = optimiser.state()
            optimiser = Optimiser(both.vector, both.gradient, training, 40, 6)
            optimiser.restore(*state)
        ends.append(
            [np.concatenate(losses), both.vector.numpy(), average.numpy(), optimiser.state()]
        )
    (losses, vector, average, state), expected = ends
    np.testing.assert_allclose(losses, expected[0], rtol=1e-9)
    np.testing.assert_allclose(vector, expected[1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(average, expected[2], rtol=0, atol=1e-9)
    assert state[1] == expected[3][1]
    assert state[0].keys() == expected[3][0].keys()
    for key, moment in state[0].items():
        np.testing.assert_allclose(moment.numpy(), expected[3][0][key].numpy(), rtol=0, atol=1e-9)


def test_without_a_compiler_training_is_eager_and_says_so(small, frames, monkeypatch, caplog):
    monkeypatch.setattr(compiler.shutil, "which", lambda name: None)
    compiler.library.cache_clear()
    objective = PotentialObjective(PotentialShape.of(frames, small), Training())
    with caplog.at_level("WARNING"):
        assert not Gradients(objective.shape.build(), objective, Training()).compiled
    assert "no C compiler" in caplog.text
    with pytest.raises(PalirsError, match=r"training\.backend"):
        Gradients(objective.shape.build(), objective, Training(backend="native"))


SIDE_BY_SIDE = """
import threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np, torch
from ase.build import molecule
from palirs import keys
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Architecture, Training
from palirs.mace.training.gradients import Data, Gradients
from palirs.mace.training.objectives import PotentialObjective

torch.set_num_threads(3)
frames = []
for _ in range(6):
    atoms = molecule("H2O")
    atoms.info[keys.ENERGY], atoms.arrays[keys.FORCES] = 0.0, np.zeros((3, 3))
    frames.append(atoms)

def work(_):
    architecture = Architecture(channels=4, max_ell=1, radial_mlp=(8,))
    objective = PotentialObjective(PotentialShape.of(frames, architecture), Training())
    both = Gradients(objective.shape.build(), objective, Training(backend="native"))
    data = Data.of(frames, objective, both.dtype)
    barrier.wait(60)
    for _ in range(300):
        both(data, range(6))

barrier = threading.Barrier(3)
with ThreadPoolExecutor(3) as pool:
    list(pool.map(work, range(3)))
print("done")
"""


@pytest.mark.thorough
def test_trainings_in_threads_of_one_process_do_not_wait_for_each_other():
    """Each has three threads, which wait for each other at every update."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", SIDE_BY_SIDE],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == "done"
