"""Derivatives of the dipole model against the engine's: differences as targets, quantum samples.

    python -m tests.benchmarks.dipole_derivatives <molecules> <seeds> <labels>

Dipole models on the first n samples of each kind, labelled by GFN2-xTB. First and second
derivatives of the dipole by thermal steps along the modes: relative errors, root mean squares over
all elements; of the first ones also over the modes held out. Dipoles themselves on frames of GFN2's
own MD at 300 K and on quantum samples, mean absolute errors [mD]."""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs.learning.modes import held_out_modes, learnt_derivatives, mode_derivatives
from palirs.learning.quality.errors import dipole_parity
from palirs.mace.models.files import load_dipole_model
from palirs.mace.settings import Training
from palirs.mace.training.jobs import Job, train
from palirs.vibrations import Harmonic
from tests.benchmarks.learning_curves import ENGINE, samples, tests, vibrations
from tests.benchmarks.samples import SMALL

TRAINING = {"updates": 16000, "batch_size": 10, "learning_rate": 0.005, "validation_fraction": 0.0}
PART = 0.3
"""Distance between displaced geometries, in thermal steps."""


def derivatives(
    calculate: Callable[[Sequence[Atoms]], np.ndarray], reference: Harmonic
) -> tuple[np.ndarray, np.ndarray]:
    """Return first ``[modes, 3]`` and second derivatives ``[modes, modes, 3]`` by thermal steps."""
    steps = np.array([derivative.step for derivative in mode_derivatives(reference)])
    pairs = [(k, m) for k in range(len(steps)) for m in range(k + 1)]
    frames = []
    for k, m in pairs:
        for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            atoms = reference.atoms.copy()
            atoms.positions += 0.5 * PART * (signs[0] * steps[k] + signs[1] * steps[m])
            frames.append(atoms)
    dipoles = calculate(frames).reshape(len(pairs), 4, 3)
    first, second = np.zeros((len(steps), 3)), np.zeros((len(steps), len(steps), 3))
    for (k, m), four in zip(pairs, dipoles, strict=True):
        if k == m:
            first[k] = (four[0] - four[3]) / (2 * PART)
        change = four[0] - four[1] - four[2] + four[3]
        second[k, m] = second[m, k] = change / PART**2
    return first, second


def relative(own: np.ndarray, true: np.ndarray) -> str:
    """Return a relative error in words."""
    return f"{100 * np.linalg.norm(own - true) / np.linalg.norm(true):.1f} %"


def by_engine(frames: Sequence[Atoms]) -> np.ndarray:
    """Return the engine's dipoles."""
    return np.array([label.dipole for label in ENGINE.calculate(frames)])


def row(name: str, seed: int, kind: str, weight: float, count: int) -> str:
    """Train a dipole model and return its errors."""
    reference = vibrations(name)
    training = Training(**TRAINING, derivatives=weight)  # pyright: ignore[reportArgumentType]
    learnt = learnt_derivatives([reference]) if weight else []
    frames = samples(name, kind, 80, seed)[:count]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dipole.safetensors"
        train(Job("dipole", path, frames, [], SMALL, training, seed, derivatives=learnt))
        model = load_dipole_model([path])
    own, true = (
        derivatives(calculate, reference)
        for calculate in (lambda frames: model.evaluate(frames)[0], by_engine)
    )
    dipoles = [dipole_parity(model, frames).metrics("d", "")["d.mae_"] for frames in tests(name)]
    held_out = held_out_modes(reference)
    cells = [name, seed, kind, f"{weight:g}", *(f"{error:.2f}" for error in dipoles)]
    cells += [relative(own[0], true[0]), relative(own[0][held_out], true[0][held_out])]
    return "| " + " | ".join(map(str, [*cells, relative(own[1], true[1])])) + " |"


def main(names: Sequence[str], seeds: Sequence[int], count: int) -> None:
    """Print the table."""
    print("| molecule | seed | samples | derivatives | MD | quantum | first | held out | second |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in names:
        for seed in seeds:
            for kind in ("classical", "quantum", "mixed"):
                for weight in (0.0, 50.0):
                    print(row(name, seed, kind, weight, count), flush=True)


if __name__ == "__main__":
    main(sys.argv[1].split(","), [int(seed) for seed in sys.argv[2].split(",")], int(sys.argv[3]))
