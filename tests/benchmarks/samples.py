"""What a label is worth: one potential on so many labels of each kind.

Tested on the engine's own MD.

    python -m tests.benchmarks.samples <what> <molecule> <labels> [seed]

What: ``kinds``, ways to draw the first structures; ``sizes``, architectures and trainings, on
thermal samples; ``hessian``, with relaxation and displaced geometries of the Hessian.

Labels are GFN2-xTB's. The test frames are 200 of an MD of the engine at 300 K, 40 fs apart, that no
training has seen; those that count as data of MD come from three others at 300, 500 and 700 K.
Errors: harmonic frequencies (cm⁻¹), force components (meV/Å, with their standard error) and
energies (meV) of a single member."""

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from palirs import keys
from palirs.dynamics import EngineField, Noise, initial_state
from palirs.dynamics.integrators import Langevin
from palirs.engines.tblite import TBLite
from palirs.executors import SerialExecutor
from palirs.labels.labeller import attach
from palirs.learning.quality.errors import potential_parity
from palirs.learning.quality.frequencies import compare_frequencies
from palirs.learning.splits import assign_splits
from palirs.mace.settings import Architecture, Training
from palirs.mace.training.committees import train_committee
from palirs.molecules import Molecules, on_grid
from palirs.randomness import stream
from palirs.sampling import InitialSamples, ModeImages, ThermalSamples
from palirs.vibrations import Harmonic, minimum

SMALL = Architecture(channels=16, max_ell=3, correlation=3)
LONG = Training(updates=16000, batch_size=5, learning_rate=0.01)
ENGINE = TBLite()
SPACING = 40.0
"""fs between frames of an MD."""


class Remembering:
    """The engine, which keeps what it has calculated."""

    def __init__(self) -> None:
        self.frames: list[Atoms] = []

    def calculate(self, frames: Sequence[Atoms]):
        """Calculate, and keep the labels."""
        found = ENGINE.calculate(frames)
        for atoms, label in zip(frames, found, strict=True):
            plain = Atoms(
                atoms.numbers,
                positions=atoms.positions,
                info={**atoms.info, keys.GROUP: f"paid {len(self.frames)}"},
            )
            self.frames.append(attach(on_grid(plain), label))
        return found


def labelled(frames: Sequence[Atoms]) -> list[Atoms]:
    """Label frames with the engine."""
    return [
        attach(atoms, label) for atoms, label in zip(frames, ENGINE.calculate(frames), strict=True)
    ]


def trajectory(optimum: Atoms, kelvin: float, count: int, seed: int) -> list[Atoms]:
    """Return frames of the engine's own MD after 1 ps, :data:`SPACING` apart."""
    field = EngineField(ENGINE, [optimum])
    noise = Noise([stream(seed, "benchmark", kelvin)], [len(optimum)])
    temperature = torch.tensor([kelvin], dtype=torch.float64)
    state = initial_state([optimum], field, 2 * temperature, noise)
    move = Langevin(0.5, 0.98, temperature)
    frames = []
    state, _, _ = move.run(state, None, field, noise, 2000, range(0))
    for number in range(count):
        state, _, _ = move.run(state, None, field, noise, round(SPACING / 0.5), range(0))
        atoms = Atoms(
            optimum.numbers,
            positions=state.positions.numpy() - state.positions.numpy().mean(axis=0),
            info=dict(optimum.info),
        )
        atoms.info |= {
            keys.ORIGIN: "md",
            keys.TEMPERATURE: kelvin,
            keys.GROUP: f"md {kelvin:g} {number}",
        }
        frames.append(on_grid(atoms))
    return labelled(frames)


def thermal(
    known: Harmonic, count: int, seed: int, distribution: str, *kelvin: float
) -> list[Atoms]:
    """Return so many thermal samples, the optimum among them."""
    samples = ThermalSamples(
        distribution=distribution, temperatures=kelvin, per_mode=1, least=count - 1, turned=0.0
    )  # pyright: ignore[reportArgumentType]
    return labelled(
        InitialSamples(thermal=samples).sample(known, np.random.default_rng(seed))[:count]
    )


