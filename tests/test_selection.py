from dataclasses import replace

import numpy as np
import pytest

from palirs.selection import Candidates, Distant, MostUncertain, RandomFrames, Selector
from palirs.selection.candidates import nearest

TIMES = np.arange(0.0, 1000.0, 5.0)
NONE = np.empty((0, 4))
CHOICES = [MostUncertain(), Distant(), RandomFrames()]


def of_one(spread, times=TIMES):
    return Candidates(
        np.zeros(len(times), dtype=int),
        times,
        spread,
        spread,
        np.random.default_rng(5).random((len(times), 4)),
    )


def pool(seed=0, trajectories=4):
    rng = np.random.default_rng(seed)
    count = trajectories * len(TIMES)
    number, times = np.repeat(np.arange(trajectories), len(TIMES)), np.tile(TIMES, trajectories)
    return Candidates(number, times, rng.random(count), rng.random(count), rng.random((count, 4)))


def test_the_most_uncertain_frames_that_are_not_neighbours():
    spread = np.exp(-(((TIMES - 400) / 30) ** 2)) + 0.5 * np.exp(-(((TIMES - 800) / 30) ** 2))
    chosen = Selector(frames=3, separation=100.0).choose(
        of_one(spread), NONE, 1.0, np.random.default_rng(0)
    )
    assert TIMES[chosen[0]] == 400
    assert set(TIMES[chosen[1:]]) <= {300, 500, 800}
    assert 800 in TIMES[chosen]


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("per", ["trajectory", "molecule"])
def test_no_neighbours_as_many_as_asked_for_and_inputs_unchanged(choice, per):
    found, labelled = pool(1), np.random.default_rng(2).random((5, 4))
    before = [
        np.copy(getattr(found, name))
        for name in ("trajectory", "times", "largest", "mean", "features")
    ]
    chosen = Selector(choice=choice, per=per, frames=10, separation=60.0).choose(
        found, labelled, 1.0, np.random.default_rng(0)
    )
    assert len(chosen) == (10 if per == "molecule" else 40)
    for number in range(4):
        mine = np.sort(found.times[chosen[found.trajectory[chosen] == number]])
        assert np.diff(mine).min(initial=np.inf) >= 60
    for name, value in zip(
        ("trajectory", "times", "largest", "mean", "features"), before, strict=True
    ):
        np.testing.assert_array_equal(getattr(found, name), value)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("per", ["trajectory", "molecule"])
def test_the_order_of_candidates_does_not_matter(choice, per):
    found, labelled = pool(3), np.random.default_rng(4).random((5, 4))
    selector = Selector(choice=choice, per=per, frames=6)
    straight = selector.choose(found, labelled, 1.0, np.random.default_rng(7))
    mixed = np.random.default_rng(8).permutation(len(found))
    shuffled = selector.choose(found.at(mixed), labelled, 1.0, np.random.default_rng(7))
    np.testing.assert_array_equal(mixed[shuffled], straight)


def test_uncertain_frames_are_taken_of_each_trajectory_or_of_the_molecule():
    found = pool()
    hot = replace(found, largest=found.largest + (found.trajectory == 2))
    each = Selector(frames=3).choose(hot, NONE, 1.0, np.random.default_rng(0))
    assert sorted(hot.trajectory[each]) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    together = Selector(frames=12, per="molecule").choose(hot, NONE, 1.0, np.random.default_rng(0))
    assert set(hot.trajectory[together]) == {2}


def test_the_mean_spread_may_decide():
    found = pool()
    chosen = Selector(frames=1, per="molecule", uncertainty="mean").choose(
        found, NONE, 1.0, np.random.default_rng(0)
    )
    assert chosen[0] == found.mean.argmax()


def test_distant_frames_do_not_ask_the_same_question_twice():
    """Two tight clusters of uncertain frames and one of dull ones.

    One of each of the first two comes before a second of either.
    """
    rng = np.random.default_rng(0)
    centres = np.repeat([[0.0, 0, 0, 0], [1.0, 0, 0, 0], [0, 1.0, 0, 0]], 20, axis=0)
    spread = np.repeat([1.0, 0.8, 0.1], 20)
    found = Candidates(
        np.arange(60),
        np.zeros(60),
        spread,
        spread,
        centres + rng.normal(scale=1e-3, size=centres.shape),
    )
    chosen = Selector(choice=Distant(), per="molecule", frames=2).choose(found, NONE, 1.0, rng)
    assert sorted(chosen // 20) == [0, 1]
    plain = Selector(per="molecule", frames=2).choose(found, NONE, 1.0, rng)
    assert set(plain // 20) == {0}
    beside = centres[:1] + 1e-3
    assert (
        Selector(choice=Distant(), per="molecule", frames=1).choose(found, beside, 1.0, rng)[0]
        // 20
        == 1
    ), "the first is labelled"


def test_distances_to_the_nearest():
    rows, others = np.random.default_rng(0).random((7, 3)), np.random.default_rng(1).random((4, 3))
    np.testing.assert_allclose(
        nearest(rows, others),
        [min(np.linalg.norm(row - other) for other in others) for row in rows],
    )
    assert np.isinf(nearest(rows, others[:0])).all()


def test_frames_that_are_good_enough_get_no_label():
    found = pool()
    chosen = Selector(frames=1000, per="molecule", separation=0.0, least_error=600.0).choose(
        found, NONE, 2.0, np.random.default_rng(0)
    )
    assert found.mean[chosen].min() >= 0.3
    assert len(chosen) == (found.mean >= 0.3).sum()
    everything = Selector(frames=1000, per="trajectory", separation=0.0, least_error=600.0)
    assert len(everything.choose(found, NONE, np.nan, np.random.default_rng(0))) == len(found), (
        "not calibrated"
    )


def test_a_trajectory_that_ended_at_once_gives_what_it_has():
    assert (
        len(
            Selector().choose(
                of_one(np.array([]), np.array([])), NONE, 1.0, np.random.default_rng(0)
            )
        )
        == 0
    )
    short = of_one(np.ones(3), np.array([5.0, 10.0, 15.0]))
    assert (
        len(Selector(frames=5, separation=50.0).choose(short, NONE, 1.0, np.random.default_rng(0)))
        == 1
    )


def test_random_frames_follow_their_stream():
    select = Selector(choice=RandomFrames())
    pick = [
        select.choose(of_one(np.ones(200)), NONE, 1.0, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(pick[0], pick[1])
    assert set(pick[0]) != set(pick[2])
