"""What labelling costs beyond the engine, and what a second worker gains.

    python -m tests.benchmarks.labelling

Both halves of each comparison run in turn, several times, so that what else the machine does
strikes both."""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from ase.build import molecule

from palirs import threads
from palirs.engines import Engine, PySCF, TBLite
from palirs.executors import Processes, Serial
from palirs.labels import Labeller, LabelStore
from palirs.molecules import on_grid


def frames(count: int, seed: int) -> list:
    """Distorted methanols."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        atoms = molecule("CH3OH")
        atoms.positions += rng.normal(0, 0.03, atoms.positions.shape)
        atoms.info["molecule"] = "methanol"
        found.append(on_grid(atoms))
    return found


def seconds(call) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def overhead(count: int, rounds: int) -> None:
    """Compare labelling with the bare calculator, one process."""
    engine, directory = TBLite(), Path(tempfile.mkdtemp())
    engine.calculate(frames(50, 0))
    bare, full = [], []
    for number in range(rounds):
        structures = frames(count, number)
        bare.append(seconds(lambda structures=structures: engine.calculate(structures)))
        with Serial().open() as executor:
            labeller = Labeller(engine, LabelStore(directory / f"{number}.db"), executor)
            full.append(
                seconds(
                    lambda structures=structures, labeller=labeller: labeller.label(
                        structures, title=""
                    )
                )
            )
        assert labeller.computed == count
    cost = [1e3 * (f - b) / count for b, f in zip(bare, full, strict=True)]
    print(f"GFN2-xTB, methanol, serial, {count} frames, {rounds} rounds")
    print(
        f"  engine alone {1e3 * median(bare) / count:.2f} ms, "
        f"labelled {1e3 * median(full) / count:.2f} ms"
    )
    print(
        f"  overhead per label {median(cost):.2f} ms "
        f"(of {', '.join(f'{value:.2f}' for value in cost)}), target 1 ms"
    )


def scaling(engine: Engine, count: int, rounds: int) -> None:
    """Compare one and two worker processes of one thread each."""
    directory, gains = Path(tempfile.mkdtemp()), []
    for number in range(rounds):
        took = {}
        for workers in (1, 2):
            with Processes(workers=workers).open() as executor:
                labeller = Labeller(
                    engine, LabelStore(directory / f"{number}-{workers}.db"), executor
                )
                labeller.label(
                    frames(2 * workers, 1000 + number), title=""
                )  # workers start, libraries load
                structures = frames(count, number)
                took[workers] = seconds(
                    lambda structures=structures, labeller=labeller: labeller.label(
                        structures, title=""
                    )
                )
        gains.append(took[1] / took[2])
        per_label = f"1 worker {took[1] / count:.2f} s, 2 workers {took[2] / count:.2f} s per label"
        print(f"  {engine.name}: {per_label}, {gains[-1]:.2f} ×", flush=True)
    print(f"  two workers {median(gains):.2f} × as fast as one, target 1.8 ×")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--dft-frames", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    threads.limit(1)
    overhead(options.frames, options.rounds)
    scaling(PySCF(), options.dft_frames, options.rounds)
