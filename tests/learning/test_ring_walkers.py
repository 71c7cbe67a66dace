"""Exploration by ring polymers: walkers, what is recorded of them, and what they cost."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from palirs import keys
from palirs.dynamics.rings import beads_of, modes_of
from palirs.learning import frames as sampling
from palirs.learning.acquisition import choose, expected_errors
from palirs.learning.confirmation import tests_of_md as of_md
from palirs.learning.exploration import explore
from palirs.learning.frames import Sampling
from palirs.learning.iterations import explored_otherwise, read_walkers
from palirs.learning.quality.metrics import errors_on_tests
from palirs.learning.state import LearningState
from palirs.learning.walkers import Trajectory, Walker, new_walkers
from palirs.mace.models.committee import force_spread, relative_force_error
from palirs.molecules import Molecules
from palirs.selection import MostUncertain, RandomFrames, Selector
from palirs.settings import Sampler

BEADS = 4
CLASSICAL = Sampler(
    temperatures=(70.0, 100.0), replicas=2, length=0.01, interval=1.0, relative_force_error=1e9
)
RINGS = replace(CLASSICAL, nuclei="ring_polymer", beads=BEADS)


@pytest.fixture(scope="module")
def group():
    return new_walkers(Molecules(names=("methanol",)).load(), RINGS)


@pytest.fixture(scope="module")
def first(committee, group):
    return explore(committee, group, RINGS, seed=1, iteration=1)


def same(one, other):
    """Tell whether two trajectories, and where they go on, are the same to the last bit."""
    pairs = [(getattr(one, x), getattr(other, x)) for x in ("times", "positions", "drawn")]
    pairs += [(getattr(one.walker, x), getattr(other.walker, x)) for x in ("velocities", "modes")]
    return all(np.array_equal(a, b) for a, b in pairs) and np.allclose(one.spread, other.spread)


def test_rings_of_one_bead_walk_as_classical_ones_do(committee, group):
    one = explore(committee, group, replace(RINGS, beads=1), seed=1, iteration=1)
    classical = explore(committee, group, CLASSICAL, seed=1, iteration=1)
    for ring, point in zip(one, classical, strict=True):
        np.testing.assert_allclose(ring.positions, point.positions, rtol=0, atol=1e-9)
        np.testing.assert_allclose(ring.spread, point.spread, rtol=1e-4)
        np.testing.assert_array_equal(ring.times, point.times)
        assert ring.drawn.all()


def test_frames_are_beads_with_their_own_spread(committee, group, first):
    """One at random of each moment, and the one on which the members disagree most."""
    for trajectory in first:
        times, counts = np.unique(trajectory.times, return_counts=True)
        assert len(times) == 10
        assert trajectory.drawn.sum() == 10
        assert set(counts) <= {1, 2}
        largest = np.array([trajectory.spread[trajectory.times == time].max() for time in times])
        assert (trajectory.spread[~trajectory.drawn] >= largest[counts == 2] - 1e-12).all()
        beads = beads_of(torch.tensor(trajectory.walker.modes)).numpy()
        spreads = []
        for frame in beads:
            atoms = trajectory.walker.molecule.copy()
            atoms.positions = frame
            forces = torch.tensor(committee.evaluate([atoms]).forces[0])
            spreads.append(float(force_spread(forces).max()))
        last = trajectory.times == times[-1]
        off = np.abs(beads[:, None] - trajectory.positions[last][None]).max(axis=(2, 3))
        assert (off.min(axis=0) == 0).all(), "beads, not the centroid"
        which = off.argmin(axis=0)
        np.testing.assert_allclose(np.array(spreads)[which], trajectory.spread[last], rtol=1e-4)
        assert int(np.argmax(spreads)) in which
    frame = first[2].frame(0, 4)
    assert frame.info[keys.BEADS] == BEADS


def test_beads_are_drawn_evenly(committee, group):
    long = replace(RINGS, interval=0.5, beads=2)
    found = explore(committee, group, long, seed=1, iteration=1)
    uncertain = np.concatenate(
        [[(t.times == time).sum() == 1 for time in np.unique(t.times)] for t in found]
    )
    assert 0.3 < uncertain.mean() < 0.7, "half of what is drawn of two is the less certain one"


def test_a_ring_walks_the_same_in_any_company(committee, group, first):
    alone = explore(committee, group[3:], RINGS, seed=1, iteration=1)
    assert same(alone[0], first[3])


def test_a_ring_that_breaks_leaves_and_restarts_and_the_others_do_not_notice(
    committee, group, first
):
    """One bead is enough: it flies apart, or has no numbers."""
    broken = list(group)
    for number, change in ((0, 3.0), (2, np.nan)):
        beads = np.stack([group[number].molecule.positions] * BEADS)
        beads[2, -1] += change
        broken[number] = replace(group[number], modes=modes_of(torch.tensor(beads)).numpy())
    found = explore(committee, broken, RINGS, seed=1, iteration=1)
    assert found[0].stopped.startswith("dissociated")
    assert found[2].stopped.startswith("not a number")
    assert same(found[1], first[1])
    assert same(found[3], first[3])
    for number in (0, 2):
        walker = found[number].walker
        assert walker.velocities is None
        assert walker.modes is None
        np.testing.assert_array_equal(walker.molecule.positions, walker.optimum.positions)
    again = explore(committee, [found[0].walker], RINGS, seed=1, iteration=2)
    assert not again[0].stopped
    assert len(np.unique(again[0].times)) == 10


def test_a_bead_whose_forces_cannot_be_trusted_stops_the_ring(committee, group):
    """One is enough; the others are well below the limit."""
    beads = np.stack([group[0].molecule.positions] * BEADS)
    beads[2] *= 0.8
    frames = [group[0].molecule.copy() for _ in beads]
    for atoms, positions in zip(frames, beads, strict=True):
        atoms.positions = positions
    forces = torch.tensor(np.array(committee.evaluate(frames).forces))
    good, bad = np.sort(relative_force_error(forces).amax(dim=1).numpy())[-2:]
    assert bad > 1.5 * good
    walker = replace(group[0], modes=modes_of(torch.tensor(beads)).numpy())
    limit = float(np.sqrt(good * bad))
    watched = replace(RINGS, length=0.001, interval=0.5, relative_force_error=limit)
    assert "relative force error" in explore(committee, [walker], watched, 1, 1)[0].stopped
    assert not explore(committee, group[:1], watched, 1, 1)[0].stopped


def kept(tmp_path, sampler, group, found):
    """Write what was sampled, as an iteration does; return where, and the setup."""
    setup = SimpleNamespace(
        molecules=["methanol"], optima=[group[0].optimum], sampler=sampler, learning=None
    )
    walkers = [trajectory.walker for trajectory in found]
    sampling._write(tmp_path, setup, [], walkers, found, {"methanol": 1.0})
    return setup


def test_rings_go_on_from_iteration_to_iteration_with_all_beads(committee, group, first, tmp_path):
    """Also where the program was killed in between: to the last bit."""
    setup = kept(tmp_path, RINGS, group, first)
    walkers = Sampling.read(tmp_path, setup).walkers
    on = explore(committee, [t.walker for t in first], RINGS, seed=1, iteration=2)
    again = explore(committee, walkers, RINGS, seed=1, iteration=2)
    for before, one, other in zip(first, on, again, strict=True):
        assert same(one, other)
        opened = np.abs(before.walker.modes[1:]).max()
        start = beads_of(torch.tensor(before.walker.modes)).numpy()
        jump = np.abs(start[:, None] - one.positions[0]).max(axis=(2, 3)).min()
        assert jump < 0.05, "1 fs later a bead is where it was"
        assert opened > 0.02, "and that is not where the others are"


def test_a_classical_walker_opens_into_a_ring_where_it_is(committee, group, tmp_path):
    """A study that was explored classically goes on with ring polymers, or with more beads."""
    found = explore(committee, group, CLASSICAL, seed=1, iteration=1)
    setup = kept(tmp_path, CLASSICAL, group, found)
    summary = {"stopped": {"a": ""}}
    assert not explored_otherwise(summary, CLASSICAL)
    assert explored_otherwise(summary, RINGS)
    assert explored_otherwise(summary | {"beads": 2}, RINGS)
    assert not explored_otherwise(summary | {"beads": BEADS}, RINGS)
    assert not explored_otherwise({"stopped": {}}, RINGS), "nothing was explored yet"
    setup.sampler = RINGS
    walkers = read_walkers(tmp_path, setup)
    np.testing.assert_array_equal(walkers[0].velocities, found[0].walker.velocities)
    on = explore(committee, walkers, RINGS, seed=1, iteration=2)
    assert on[0].walker.modes.shape == (BEADS, 6, 3)
    assert np.abs(on[0].positions[0] - found[0].positions[-1]).max() < 0.3
    kept(tmp_path, RINGS, group, on)
    setup.sampler = replace(RINGS, beads=2 * BEADS)
    finer = read_walkers(tmp_path, setup)[0]
    assert finer.modes is None
    np.testing.assert_array_equal(finer.velocities, on[0].walker.velocities[0])


def rows(drawn):
    """Return a trajectory of a ring whose uncertain beads have ten times the spread."""
    methanol = Molecules(names=("methanol",)).load()[0]
    walker = Walker(methanol, methanol, 300.0, 0)
    drawn = np.tile([True, False], 40) if drawn else None
    times = np.repeat(np.arange(1, 41) * 50.0, 2)
    moves = 0.03 * np.random.default_rng(0).normal(size=(80, 6, 3))
    spread = np.tile([0.01, 0.1], 40)
    return Trajectory(walker, times, methanol.positions + moves, spread, spread, "", drawn, BEADS)


def test_errors_and_tests_are_of_beads_at_random_and_what_is_learnt_is_uncertain():
    trajectory = rows(drawn=True)
    state = LearningState(1, [], [], {"committee.calibration": 2.0})
    assert expected_errors([trajectory], 300.0, state) == pytest.approx({"methanol": 20.0})
    other = replace(trajectory, walker=replace(trajectory.walker, replica=1))
    state = replace(state, walkers=[trajectory.walker, other.walker])

    def chosen(choice):
        setup = SimpleNamespace(
            learning=SimpleNamespace(split="groups", anharmonic=None, confirm=0),
            selector=Selector(choice=choice, per="molecule", frames=10),
            training=SimpleNamespace(test_fraction=0.2),
            temperature=300.0,
            seed=1,
        )
        frames = choose([trajectory, other], setup, state)
        assert all(atoms.info[keys.BEADS] == BEADS for atoms in frames)
        tests = [atoms for atoms in frames if atoms.info.get(keys.SPLIT) == "test"]
        learnt = [atoms for atoms in frames if atoms.info.get(keys.SPLIT) != "test"]
        assert len(tests) == 2
        assert {atoms.info["force_spread"] for atoms in tests} == {0.01}
        return {atoms.info["force_spread"] for atoms in learnt}

    assert chosen(MostUncertain()) == {0.1}
    assert chosen(RandomFrames()) == {0.01}


def test_frames_of_another_kind_of_md_do_not_tell_the_error(committee, frames):
    """Those of classical MD, tested before the study went on with rings, nor those of fewer beads.

    Errors of all of them are told by their origin.
    """
    told = []
    for beads in (None, None, 2, BEADS):
        atoms = frames[0].copy()
        atoms.info = {keys.MOLECULE: "a", keys.ORIGIN: "md", keys.SPLIT: "test"}
        atoms.info |= {keys.TEMPERATURE: 300.0, keys.ENERGY: frames[0].info[keys.ENERGY]}
        if beads:
            atoms.info[keys.BEADS] = beads
            atoms.arrays[keys.FORCES] = atoms.arrays[keys.FORCES] + beads
        told.append(atoms)
    assert [len(of_md(told, "a", beads)) for beads in (None, 2, 3, BEADS)] == [2, 1, 0, 1]
    by_sampler = [
        errors_on_tests(committee, told, SimpleNamespace(sampler=sampler))
        for sampler in (CLASSICAL, RINGS, replace(RINGS, beads=3))
    ]
    name = "forces.md.mae_meV_per_A"
    assert by_sampler[0][name] == by_sampler[0]["forces.mae_meV_per_A.md_300K"]
    assert by_sampler[1][name] == by_sampler[1][f"forces.mae_meV_per_A.md_300K_{BEADS}beads"]
    assert by_sampler[1][name] > 3000
    assert name not in by_sampler[2]
