"""One evaluation of energies and forces by palirs, symmetrix-xl, TorchSim and MACE.

In turn in one process.

    pip install --no-deps symmetrix-xl==0.1.1    # for this benchmark only; else no such column
    pip install torch-sim-atomistic==0.3.0       # likewise
    OMP_NUM_THREADS=1 python -m tests.benchmarks.peers [threads] [compiled] [size ...]

The same weights, one member. Palirs and TorchSim get a batch; the others one structure in which the
molecules stand far apart, which is how they take many at once. Structures move a little from call
to call, as in MD. Times are minima of the thread's own clock with one thread, else of the wall
clock; forces are compared before they are timed. Palirs is also timed with the radial network
instead of the table. "compiled" adds MACE by ``torch.compile``, which takes a minute or two for
each batch."""

import importlib
import sys
import tempfile
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from palirs.mace.exchange import export_mace
from palirs.mace.models.committee import Committee
from palirs.mace.models.files import save
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Architecture, Evaluation
from palirs.molecules import Molecules, table

SIZES = {
    "16-2-f32": Architecture(channels=16, max_ell=3, correlation=2),
    "128-2-f32": Architecture(channels=128, max_ell=3, correlation=2),
    "16-3-f64": Architecture(channels=16, max_ell=3, correlation=3, dtype="float64"),
    "16-3-f32": Architecture(channels=16, max_ell=3, correlation=3),
    "32-3-f32": Architecture(channels=32, max_ell=3, correlation=3),
    "128-3-f32": Architecture(channels=128, max_ell=3, correlation=3),
}
"""Channels, correlation and precision.

Harmonics of order 3, and contractions of order 3 for symmetrix-xl, which takes no others.
"""
SECONDS = 1.5
"""For each contestant and case."""
FAST = ("palirs", "with network", "symmetrix-xl")
"""Who is given 720 molecules; the others' tensors would not fit the memory."""


def batches() -> dict[str, list[Atoms]]:
    """Return what is evaluated."""
    methanol, organics = table()["methanol"], Molecules(("organics24",)).load()
    return {
        "methanol x 1": [methanol],
        "methanol x 3": [methanol] * 3,
        "organics24 x 3": organics * 3,
        "organics24 x 30": organics * 30,
    }


def contestants(shape: PotentialShape, module, folder: Path, compiled: bool) -> dict:
    """Return for each contestant a function of a list of molecules.

    It returns a function of positions that returns forces.
    """
    committee = Committee.of([(shape, module)])
    save(folder / "m.safetensors", shape, module)
    export_mace(folder / "m.safetensors", folder / "m.model")

    def ours(radial: str):
        def begin(molecules: list[Atoms]):
            evaluate = committee.evaluator(
                [atoms.numbers for atoms in molecules], Evaluation(radial=radial)
            )
            return lambda x: evaluate(torch.from_numpy(x))[1][0].numpy()

        return begin

    def calculator(make):
        def begin(molecules: list[Atoms]):
            whole, calculate = apart(molecules), make()
            offset = whole.positions - np.concatenate([atoms.positions for atoms in molecules])

            def forces(x: np.ndarray) -> np.ndarray:
                whole.positions = x + offset
                calculate.calculate(whole, ["energy", "forces"], ["positions"])
                return calculate.results["forces"]

            return forces

        return begin

    found = {"palirs": ours("table"), "with network": ours("network")}
    dtype = shape.architecture.dtype
    try:
        from symmetrix import Symmetrix
    except ImportError:
        print("symmetrix-xl is not installed")
    else:
        if shape.architecture.correlation == 3:
            found["symmetrix-xl"] = calculator(
                lambda: Symmetrix(str(folder / "m.model"), dtype=dtype)
            )
    try:
        import torch_sim
    except ImportError:
        print("TorchSim is not installed")
    else:
        found["TorchSim"] = lambda molecules: torchsim(
            torch_sim, module, molecules, getattr(torch, dtype)
        )
    from mace.calculators import MACECalculator

    found["MACE"] = calculator(
        lambda: MACECalculator(models=[deepcopy(module)], device="cpu", default_dtype=dtype)
    )
    if compiled:
        options = {
            "device": "cpu",
            "default_dtype": dtype,
            "compile_mode": "default",
            "fullgraph": False,
        }
        found["MACE compiled"] = calculator(
            lambda: MACECalculator(models=[deepcopy(module)], **options)
        )
    return found


