"""What a step of a bead costs beside a classical step, and what of it is the integrator.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.rings

Methanol, three untrained members that are weak, cold molecules, as in :mod:`tests.benchmarks.md`.
"""

import time
from itertools import pairwise
from statistics import median

import torch

from palirs.dynamics import (
    CommitteeField,
    Noise,
    RingField,
    initial_rings,
    initial_state,
    ring_polymer,
)
from palirs.dynamics.integrators import Langevin
from palirs.mace.settings import Evaluation
from palirs.molecules import Molecules
from palirs.randomness import stream
from tests.benchmarks.md import FRICTION, TEMPERATURE, TIMESTEP, committee

BEAD_STEPS, ROUNDS = 4_000, 15
"""Of each measurement, and how often each is done, in turn."""


def measure(channels: int, trajectories: int, beads: int) -> list[float]:
    """Return times [µs] of a classical step, of a bead in a step, and of its forces alone.

    As many classical trajectories as there are beads.
    """
    (methanol,) = Molecules(names=("methanol",)).load()
    members, count = committee(channels, 5.0), trajectories * beads
    seeds = [stream(0, "rings", number) for number in range(count)]

    def evaluator():
        return members.evaluator([methanol.numbers] * count, Evaluation())

    field, target = CommitteeField(evaluator()), torch.full((count,), TEMPERATURE).double()
    noise = Noise(seeds, [6] * count)
    state = initial_state([methanol] * count, field, target, noise)
    langevin = Langevin(TIMESTEP, FRICTION, target)
    of_rings, warm = RingField(evaluator(), beads, trajectories), target[:trajectories]
    drawn = Noise(seeds[:trajectories], [6 * beads] * trajectories)
    centroid, ring = initial_rings([methanol] * trajectories, of_rings, warm, drawn)
    steps, rounds = max(4, BEAD_STEPS // count), []
    for _ in range(ROUNDS):
        times = [time.perf_counter()]
        state, _, _ = langevin.run(state, None, field, noise, steps, range(0))
        times.append(time.perf_counter())
        for _ in range(steps):
            centroid, ring = ring_polymer(centroid, ring, of_rings, drawn, TIMESTEP, FRICTION, warm)
        times.append(time.perf_counter())
        for _ in range(steps):
            of_rings(ring.beads)
        times.append(time.perf_counter())
        rounds.append([1e6 * (b - a) / steps / count for a, b in pairwise(times)])
    return [median(column) for column in zip(*rounds, strict=True)]


def main() -> None:
    """Print the table."""
    heads = "channels | trajectories × beads | classical step (µs) | bead-step (µs) | ratio"
    print(f"| {heads} | forces' share |\n| --- | --- | --- | --- | --- | --- |")
    for channels, trajectories, beads in (
        (16, 1, 16),
        (16, 1, 32),
        (16, 8, 32),
        (16, 40, 16),
        (16, 40, 32),
        (128, 1, 32),
        (128, 1, 32),
    ):
        point, bead, forces = measure(channels, trajectories, beads)
        share = 100 * forces / bead
        cells = f"{point:.1f} | {bead:.1f} | {bead / point:.3f} | {share:.0f} %"
        print(f"| {channels} | {trajectories} × {beads} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
