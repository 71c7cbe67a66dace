from dataclasses import replace

import numpy as np
import pytest

from palirs import keys
from palirs.molecules import Molecules
from palirs.sampling import explore, walkers
from palirs.settings import Sampler

SHORT = Sampler(temperatures=(300.0, 700.0), replicas=2, length=0.02, interval=2.0, relative_force_error=1e9)


@pytest.fixture(scope="module")
def group():
    return walkers(Molecules(names=("methanol", "formamide")).load(), SHORT)


@pytest.fixture(scope="module")
def first(committee, group):
    return explore(committee, group, SHORT, seed=1, iteration=1)


def test_there_is_a_walker_for_every_combination(group):
    assert len(group) == 2 * 2 * 2
    assert len({walker.name for walker in group}) == 8


def test_exploration_records_and_goes_on(committee, first):
    assert all(len(trajectory.times) == 10 and not trajectory.stopped for trajectory in first)
    assert all((trajectory.spread > 0).all() for trajectory in first)
    second = explore(committee, [trajectory.walker for trajectory in first], SHORT, seed=1, iteration=2)
    for before, after in zip(first, second, strict=True):
        jump = np.abs(after.positions[0] - before.positions[-1]).max()
        assert jump < 0.5, "2 fs later the molecule is where it was, not at its optimum again"
        np.testing.assert_array_equal(before.walker.molecule.positions, before.positions[-1])


def test_a_walker_moves_the_same_in_any_company(committee, group, first):
    """Sharing walkers out over workers must not change a trajectory."""
    alone = explore(committee, group[3:4], SHORT, seed=1, iteration=1)
    np.testing.assert_allclose(first[3].positions, alone[0].positions, atol=1e-8)


def test_the_sanity_stop_ends_one_trajectory_and_says_why(committee, group):
    strict = replace(SHORT, relative_force_error=1e-9)
    stopped = explore(committee, group[:2], strict, seed=1, iteration=1)
    for trajectory in stopped:
        assert "relative force error" in trajectory.stopped
        assert len(trajectory.times) == 0
        assert trajectory.walker.velocities is None
        np.testing.assert_array_equal(trajectory.walker.molecule.positions, trajectory.walker.optimum.positions)


def test_frames_know_where_they_come_from(first):
    frame = first[2].frame(0, 4)
    assert frame.info == {keys.MOLECULE: "methanol", keys.ORIGIN: "exploration", keys.ITERATION: 4, keys.TEMPERATURE: 700.0}
