import numpy as np
import pytest

from palirs.learning.quality.held_out import check_drawn_alike, spread_out
from palirs.recipes import PalirsError


def blobs(counts):
    rng = np.random.default_rng(0)
    return np.concatenate(
        [
            rng.normal(scale=0.01, size=(count, 3)) + 10 * number
            for number, count in enumerate(counts)
        ]
    )


def test_every_cluster_is_drawn_from():
    counts = [500, 20, 20, 20, 20]
    taken = spread_out(blobs(counts), 5, 4, np.random.default_rng(1))
    assert len(set(taken)) == 20
    assert list(taken) == sorted(taken)
    np.testing.assert_array_equal(
        np.bincount(np.searchsorted(np.cumsum(counts), taken, side="right")), [4] * 5
    )


def test_a_small_cluster_gives_all_it_has_and_others_make_up_for_it():
    counts = [100, 2, 100]
    taken = spread_out(blobs(counts), 3, 4, np.random.default_rng(1))
    drawn = np.bincount(np.searchsorted(np.cumsum(counts), taken, side="right"))
    assert drawn[1] == 2
    assert drawn.sum() == 12
    assert abs(drawn[0] - drawn[2]) <= 1


def test_the_draw_follows_its_stream():
    found = [spread_out(blobs([50, 50]), 2, 5, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(found[0], found[1])
    assert set(found[0]) != set(found[2])


def test_too_few_frames_are_told():
    with pytest.raises(ValueError, match="7 frames are too few to draw 2 × 4"):
        spread_out(blobs([7]), 2, 4, np.random.default_rng(0))


def test_a_test_set_is_not_mixed_with_one_of_other_settings(tmp_path):
    file = tmp_path / "test_set" / "settings.json"
    check_drawn_alike(file, {"length": 100.0, "frames": 2000})
    check_drawn_alike(file, {"length": 100.0, "frames": 2000})
    with pytest.raises(PalirsError, match=r"frames: 2000 -> 500.*remove it"):
        check_drawn_alike(file, {"length": 100.0, "frames": 500})
