"""Ring polymers by the reference engine itself, to judge those of a committee by.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.rings_by_engine <file.npz> methanol 16 8 2.0

GFN2-xTB, 300 K, TRPMD by BCOCB with the friction of spectrum=paper: so many beads, trajectories and
picoseconds, after 0.5 ps that are not recorded. Prints the kinetic energy of the nuclei by the
centroid virial estimator, beside that of harmonic oscillators of so many beads and free rotation,
and the same with what VPT2 adds at 0 K (its part of the zero-point energy goes as 1/m, so all of it
is kinetic); and where each mode moves (see :mod:`tests.benchmarks.ring_bands`). For the directory
of a study and the name of its molecule, the committee of its last iteration runs. The file keeps
what was run; what it has is not run again, and more trajectories may be asked for.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from palirs.dynamics import EngineField, Noise, RingField, initial_rings
from palirs.dynamics.integrators import RingPolymer
from palirs.dynamics.rings import kinetic_share
from palirs.learning.completed import complete_iterations
from palirs.mace.models.files import load_committee
from palirs.units import BOLTZMANN, CM1_PER_EV
from palirs.vibrations.anharmonic.calculation import anharmonic, tight
from palirs.vibrations.projection import Projection
from tests.benchmarks.learning_curves import vibrations
from tests.benchmarks.ring_bands import with_errors
from tests.benchmarks.samples import ENGINE

KELVIN, TIMESTEP, STRIDE, THERMALISATION, FRICTION = 300.0, 0.5, 4, 1000, 0.98


class EngineBeads:
    """Forces of the engine on all beads, as those of a committee of one."""

    def __init__(self, molecules: Sequence[Atoms]):
        self._field = EngineField(ENGINE, molecules)

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies ``[1, molecules]`` and forces ``[1, N, 3]``."""
        output = self._field(positions)
        return output.energy[None], output.forces[None]


def trajectory(source: object, atoms: Atoms, beads: int, steps: int, seed: int) -> dict:
    """Return kinetic energies and rates of the modes along one trajectory."""
    target = torch.full((1,), KELVIN, dtype=torch.float64)
    field = RingField(source, beads, 1)  # pyright: ignore[reportArgumentType]
    noise = Noise([np.random.SeedSequence([seed, beads])], [beads * len(atoms)])
    state, ring = initial_rings([atoms], field, target, noise)
    first = RingPolymer(TIMESTEP, 10.0, target)
    state, ring, _ = first.run(state, ring, field, noise, THERMALISATION, range(0))
    then = RingPolymer(TIMESTEP, FRICTION, target)
    _, _, track = then.run(state, ring, field, noise, steps, range(STRIDE, steps + 1, STRIDE))
    assert track.kinetic is not None
    return {
        "kinetic": track.kinetic[:, 0].numpy(),
        "positions": track.positions.numpy(),
        "velocities": track.velocities.numpy(),
    }


def main(
    file: Path, molecule: str, beads: int, count: int, picoseconds: float, *changes: str
) -> None:
    """Run what is missing and print the table."""
    study = Path(molecule) if Path(molecule).is_dir() else None
    name = molecule if study is None else changes[0]
    optimum = vibrations(name)
    steps = round(1e3 * picoseconds / TIMESTEP)
    kept = dict(np.load(file)) if file.exists() else {}
    what = f"{molecule} {beads} beads {steps} steps"
    if str(kept.setdefault("what", np.array(what))) != what:
        raise SystemExit(f"{file} has trajectories of {kept['what']}, not of {what}")
    for number in range(count):
        if f"kinetic{number}" in kept:
            continue
        copies = [optimum.atoms] * beads
        if study is None:
            source: object = EngineBeads(copies)
        else:
            source = load_committee(complete_iterations(study)[-1]).evaluator(
                [each.numbers for each in copies]
            )
        found = trajectory(source, optimum.atoms, beads, steps, number)
        kept |= {f"{key}{number}": value for key, value in found.items()}
        np.savez_compressed(file, **kept)
    kinetic = np.array([kept[f"kinetic{number}"].mean() for number in range(count)])
    projection = Projection(optimum)
    rates = np.array(
        [projection.rates(kept[f"positions{i}"], kept[f"velocities{i}"]) for i in range(count)]
    )
    quantum = optimum.frequencies / CM1_PER_EV
    whole = 0.25 * quantum / np.tanh(0.5 * quantum / (BOLTZMANN * KELVIN))
    shares = np.array([kinetic_share(beads, nu, KELVIN) for nu in optimum.frequencies])
    rotation = 0.5 * BOLTZMANN * KELVIN * (3 * len(optimum.atoms) - 3 - len(quantum))
    error = kinetic.std(ddof=1) / np.sqrt(count)
    print(f"{molecule}, {beads} beads, {count} × {picoseconds:g} ps")
    print(f"kinetic energy {kinetic.mean():.4f} ± {error:.4f} eV", end="")
    harmonic = float((whole * shares).sum()) + rotation
    sharp = tight(optimum, ENGINE)
    levels = anharmonic(sharp, ENGINE).levels
    more = (levels.zero_point - sharp.frequencies.sum() / 2) / CM1_PER_EV
    print(f" (harmonic of so many beads {harmonic:.4f}, with VPT2's part {harmonic + more:.4f})")
    for number, row in enumerate(with_errors(rates), start=1):
        place = f"{row[0]:.1f} ± {row[2]:.1f}, {row[1]:.0f} ± {row[3]:.0f} wide"
        print(f"  mode {number}: harmonic {optimum.frequencies[number - 1]:.1f}, moves at {place}")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        sys.argv[2],
        *map(int, sys.argv[3:5]),
        float(sys.argv[5]),
        *sys.argv[6:],
    )