def torchsim(library, module, molecules: list[Atoms], dtype: torch.dtype):
    """Return forces of TorchSim's batch as a function of positions."""
    boxed = [Atoms(atoms.numbers, atoms.positions, cell=[50.0] * 3) for atoms in molecules]
    model_class = importlib.import_module("torch_sim.models.mace").MaceModel
    model = model_class(
        deepcopy(module),
        device=torch.device("cpu"),
        dtype=dtype,
        compute_forces=True,
        compute_stress=False,
    )
    state = library.io.atoms_to_state(boxed, torch.device("cpu"), dtype)

    def forces(x: np.ndarray) -> np.ndarray:
        state.positions = torch.from_numpy(x).to(dtype)
        return model(state)["forces"].detach().numpy()

    return forces


def apart(molecules: list[Atoms]) -> Atoms:
    """Put molecules into one structure, 30 Å from each other."""
    side = int(np.ceil(len(molecules) ** (1 / 3)))
    whole = Atoms()
    for number, atoms in enumerate(molecules):
        moved = Atoms(atoms.numbers, atoms.positions - atoms.positions.mean(axis=0))
        moved.positions += 30.0 * np.array(
            [number % side, number // side % side, number // side**2]
        )
        whole += moved
    whole.cell = np.eye(3) * 30.0 * (side + 2)
    return whole


def main(threads: int, compiled: bool, wanted: list[str]) -> None:
    """Print one row per case: µs per atom, and how many times ours each takes."""
    torch.set_num_threads(threads)
    clock, rng = (time.thread_time if threads == 1 else time.perf_counter), np.random.default_rng(0)
    print(f"{threads} thread(s); µs per atom of palirs, and how many times that the others take")
    for size, architecture in SIZES.items():
        if wanted and size not in wanted:
            continue
        torch.manual_seed(0)
        shape = PotentialShape(
            architecture=architecture,
            elements=(1, 6, 7, 8),
            atomic_energies=(0.0,) * 4,
            scale=1.0,
            mean_neighbours=4.0,
        )
        with tempfile.TemporaryDirectory() as folder:
            makers = contestants(shape, shape.build(), Path(folder), compiled)
            for name, molecules in batches().items():
                x = np.concatenate([atoms.positions for atoms in molecules])
                ready = {
                    who: make(molecules)
                    for who, make in makers.items()
                    if len(molecules) < 100 or who in FAST
                }
                best = {}
                expected = ready["palirs"](x)
                for who, forces in ready.items():
                    worst = np.abs(forces(x) - expected).max() / np.abs(expected).max()
                    assert worst < 1e-4, f"{who}: forces differ by {worst:.0e} of the largest"
                for _ in range(3):
                    for who, forces in ready.items():
                        end = time.time() + SECONDS / 3
                        while time.time() < end:
                            moved = x + rng.normal(0, 1e-3, x.shape)
                            begun = clock()
                            forces(moved)
                            best[who] = min(best.get(who, np.inf), clock() - begun)
                ours = best.pop("palirs")
                ratios = ", ".join(f"{who} {other / ours:.1f}" for who, other in best.items())
                print(f"{size:10s} {name:16s} {ours / len(x) * 1e6:8.2f}   {ratios}", flush=True)


if __name__ == "__main__":
    options = sys.argv[2:]
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 1,
        "compiled" in options,
        [word for word in options if word in SIZES],
    )
