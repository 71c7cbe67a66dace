"""Directional derivatives as targets: their loss, its gradient, and what a model learns of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from palirs import keys
from palirs.mace.models.dipole import DipoleShape
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Training
from palirs.mace.training.derivatives import FRACTION, Derivative, displaced, weights
from palirs.mace.training.gradients import Data, Gradients
from palirs.mace.training.objectives import DipoleObjective, PotentialObjective

KINDS = {
    "potential": (PotentialObjective, PotentialShape),
    "dipole": (DipoleObjective, DipoleShape),
}


def some(frames, count=6):
    """Return derivatives at frames of both molecules, with labels of a typical size."""
    rng = np.random.default_rng(3)
    chosen = [frames[0], frames[25]] * (count // 2)
    return [
        Derivative(
            atoms,
            rng.normal(0, 0.05, (len(atoms), 3)),
            rng.normal(0, 1.0, (len(atoms), 3)),
            rng.normal(0, 0.05, 3),
        )
        for atoms in chosen
    ]


def prepared(kind, frames, small, training):
    """Return what gives loss and gradient of frames and derivatives."""
    objective_of, shape_of = KINDS[kind]
    torch.manual_seed(0)
    objective = objective_of(shape_of.of(frames, replace(small, dtype="float64")), training)
    both = Gradients(objective.shape.build(), objective, training)
    return both, Data.of(frames, objective, both.dtype, derivatives=some(frames))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ["l1l2", "mse", "huber"])
def test_compiled_gradients_of_frames_and_derivatives_are_those_of_autograd(
    kind, loss, threads, small, frames
):
    entries = [0, len(frames) + 2, 25, len(frames), len(frames) + 3, len(frames) + 1, 1, 30]
    results = []
    torch.set_num_threads(threads)
    try:
        for backend in ("native", "eager"):
            training = Training(loss=loss, huber_delta=0.1, derivatives=7.0, backend=backend)
            both, data = prepared(kind, frames, small, training)
            results.append((both(data, entries), both.gradient.numpy().copy()))
    finally:
        torch.set_num_threads(1)
    (value, gradient), (expected_value, expected) = results
    assert value == pytest.approx(expected_value, rel=1e-9)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_derivatives_are_those_of_their_loss(kind, small, frames):
    training = Training(derivatives=7.0, backend="native")
    both, data = prepared(kind, frames, small, training)
    pairs = list(range(len(frames), len(data)))
    assert len(pairs) == 6
    both(data, pairs)
    gradient = both.gradient.clone()
    direction = gradient / gradient.norm()
    values = []
    for sign in (1, -1):
        with both.holding(both.vector + sign * 1e-5 * direction):
            values.append(both(data, pairs))
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(float(gradient.norm()), rel=1e-5)


def test_the_loss_of_a_derivative_is_the_error_of_the_change_of_forces(small, frames):
    training = Training(loss="mse", energy_weight=0.0, forces_weight=1.0, derivatives=6.0)
    both, data = prepared("potential", frames, small, training)
    derivative = some(frames)[0]
    _, forces = both._learner.batch(data.frames).forces(data.frames.positions)
    plus, minus = (
        slice(data.frames.start[i], data.frames.start[i + 1]) for i in (-12 - 1, -11 - 1)
    )
    change = (forces[0][plus] - forces[0][minus]) / (2 * FRACTION)
    expected = ((change - derivative.forces) ** 2).mean() * 6.0 / 3  # three of its molecule
    assert both(data, [len(frames)]) == pytest.approx(expected, rel=1e-9)


def test_all_derivatives_of_a_molecule_together_count_like_so_many_frames(frames):
    each = weights(some(frames), 12.0)
    names = [d.atoms.info[keys.MOLECULE] for d in some(frames)]
    for name in set(names):
        assert sum(w for w, n in zip(each, names, strict=True) if n == name) == pytest.approx(12.0)


def test_displaced_structures_lie_to_either_side(frames):
    derivative = some(frames)[0]
    plus, minus = displaced([derivative])
    np.testing.assert_allclose(
        plus.positions - minus.positions, 2 * FRACTION * derivative.step, atol=1e-12
    )
    np.testing.assert_allclose(
        (plus.positions + minus.positions) / 2, derivative.atoms.positions, atol=1e-12
    )
