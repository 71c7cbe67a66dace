"""Choosing frames, and when the loop ends."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase.build import molecule

from palirs import keys
from palirs.dynamics import average
from palirs.geometry.distinct import distances
from palirs.learning import loop
from palirs.learning.acquisition import choose, expected_errors
from palirs.learning.completed import MEASURED
from palirs.learning.confirmation import Confirmation
from palirs.learning.frames import Sampling
from palirs.learning.quality.convergence import HarmonicErrors
from palirs.learning.splits import split_dataset
from palirs.learning.state import LearningSetup, LearningState
from palirs.learning.walkers import Trajectory, Walker
from palirs.mace.settings import Training
from palirs.recipes import PalirsError
from palirs.selection import Distant, MostUncertain, RandomFrames, Selector
from palirs.settings import Learning, Sampler


def trajectories(velocities):
    """Two trajectories of methanol that pass through the same structures, recorded every 5 fs."""
    rng = np.random.default_rng(0)
    atoms = molecule("CH3OH")
    atoms.info[keys.MOLECULE] = "methanol"
    steps = rng.normal(scale=0.05, size=(100, len(atoms), 3))
    walker = Walker(atoms, atoms, 300.0, 0, velocities)
    times = np.arange(1, 101) * 5.0
    one = Trajectory(walker, times, atoms.positions + steps, 1 + rng.random(100), rng.random(100))
    mirrored = (atoms.positions + steps) * [1, -1, 1]
    return [one, replace(one, walker=replace(walker, replica=1), positions=mirrored)]


def setup(selector, tmp_path):
    explorer = Sampler()
    return LearningSetup(tmp_path, 1, 3, Learning(), None, Training(), None, explorer, selector, ())


@pytest.mark.parametrize(
    "selector",
    [Selector(choice=choice, frames=8) for choice in (MostUncertain(), Distant(), RandomFrames())],
)
def test_no_structure_twice_no_neighbours_none_that_is_labelled(selector, tmp_path):
    found = trajectories(velocities=np.zeros((6, 3)))
    state = LearningState(1, [], [trajectory.walker for trajectory in found])
    chosen = choose(found, setup(selector, tmp_path), state)
    rows = np.array([distances(atoms) for atoms in chosen])
    apart = np.abs(rows[:, None] - rows[None]).max(axis=-1) + np.eye(len(rows))
    assert apart.min() > 1e-4, "a mirror image of a chosen one is left out"
    again = choose(found, setup(selector, tmp_path), replace(state, dataset=chosen))
    assert not any(np.abs(rows - distances(atoms)).max(axis=1).min() < 1e-4 for atoms in again), (
        "nor is a labelled one taken again"
    )
    begin = [
        np.flatnonzero((found[0].positions == atoms.positions).all(axis=(1, 2))) for atoms in chosen
    ]
    assert all(found[0].times[where].min(initial=1e9) >= selector.separation for where in begin), (
        "beside the end of the iteration before"
    )


def test_a_fresh_trajectory_may_be_labelled_from_its_first_frame(tmp_path):
    found = trajectories(velocities=None)
    best = int(found[0].spread[:5].argmax())
    found = [replace(found[0], spread=np.where(np.arange(100) == best, 9.0, found[0].spread))]
    chosen = choose(
        found, setup(Selector(frames=1), tmp_path), LearningState(1, [], [found[0].walker])
    )
    np.testing.assert_allclose(chosen[0].positions, found[0].positions[best], atol=1e-8)


def explored(name, kelvin, spread, stopped=""):
    """One trajectory of water with this mean spread of forces [eV/Å]."""
    atoms = molecule("H2O")
    atoms.info[keys.MOLECULE] = name
    ones = np.ones(2)
    return Trajectory(
        Walker(atoms, atoms, kelvin, 0),
        5 * ones,
        np.stack([atoms.positions] * 2),
        3 * spread * ones,
        spread * ones,
        stopped,
    )


def test_the_expected_error_is_that_at_the_temperature_of_the_study(tmp_path):
    found = [explored("water", 300.0, 0.003), explored("water", 700.0, 0.02)]
    state = LearningState(1, [], [], {"committee.calibration": 2.0})
    assert expected_errors(found, 300.0, state) == pytest.approx({"water": 6.0})
    assert expected_errors(found, 600.0, state) == pytest.approx({"water": 40.0})
    assert expected_errors(found, 300.0, replace(state, metrics={})) == {"water": np.inf}
    broken = [explored("water", 300.0, 0.003, "dissociated"), explored("steam", 300.0, 0.001)]
    assert expected_errors(broken, 300.0, state) == pytest.approx({"water": np.inf, "steam": 2.0})


def test_the_loop_ends_when_frequencies_and_forces_are_good():
    good = LearningState(1, [], [], harmonic=HarmonicErrors(2.0, {"a": 2.0}, 0))
    forces, frequencies = (Learning(iterations=5, forces_mae=mae) for mae in (10.0, None))
    assert good.finished(frequencies)
    assert not good.finished(forces)
    assert replace(good, forces_converged=True).finished(forces)
    failed = replace(good, forces_converged=True, harmonic=HarmonicErrors(2.0, {}, 1))
    assert not failed.finished(forces)
    assert LearningState(5, [], []).finished(forces)
    assert not replace(good, unsampled=True).finished(frequencies), (
        "what was added to the study is not sampled"
    )
    assert not LearningState(5, [], [], counted_from=1).finished(forces), (
        "the limit counts from when the last molecule was added"
    )
    assert LearningState(6, [], [], unsampled=True, counted_from=1).finished(forces)


def test_means_over_atoms_are_those_of_each_molecule():
    values = torch.tensor([[1.0, 2.0, 3.0, 10.0, 20.0], [0, 0, 0, 1, 3]])
    state = SimpleNamespace(counts=(3, 2), system=torch.tensor([0, 0, 0, 1, 1]))
    torch.testing.assert_close(average(values, state), torch.tensor([[2.0, 15.0], [0.0, 2.0]]))
    torch.testing.assert_close(average(values[0], state), torch.tensor([2.0, 15.0]))


def test_frames_of_a_single_group_leave_nothing_to_test_with(tmp_path):
    """The images of a molecule's only mode are one group."""
    images = []
    for number in range(8):
        atoms = molecule("H2")
        atoms.positions *= 1 + 0.05 * number
        atoms.info |= {keys.MOLECULE: "H2", keys.ORIGIN: "normal_mode", keys.GROUP: "mode 0"}
        images.append(atoms)
    settings = replace(setup(None, tmp_path), training=Training())
    with pytest.raises(PalirsError, match="initial=thermal"):
        split_dataset([], images, settings, 0)
    train, test = split_dataset([], images, replace(settings, learning=Learning(split="frames")), 0)
    assert (len(train), len(test)) == (6, 2)


