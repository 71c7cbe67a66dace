"""Which frames of an exploration are labelled: those chosen, and those that test."""

from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from palirs import keys
from palirs.learning.acquisition import choose, walkers_for_tests
from palirs.learning.walkers import Trajectory, Walker
from palirs.selection import Distant, Selector

STEP = 5.0
"""fs between recorded frames."""


def trajectories(temperatures=(300.0, 500.0), replicas=2, frames=200, started=True):
    """Return made-up trajectories of water that wander off, and their walkers before."""
    water = molecule("H2O")
    water.info[keys.MOLECULE] = "water"
    walkers = [
        Walker(water, water, kelvin, replica, np.zeros((3, 3)) if started else None)
        for kelvin in temperatures
        for replica in range(replicas)
    ]
    made = []
    for number, walker in enumerate(walkers):
        rng = np.random.default_rng(number)
        moves = 0.02 * rng.normal(size=(frames, 3, 3)).cumsum(axis=0)
        spread = rng.uniform(0.01, 0.1, frames)
        times = STEP * np.arange(1, frames + 1)
        made.append(Trajectory(walker, times, water.positions + moves, spread, spread / 2))
    return made, walkers


def setup(**changes):
    settings = {"split": "groups", "frames": 10, "share": 0.2, "kelvin": 300.0, **changes}
    return SimpleNamespace(
        learning=SimpleNamespace(
            split=settings["split"],
            anharmonic=settings.get("anharmonic"),
            confirm=settings.get("confirm", 0),
        ),
        selector=Selector(choice=Distant(), per="molecule", frames=settings["frames"]),
        temperature=settings["kelvin"],
        seed=1,
        training=SimpleNamespace(test_fraction=settings["share"]),
    )


def state(walkers):
    return SimpleNamespace(dataset=[], walkers=walkers, iteration=3, metrics={})


def test_one_trajectory_tests_and_is_never_learnt():
    made, walkers = trajectories()
    frames = choose(made, setup(), state(walkers))
    tests = [atoms for atoms in frames if atoms.info.get(keys.SPLIT) == "test"]
    chosen = [atoms for atoms in frames if keys.SPLIT not in atoms.info]
    assert (len(tests), len(chosen)) == (2, 8)
    assert {atoms.info[keys.ORIGIN] for atoms in tests} == {"md"}
    (group,) = {atoms.info[keys.GROUP] for atoms in tests}
    assert group.startswith("water 300 K #0")
    assert frames[-2:] == tests, "a budget that ends cuts them first"
    assert group not in {atoms.info[keys.GROUP] for atoms in chosen}


def test_frames_that_test_are_drawn_at_random_whatever_the_committee_thinks_of_them():
    made, walkers = trajectories(frames=4000)
    for number, trajectory in enumerate(made):
        made[number] = Trajectory(
            trajectory.walker,
            trajectory.times,
            trajectory.positions,
            np.linspace(0, 1, 4000),
            np.linspace(0, 1, 4000),
        )
    frames = choose(made, setup(frames=300), state(walkers))
    spreads = [a.info["force_spread"] for a in frames if a.info.get(keys.SPLIT) == "test"]
    assert len(spreads) == 60
    assert np.mean(spreads) == pytest.approx(0.5, abs=0.12)


def test_frames_to_confirm_with_are_a_reserve_of_those_that_test():
    made, walkers = trajectories()
    plain = choose(made, setup(), state(walkers))
    more = choose(made, setup(confirm=6), state(walkers))
    reserve = [atoms for atoms in more if atoms.info.get(keys.RESERVE)]
    assert len(reserve) == 4
    assert {atoms.info[keys.SPLIT] for atoms in reserve} == {"test"}
    rest = [atoms for atoms in more if not atoms.info.get(keys.RESERVE)]
    for one, other in zip(plain, rest, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
    near = [np.abs(made[0].positions - a.positions).max(axis=(1, 2)).argmin() for a in reserve]
    assert np.diff(sorted(made[0].times[near])).min() >= 50.0, "not neighbours in time"


def test_a_lone_walker_is_learnt_from_and_so_are_all_where_frames_are_split():
    made, walkers = trajectories((300.0,), 1)
    assert walkers_for_tests(walkers, setup(), state(walkers)) == []
    frames = choose(made, setup(), state(walkers))
    assert len(frames) == 10
    assert not any(keys.SPLIT in atoms.info for atoms in frames)
    made, walkers = trajectories()
    published = choose(made, setup(split="frames"), state(walkers))
    assert not any(keys.SPLIT in atoms.info for atoms in published)


def test_the_trajectory_nearest_to_the_temperature_of_the_study_tests():
    _, walkers = trajectories((500.0, 250.0, 700.0), 3)
    assert walkers_for_tests(walkers, setup(), state(walkers)) == ["water 250 K #0"]


def labelled(walker, origin):
    group = f"{walker.name}, iteration 0"
    return Atoms("OH2", info={keys.ORIGIN: origin, keys.GROUP: group, keys.MOLECULE: "water"})


def test_what_has_been_learnt_from_never_tests_and_what_has_tested_is_never_learnt_from():
    _, walkers = trajectories((300.0, 500.0), 2)
    known = state(walkers)
    known.dataset = [labelled(walkers[0], "exploration")]
    assert walkers_for_tests(walkers, setup(), known) == ["water 300 K #1"]
    _, more = trajectories((300.0, 290.0, 500.0), 2)
    known.dataset += [labelled(walkers[1], "md")]
    # the study is at 290 K now
    now = setup(kelvin=290.0)
    assert walkers_for_tests(more, now, known) == ["water 290 K #0", "water 300 K #1"]
    known.dataset = [labelled(walker, "exploration") for walker in walkers]
    assert walkers_for_tests(walkers, setup(), known) == []


def test_the_start_of_a_trajectory_that_goes_on_is_left_out():
    made, walkers = trajectories(frames=12)
    frames = choose(made, setup(), state(walkers))
    assert len(frames) <= 4, "60 fs, of which 50 are next to the iteration before"
