"""Time per step of the engine's own MD, measured on a few steps."""

import time
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
from ase import Atoms

from palirs.engines import Engine

LOOK = 2.0
"""Duration of a measurement [s]; at least two calculations are made."""


def seconds_per_step(engine: Engine, molecules: Sequence[Atoms], executor: Executor) -> float:
    """Return the time of one calculation [s], averaged over the molecules, where the MD will run.

    As in MD, one calculation follows the other in one calculator, on geometries that differ a
    little.
    """
    times = [executor.submit(_time, engine, atoms, LOOK / len(molecules)) for atoms in molecules]
    return float(np.mean([future.result() for future in times]))


def _time(engine: Engine, atoms: Atoms, duration: float) -> float:
    rng, displaced, calculator = np.random.default_rng(0), atoms.copy(), engine.start()
    engine.run(calculator, displaced)
    started, count = time.perf_counter(), 0
    while count < 1 or time.perf_counter() - started < duration:
        displaced.positions = atoms.positions + rng.normal(0, 0.005, atoms.positions.shape)
        engine.run(calculator, displaced)
        count += 1
    return (time.perf_counter() - started) / count
