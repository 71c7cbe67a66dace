"""Eager evaluation against a recording, in one process and one run: committee forces for MD.

python tests/benchmarks/recording.py [threads]
"""

import sys
import time

import numpy as np
import torch

from palirs import keys
from palirs.engines import TBLite
from palirs.labels import attach
from palirs.mace.models.committee import Committee
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Architecture, Evaluation
from palirs.molecules import table

SIZES = {
    "small preset": Architecture(channels=16, max_ell=2, correlation=3),
    "32 channels": Architecture(channels=32, correlation=2),
}


def seconds(call, repeats: int = 12) -> float:
    """Return the median time of a call after three to warm up [s]."""
    times = []
    for _ in range(repeats + 3):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times[3:]))


def data(count: int):
    """Distorted methanols with GFN2 labels."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(count):
        atoms = table()["methanol"].copy()
        atoms.info = {keys.MOLECULE: "methanol"}
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        frames.append(atoms)
    return [
        attach(atoms, label)
        for atoms, label in zip(frames, TBLite().calculate(frames), strict=True)
    ]


def main() -> None:
    """Print a table: what, eager ms, recorded ms, ratio, seconds to record, largest difference."""
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    frames = data(24)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), methanol")
    print(
        f"{'':44s} {'eager':>9s} {'recorded':>9s} {'ratio':>6s} "
        f"{'recording':>10s} {'difference':>11s}"
    )
    for label, architecture in SIZES.items():
        shape = PotentialShape.of(frames, architecture)
        committee = Committee.of([(shape, shape.build()) for _ in range(3)])
        for count in (1, 3, 12, 24):
            batch = committee.graph([atoms.numbers for atoms in frames[:count]])
            positions = torch.tensor(np.concatenate([atoms.positions for atoms in frames[:count]]))
            started = time.perf_counter()
            replay = committee.evaluator(
                [atoms.numbers for atoms in frames[:count]], Evaluation(backend="recorded")
            )
            replay(positions)
            recording = time.perf_counter() - started
            eager = seconds(lambda b=batch, x=positions, c=committee: c.forces(b, x))
            fast = seconds(lambda x=positions, r=replay: r(x))
            difference = float(
                (committee.forces(batch, positions)[1] - replay(positions)[1]).abs().max()
            )
            show(
                f"{label}: forces of 3 members × {count} molecules",
                eager,
                fast,
                recording,
                difference,
            )


def show(what: str, eager: float, fast: float, recording: float, difference: float) -> None:
    """Print one row."""
    print(
        f"{what:44s} {1e3 * eager:7.1f}ms {1e3 * fast:7.1f}ms "
        f"{eager / fast:6.2f} {recording:9.1f}s {difference:11.1e}",
        flush=True,
    )


if __name__ == "__main__":
    main()
