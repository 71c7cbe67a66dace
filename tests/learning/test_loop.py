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
from palirs.learning.acquisition import choose, converged_molecules, expected_errors
from palirs.learning.exploration import Trajectory, Walker
from palirs.learning.loop import share_out
from palirs.learning.state import LearningSetup, LearningState
from palirs.mace.settings import Training
from palirs.recipes import PalirsError
from palirs.selection import Distant, MostUncertain, RandomFrames, Selector
from palirs.settings import Learning


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


def plan(selector, tmp_path, temperature=300.0):
    return LearningSetup(
        tmp_path, 1, 3, Learning(), None, None, None, None, selector, (), temperature
    )


@pytest.mark.parametrize(
    "selector",
    [Selector(choice=choice, frames=8) for choice in (MostUncertain(), Distant(), RandomFrames())],
)
def test_no_structure_twice_no_neighbours_none_that_is_labelled(selector, tmp_path):
    found = trajectories(velocities=np.zeros((6, 3)))
    state = LearningState(1, [], [trajectory.walker for trajectory in found])
    chosen = choose(found, plan(selector, tmp_path), state)
    rows = np.array([distances(atoms) for atoms in chosen])
    apart = np.abs(rows[:, None] - rows[None]).max(axis=-1) + np.eye(len(rows))
    assert apart.min() > 1e-4, "a mirror image of a chosen one is left out"
    again = choose(found, plan(selector, tmp_path), replace(state, dataset=chosen))
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
        found, plan(Selector(frames=1), tmp_path), LearningState(1, [], [found[0].walker])
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
    found, state = (
        [explored("water", 300.0, 0.003), explored("water", 700.0, 0.02)],
        LearningState(1, [], [], {"committee.calibration": 2.0}),
    )
    assert expected_errors(found, plan(None, tmp_path), state) == pytest.approx({"water": 6.0})
    assert expected_errors(found, plan(None, tmp_path, 600.0), state) == pytest.approx(
        {"water": 40.0}
    )
    assert expected_errors(found, plan(None, tmp_path), replace(state, metrics={})) == {
        "water": np.inf
    }
    broken = [explored("water", 300.0, 0.003, "dissociated"), explored("steam", 300.0, 0.001)]
    assert expected_errors(broken, plan(None, tmp_path), state) == pytest.approx(
        {"water": np.inf, "steam": 2.0}
    )


def test_a_molecule_that_is_good_gets_no_more_labels(tmp_path):
    metrics = {
        "harmonic.mae_cm1": 5.5,
        "harmonic.failed": 0.0,
        "harmonic.mae_cm1.a": 2.0,
        "harmonic.mae_cm1.b": 9.0,
    }
    state, expected = LearningState(1, [], [], metrics), {"a": 5.0, "b": 5.0, "c": 5.0}

    def spared(expected, metrics=metrics, **goals):
        settings = replace(plan(None, tmp_path), learning=Learning(**{"forces_mae": 10.0, **goals}))
        return converged_molecules(expected, settings, replace(state, metrics=metrics))

    assert spared(expected) == {"a"}, "b is not good, c has failed"
    assert spared(expected, harmonic_mae=10.0) == {"a", "b"}
    assert spared({**expected, "a": 20.0}) == set()
    assert spared({"a": np.inf}) == set()
    assert spared({"a": np.inf}, forces_mae=None) == {"a"}, "nothing is asked of its forces"
    assert spared({}) == set()
    assert spared(expected, converge="together") == set()
    near = {**metrics, "harmonic.mae_cm1": 4.0}
    assert spared(expected, near, converge="together") == {"a", "b", "c"}
    assert spared({**expected, "a": 50.0}, near, converge="together") == set(), "20 on average"
    assert spared(expected, near, converge="together", forces_mae=None) == set(), (
        "as published: the loop ends by itself"
    )


