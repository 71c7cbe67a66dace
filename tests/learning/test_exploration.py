from dataclasses import replace

import numpy as np
import pytest
import torch

from palirs import keys
from palirs.executors import SerialExecutor
from palirs.learning.exploration import explore
from palirs.learning.frames import in_shares
from palirs.learning.walkers import new_walkers
from palirs.mace.models.committee import Committee
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Evaluation
from palirs.molecules import Molecules
from palirs.settings import Sampler
from palirs.units import BOLTZMANN, EV_PER_AMU_A2_FS2

SHORT = Sampler(
    temperatures=(30.0, 70.0), replicas=2, length=0.02, interval=2.0, relative_force_error=1e9
)


@pytest.fixture(scope="module")
def group():
    return new_walkers(Molecules(names=("methanol", "formamide")).load(), SHORT)


@pytest.fixture(scope="module")
def first(committee, group):
    return explore(committee, group, SHORT, seed=1, iteration=1)


def test_there_is_a_walker_for_every_combination(group):
    assert len(group) == 2 * 2 * 2
    assert len({walker.name for walker in group}) == 8


def test_exploration_records_and_goes_on(committee, first):
    assert all(len(trajectory.times) == 10 and not trajectory.stopped for trajectory in first)
    assert all(
        (trajectory.spread > trajectory.mean_spread).all() and (trajectory.mean_spread > 0).all()
        for trajectory in first
    )
    second = explore(
        committee, [trajectory.walker for trajectory in first], SHORT, seed=1, iteration=2
    )
    for before, after in zip(first, second, strict=True):
        jump = np.abs(after.positions[0] - before.positions[-1]).max()
        assert jump < 0.5, "2 fs later the molecule is where it was, not at its optimum again"
        np.testing.assert_array_equal(before.walker.molecule.positions, before.positions[-1])


def test_a_walker_moves_the_same_in_any_company(committee, group, first):
    """Sharing walkers out over workers must not change a trajectory."""
    alone = explore(committee, group[3:4], SHORT, seed=1, iteration=1)
    np.testing.assert_allclose(first[3].positions, alone[0].positions, atol=1e-8)


def test_walkers_keep_their_order_when_workers_share_them_out(committee):
    """Large molecules are shared out first, wherever they stand."""
    mixed = new_walkers(
        Molecules(names=("methanol", "acetone", "formamide")).load(), replace(SHORT, length=0.004)
    )

    class Three(SerialExecutor):
        workers = 3

    shared = in_shares(
        mixed,
        Three(),
        lambda part: explore(committee, part, replace(SHORT, length=0.004), seed=1, iteration=1),
    )
    assert [trajectory.walker.name for trajectory in shared] == [walker.name for walker in mixed]


def test_the_sanity_stop_ends_one_trajectory_and_says_why(committee, group):
    strict = replace(SHORT, relative_force_error=1e-9)
    stopped = explore(committee, group[:2], strict, seed=1, iteration=1)
    for trajectory in stopped:
        assert "relative force error" in trajectory.stopped
        assert len(trajectory.times) == 0
        assert trajectory.walker.velocities is None
        np.testing.assert_array_equal(
            trajectory.walker.molecule.positions, trajectory.walker.optimum.positions
        )


def test_frames_know_where_they_come_from(first):
    frame = first[2].frame(0, 4)
    assert frame.info == {
        keys.MOLECULE: "methanol",
        keys.ORIGIN: "exploration",
        keys.ITERATION: 4,
        keys.TEMPERATURE: 70.0,
        keys.GROUP: "methanol 70 K #0, iteration 4",
    }


@pytest.mark.parametrize("backend", ["native", "eager"])
def test_a_broken_trajectory_leaves_and_the_others_do_not_notice(committee, group, first, backend):
    """One molecule flies apart, one falls into itself, one has no numbers.

    Each says so, the others move as before.
    """
    broken = list(group)
    for number, change in ((0, 3.0), (5, 0.2), (6, np.nan)):
        molecule = group[number].molecule.copy()
        molecule.positions *= change
        broken[number] = replace(group[number], molecule=molecule)
    found = explore(
        committee, broken, SHORT, seed=1, iteration=1, evaluation=Evaluation(backend=backend)
    )
    assert found[0].stopped.startswith("dissociated")
    assert found[5].stopped.startswith("collapsed")
    assert found[6].stopped.startswith("not a number")
    for number in (1, 2, 3, 4, 7):
        assert not found[number].stopped
        np.testing.assert_allclose(found[number].positions, first[number].positions, atol=1e-9)


def test_a_molecule_that_rearranges_is_whole():
    from ase import Atoms

    from palirs.dynamics import Integrity

    there = Atoms("HCN", positions=[[-1.07, 0, 0], [0, 0, 0], [1.16, 0, 0]])
    here = Atoms("HCN", positions=[[2.16, 0, 0], [0, 0, 0], [1.16, 0, 0]])
    watch = Integrity([there, here])
    assert watch.broken(torch.tensor(np.concatenate([there.positions, here.positions]))) == {}
    stretched = here.positions + np.array([[2.0, 0, 0], [0, 0, 0], [0, 0, 0]])
    reasons = watch.broken(torch.tensor(np.concatenate([there.positions, stretched])))
    assert list(reasons) == [1]
    assert "dissociated" in reasons[1]


def test_a_trajectory_that_starts_at_the_optimum_has_its_temperature_at_once(frames, small):
    """With velocities of the temperature itself half of it would be left.

    And a short exploration would see too little.
    """
    shape = replace(PotentialShape.of(frames, small), scale=1e-9)
    weak = Committee.of([(shape, shape.build()) for _ in range(2)])
    settings = replace(SHORT, temperatures=(300.0,), replicas=64, length=0.001, interval=0.5)
    moved = explore(
        weak,
        new_walkers(Molecules(names=("methanol",)).load(), settings),
        settings,
        seed=1,
        iteration=1,
    )
    velocities = np.array([trajectory.walker.velocities for trajectory in moved])
    masses = moved[0].walker.molecule.get_masses()
    kelvin = (
        (masses[:, None] * velocities**2).sum(axis=(1, 2)) * EV_PER_AMU_A2_FS2 / (15 * BOLTZMANN)
    )
    assert kelvin.mean() == pytest.approx(600, rel=0.1), (
        "nothing has been taken up yet where there is no potential"
    )