def show(
    title: str,
    known: Harmonic,
    test: Sequence[Atoms],
    frames: Sequence[Atoms],
    size: Architecture,
    how: Training,
    seed: int,
) -> None:
    """Train, and print the errors."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        settled = assign_splits(frames, [], 1e-9, 0.1)
        committee = train_committee(Path(folder), settled, 1, size, how, seed, 0, SerialExecutor())
    energy, forces, _ = potential_parity(committee, test)
    e = energy.metrics("e", "")
    f = forces.metrics("f", "")
    h = compare_frequencies(committee, [known]).metrics()
    print(
        f"{title:34s} {len(frames):4d} labels  harmonic {h['harmonic.mae_cm1']:6.2f}  "
        f"forces {f['f.mae_']:6.2f} ± {f['f.mae_se_']:.2f}  "
        f"energy {e['e.mae_']:6.2f}  {time.perf_counter() - begun:5.0f} s",
        flush=True,
    )


def main(what: str, name: str, count: int, seed: int = 1) -> None:
    """Print the table."""
    paid = Remembering()
    known = minimum(Molecules(names=(name,)).load()[0], paid)
    test, rng = trajectory(known.atoms, 300.0, 200, 99), np.random.default_rng(seed)
    mixed = thermal(known, count, seed, "classical", 300.0, 500.0, 700.0)
    runs: dict[str, tuple[list[Atoms], Architecture, Training]] = {
        "classical 300, 500, 700 K": (mixed, SMALL, LONG)
    }
    if what == "kinds":
        pool = [
            atoms
            for kelvin in (300.0, 500.0, 700.0)
            for atoms in trajectory(known.atoms, kelvin, count, seed)
        ]
        moving = [pool[int(number)] for number in rng.permutation(len(pool))[:count]]
        images = labelled(InitialSamples(images=ModeImages()).sample(known, rng))
        quantum = thermal(known, count, seed, "quantum", 300.0)
        hot = thermal(known, count, seed, "classical", 1000.0)
        half = count // 2
        runs |= {
            "quantum 300 K": (quantum, SMALL, LONG),
            "classical 1000 K": (hot, SMALL, LONG),
            "MD": (moving, SMALL, LONG),
        }
        runs |= {
            "quantum and MD": (quantum[:half] + moving[:half], SMALL, LONG),
            "published": (images, SMALL, LONG),
        }
    elif what == "sizes":
        sizes = {
            "ℓ ≤ 2": {"max_ell": 2},
            "ℓ ≤ 4": {"max_ell": 4},
            "32 channels": {"channels": 32},
            "L = 2": {"max_L": 2},
        }
        sizes |= {"correlation 2": {"correlation": 2}, "float64": {"dtype": "float64"}}
        runs |= {title: (mixed, replace(SMALL, **change), LONG) for title, change in sizes.items()}
        how = {
            "4,000 updates": {"updates": 4000},
            "64,000 updates": {"updates": 64000},
            "rate 0.02": {"learning_rate": 0.02},
        }
        how |= {
            "batches of 10": {"batch_size": 10},
            "mean squares": {"loss": "mse"},
            "energy weight 1": {"energy_weight": 1.0},
        }
        how |= {"doubling to 64,000": {"schedule": "doubling", "updates": 64000}}
        runs |= {title: (mixed, SMALL, replace(LONG, **change)) for title, change in how.items()}
    else:
        displaced = 2 * len(known.frequencies)
        relaxation, hessian = paid.frames[:-displaced], paid.frames[-displaced:]
        runs |= {
            "and relaxation": (mixed + relaxation, SMALL, LONG),
            "and Hessian": (mixed + hessian, SMALL, LONG),
        }
    for title, (frames, size, training) in runs.items():
        show(title, known, test, frames, size, training, seed)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(value) for value in sys.argv[3:]))