def test_each_molecule_or_their_average(tmp_path):
    metrics = {
        "harmonic.mae_cm1": 4.0,
        "harmonic.failed": 0.0,
        "harmonic.mae_cm1.a": 2.0,
        "harmonic.mae_cm1.b": 6.0,
    }
    state = LearningState(1, [], [], metrics)
    assert state.near(Learning(converge="together"))
    assert not state.near(Learning(converge="each"))
    assert state.near(Learning(converge="each", harmonic_mae=7.0))
    assert not replace(state, metrics={**metrics, "harmonic.failed": 1.0}).near(
        Learning(converge="together", harmonic_mae=7.0)
    )


def test_intensities_count_where_they_are_asked_for(tmp_path):
    shares, off = "harmonic.intensity_relative", "harmonic.intensity_mae_km_per_mol"
    modes = {
        "harmonic.failed": 0.0,
        **dict.fromkeys(["harmonic.mae_cm1", "harmonic.mae_cm1.a", "harmonic.mae_cm1.b"], 2.0),
    }
    bright = {
        shares: 0.06,
        f"{shares}.a": 0.03,
        f"{shares}.b": 0.09,
        off: 1.0,
        f"{off}.a": 1.0,
        f"{off}.b": 1.0,
    }
    state, asked = LearningState(1, [], [], modes | bright), Learning(intensities=0.05)
    assert state.near(Learning())
    assert not state.near(asked)
    assert state.near(replace(asked, intensities=0.1))
    assert not state.near(replace(asked, converge="together"))
    assert state.near(replace(asked, converge="together", intensities=0.07))
    assert not replace(state, metrics=modes).near(asked), (
        "of an iteration that did not look at them they are not known"
    )
    without = {
        key: value for key, value in bright.items() if key not in (shares, f"{shares}.b")
    } | {shares: 0.03}
    assert replace(state, metrics=modes | without).near(asked), "no mode of b is strong"
    chosen = replace(plan(None, tmp_path), learning=replace(asked, forces_mae=10.0))
    assert converged_molecules({"a": 5.0, "b": 5.0}, chosen, state) == {"a"}


def test_the_loop_ends_when_frequencies_and_forces_are_good():
    good = LearningState(1, [], [], {"harmonic.mae_cm1": 2.0, "harmonic.failed": 0.0})
    both, frequencies = (
        Learning(iterations=5, forces_mae=10.0),
        Learning(iterations=5, forces_mae=None),
    )
    assert good.finished(frequencies)
    assert not good.finished(both)
    assert replace(good, enough=True).finished(both)
    assert not replace(good, enough=True, metrics={"harmonic.mae_cm1": 9.0}).finished(both)
    assert LearningState(5, [], [], {}).finished(both)
    assert not replace(good, lacking=True).finished(frequencies), (
        "what has come to the study is not sampled"
    )
    assert not LearningState(5, [], [], {}, since=1).finished(both), (
        "the limit counts from when the last molecule came"
    )
    assert LearningState(6, [], [], {}, lacking=True, since=1).finished(both)


def test_means_over_atoms_are_those_of_each_molecule():
    values, state = (
        torch.tensor([[1.0, 2.0, 3.0, 10.0, 20.0], [0, 0, 0, 1, 3]]),
        SimpleNamespace(counts=(3, 2), system=torch.tensor([0, 0, 0, 1, 1])),
    )
    torch.testing.assert_close(average(values, state), torch.tensor([[2.0, 15.0], [0.0, 2.0]]))
    torch.testing.assert_close(average(values[0], state), torch.tensor([2.0, 15.0]))


def test_frames_that_are_all_neighbours_leave_nothing_to_test_with(tmp_path):
    """The images of a molecule's only mode stand on one side together."""
    images = []
    for number in range(8):
        atoms = molecule("H2")
        atoms.positions *= 1 + 0.05 * number
        atoms.info |= {keys.MOLECULE: "H2", keys.ORIGIN: "normal_mode", keys.GROUP: "mode 0"}
        images.append(atoms)
    settings = replace(plan(None, tmp_path), training=Training())
    with pytest.raises(PalirsError, match="initial=thermal"):
        share_out([], images, settings, 0)
    train, test = share_out([], images, replace(settings, learning=Learning(split="frames")), 0)
    assert (len(train), len(test)) == (6, 2)
