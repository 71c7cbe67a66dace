"""What tables of radial weights change in trained models.

Energies, forces, dipoles and harmonic frequencies, table against network.

    python -m tests.benchmarks.tables <study> [<study> ...]

Frames are the training and test structures of the study; frequencies are those of the committee's
own optima. "float32's knots" is the float64 code with the coarser tables that float32 gets: its
differences are those of the table without float32's rounding, which is what the first row contains
besides."""

import sys
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from palirs.engines import Properties
from palirs.learning.completed import complete_iterations
from palirs.learning.iterations import final_committee
from palirs.mace.compiled import Kernel, radial
from palirs.mace.models.committee import Committee
from palirs.mace.models.dipole import DipoleModel
from palirs.mace.models.files import load_dipole_model
from palirs.mace.settings import Evaluation
from palirs.molecules import read_frames
from palirs.vibrations import harmonic, optimise


class Mean:
    """Mean of a committee by one kind of radial weights.

    A source of :mod:`palirs.vibrations`.
    """

    def __init__(self, committee: Committee, radial: str):
        self.committee, self.how = committee, Evaluation(backend="native", radial=radial)

    def evaluate(self, frames: Sequence[Atoms]) -> tuple[np.ndarray, np.ndarray]:
        """Return energies ``[members, B]`` and forces ``[members, N, 3]``."""
        x = torch.tensor(np.concatenate([atoms.positions for atoms in frames]))
        energy, forces = self.committee.evaluator([atoms.numbers for atoms in frames], self.how)(x)
        return energy.numpy(), forces.numpy()

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Return means."""
        energy, forces = (values.mean(axis=0) for values in self.evaluate(frames))
        pieces = np.split(forces, np.cumsum([len(atoms) for atoms in frames])[:-1])
        return [Properties(float(e), piece) for e, piece in zip(energy, pieces, strict=True)]


@contextmanager
def tolerance(dtype: str, value: float):
    """Make tables of another accuracy."""
    before, radial.TOLERANCE[dtype] = radial.TOLERANCE[dtype], value
    yield
    radial.TOLERANCE[dtype] = before


def differences(
    committee: Committee, frames: Sequence[Atoms], starts: Sequence[Atoms] | None
) -> str:
    """Return one row."""
    by_table, by_network = Mean(committee, "table"), Mean(committee, "network")
    energies, forces = (
        np.abs(a - b).max()
        for a, b in zip(by_table.evaluate(frames), by_network.evaluate(frames), strict=True)
    )
    knots = max(radial.table(one)[1] for one in Kernel(committee.members, "network").programs)
    row = f"{knots:6d}  {energies:9.1e} eV  {forces:9.1e} eV/Å"
    if starts is None:
        return row
    shifts = [
        np.abs(harmonic(at, by_table).frequencies - harmonic(at, by_network).frequencies).max()
        for at in (optimise(atoms, by_network, max_steps=200) for atoms in starts)
    ]
    return f"{row}  {max(shifts):9.1e} cm⁻¹ ({len(starts)} molecules)"


def dipoles(model: DipoleModel, frames: Sequence[Atoms]) -> str:
    """Return the largest difference of dipoles."""
    counts = [len(atoms) for atoms in frames]
    kinds = np.concatenate(
        [[model.shapes[0].elements.index(z) for z in atoms.numbers] for atoms in frames]
    )
    x = np.concatenate([atoms.positions - atoms.positions.mean(axis=0) for atoms in frames])
    one, other = (
        Kernel(model.networks, kind).batch(kinds, counts).dipoles(x)
        for kind in ("table", "network")
    )
    return f"{np.abs(one - other).max():.1e} e·Å of {np.linalg.norm(other, axis=-1).max():.1f}"


def main(studies: list[Path]) -> None:
    """Print three rows and the dipoles for each study."""
    torch.set_num_threads(1)
    for study in studies:
        last = complete_iterations(study)[-1]
        frames = [
            frame for name in ("train", "test") for frame in read_frames(last / f"{name}.xyz")
        ][:300]
        starts = list({atoms.info["molecule"]: atoms for atoms in frames}.values())
        committee, double = final_committee(study), final_committee(study).double()
        print(f"{study.name}: {len(frames)} frames")
        print(f"  float32                    {differences(committee, frames, None)}")
        with tolerance("float64", radial.TOLERANCE["float32"]):
            print(f"  float64, float32's knots   {differences(double, frames, starts)}", flush=True)
        double = final_committee(study).double()
        print(f"  float64                    {differences(double, frames, starts)}", flush=True)
        files = [path for path in study.glob(f"dipole-{last.name}.safetensors") if path.exists()]
        if files:
            print(
                f"  dipoles                    {dipoles(load_dipole_model(files), frames)}",
                flush=True,
            )


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