class PaysError(Exception):
    """Labels would be paid for."""


class Payer:
    def label(self, frames, title):
        raise PaysError


@pytest.mark.parametrize("unsampled", [False, True])
def test_learning_that_has_stalled_pays_no_more_unless_something_new_is_to_be_sampled(
    unsampled, tmp_path, monkeypatch
):
    row = {"dataset.size": 30.0, "harmonic.failed": 0.0, "harmonic.mae_cm1": 2.0}
    row |= {"harmonic.mae_cm1.a": 2.0, "exploration.force_error_meV_per_A": 40.0}
    history = tuple(row | {"dataset.size": 30.0 + 10 * number} for number in range(5))
    sampling = Sampling([], [], {"a": 40.0}, 0)
    monkeypatch.setattr(loop, "sample", lambda *arguments: sampling)
    monkeypatch.setattr(
        loop, "clear_outdated", lambda place, state, setup: place.mkdir(parents=True)
    )
    state = LearningState(5, [], [], dict(row), unsampled=unsampled, history=history)
    study = setup(Selector(), tmp_path)
    if unsampled:
        with pytest.raises(PaysError):
            loop.step(state, study, Payer(), None, None)
    else:
        ended = loop.step(state, study, Payer(), None, None)
        assert ended.stalled
        assert ended.finished(study.learning)


@pytest.mark.parametrize("known", [{}, {MEASURED: 6.0}])
def test_an_error_that_frames_there_are_measure_is_kept_once(known, tmp_path, monkeypatch):
    """No label was needed for it; when the study is run again it is there."""
    saved = []
    monkeypatch.setattr(loop, "sample", lambda *arguments: Sampling([], [], {"a": 5.0}, 0))
    monkeypatch.setattr(loop, "clear_outdated", lambda *arguments: None)
    monkeypatch.setattr(loop, "confirm", lambda *arguments: Confirmation([], {"a": (6.0, 1.0)}))
    monkeypatch.setattr(loop, "_converged", lambda *arguments: {"a"})

    def save(place, metrics, confirmation, *arguments):
        saved.append(confirmation.metrics())
        return LearningState(2, [], [])

    monkeypatch.setattr(loop, "_confirmed", save)
    row = {"harmonic.mae_cm1": 0.5, "dataset.size": 30.0, **known}
    loop.step(LearningState(1, [], [], row), setup(Selector(), tmp_path), Payer(), None, None)
    assert len(saved) == (0 if known else 1)
