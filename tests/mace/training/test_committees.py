import numpy as np
import pytest

from palirs.executors import Processes
from palirs.mace.settings import Training
from palirs.mace.training.committees import pieces, train_committee


@pytest.mark.parametrize(
    ("jobs", "workers"), [(1, 1), (3, 2), (5, 2), (4, 3), (7, 4), (6, 3), (2, 8), (9, 4)]
)
def test_pieces_of_trainings_keep_every_worker_busy(jobs, workers):
    """Simulated: no member on two workers at a time.

    And the end comes when the work is done on all workers together.
    """
    waiting = pieces(jobs, workers)
    free = [0.0] * workers
    done = [0.0] * jobs
    ends = [0.0] * jobs
    at = 0.0
    while waiting:
        at = min(free)
        ready = [piece for piece in waiting if ends[piece[0]] <= at + 1e-9]
        if not ready:
            free[free.index(at)] = min(end for end in ends if end > at + 1e-9)
            continue
        number, until = ready[0]
        waiting.remove(ready[0])
        worker = free.index(at)
        assert until > done[number]
        free[worker] = ends[number] = at + until - done[number]
        done[number] = until
    assert done == [1.0] * jobs
    ideal = max(1.0, jobs / workers)
    assert max(free) == pytest.approx(ideal)


def test_a_training_in_pieces_gives_the_same_weights(small, frames, tmp_path):
    """Three members on two workers are cut, on one they are not."""
    training = Training(updates=60, batch_size=4)
    for name, workers in (("whole", 1), ("cut", 2)):
        (tmp_path / name).mkdir()
        with Processes(workers=workers).open() as executor:
            train_committee(tmp_path / name, frames, 3, small, training, 1, 0, executor)
    for member in range(3):
        name = f"potential-{member}.safetensors"
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
        log = [
            (tmp_path / place / f"potential-{member}.jsonl").read_text().splitlines()
            for place in ("whole", "cut")
        ]
        assert len(log[0]) == len(log[1]) > 3
    assert not list((tmp_path / "cut").glob("*.resume"))
    assert np.all([len(pieces(3, 2)) == 4, len(pieces(3, 1)) == 3])
