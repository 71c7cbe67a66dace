import numpy as np

from palirs.selection import MostUncertain, RandomFrames

TIMES = np.arange(0.0, 1000.0, 5.0)


def test_the_most_uncertain_frames_that_are_not_neighbours():
    spread = np.exp(-(((TIMES - 400) / 30) ** 2)) + 0.5 * np.exp(-(((TIMES - 800) / 30) ** 2))
    chosen = MostUncertain(frames=3, separation=100.0).choose(spread, TIMES, np.random.default_rng(0))
    assert TIMES[chosen[0]] == 400
    assert set(TIMES[chosen[1:]]) <= {300, 500, 800}
    assert 800 in TIMES[chosen]


def test_frames_lie_apart():
    rng = np.random.default_rng(1)
    for selector in (MostUncertain(frames=10, separation=60.0), RandomFrames(frames=10, separation=60.0)):
        chosen = selector.choose(rng.random(len(TIMES)), TIMES, rng)
        assert len(chosen) == 10
        assert np.diff(np.sort(TIMES[chosen])).min() >= 60


def test_a_trajectory_that_ended_at_once_gives_what_it_has():
    empty = MostUncertain().choose(np.array([]), np.array([]), np.random.default_rng(0))
    assert len(empty) == 0
    short = MostUncertain(frames=5, separation=50.0).choose(np.ones(3), np.array([5.0, 10.0, 15.0]), np.random.default_rng(0))
    assert len(short) == 1


def test_random_frames_follow_their_stream():
    pick = [RandomFrames().choose(np.ones(200), TIMES, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(pick[0], pick[1])
    assert set(pick[0]) != set(pick[2])
