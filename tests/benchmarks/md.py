"""Committee MD by palirs, ASE Langevin + MACECalculator and TorchSim, in turn on one machine.

    pip install torch-sim-atomistic==0.3.0       # for this benchmark only; else no such column
    python -m tests.benchmarks.md                # the table
    python -m tests.benchmarks.md memory <ps>    # peak memory of a production of 72 trajectories

A committee-step is one trajectory moved one step with the forces of three members. TorchSim moves
one model, so its time counts three times. Weights are untrained and weak, and molecules cold, so
that all stay at their geometry, as with trained ones they nearly do."""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from ase import Atoms, units
from ase.md.langevin import Langevin as AseLangevin
from mace.calculators import MACECalculator

from palirs.dynamics import CommitteeField, Noise, initial_state
from palirs.dynamics.integrators import Langevin
from palirs.mace.compiled import Kernel, compiler
from palirs.mace.models.committee import Committee
from palirs.mace.models.dipole import DipoleShape
from palirs.mace.models.files import save
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Architecture, Evaluation
from palirs.molecules import Molecules, table
from palirs.production.simulation import Simulation
from palirs.randomness import stream
from palirs.settings import MD, Spectroscopy

MEMBERS, TEMPERATURE, TIMESTEP, FRICTION, ROUNDS = 3, 1e-4, 0.5, 1.0, 5


def committee(channels: int, cutoff: float, members: int = MEMBERS) -> Committee:
    """Return untrained members of the published architecture in float32."""
    architecture = Architecture(
        channels=channels, max_L=1, max_ell=3, correlation=2, cutoff=cutoff, dtype="float32"
    )
    shape = PotentialShape(
        architecture=architecture,
        elements=(1, 6, 7, 8),
        atomic_energies=(-13.0, -1030.0, -1485.0, -2042.0),
        scale=1e-6,
        mean_neighbours=4.0,
    )
    torch.manual_seed(0)
    return Committee.of([(shape, shape.build()) for _ in range(members)])


class Palirs:
    """Ours: all trajectories and members in one batch."""

    def __init__(self, models: Committee, molecules: list[Atoms], backend: str = "auto"):
        self.noise = Noise(
            [stream(0, "benchmark", i) for i in range(len(molecules))], [len(a) for a in molecules]
        )
        self.temperature = torch.full((len(molecules),), TEMPERATURE, dtype=torch.float64)
        self.field = CommitteeField(
            models.evaluator([a.numbers for a in molecules], Evaluation(backend=backend))
        )
        self.state = initial_state(molecules, self.field, self.temperature, self.noise)

    def run(self, steps: int) -> None:
        moves = Langevin(TIMESTEP, FRICTION, self.temperature)
        for start in range(0, steps, 64):
            count = min(64, steps - start)
            self.state, _, _ = moves.run(
                self.state, None, self.field, self.noise, count, range(4, count + 1, 4)
            )


class Ase:
    """ASE: one trajectory after the other, the committee in one calculator."""

    def __init__(self, models: Committee, molecules: list[Atoms]):
        calculator = MACECalculator(models=models.members, device="cpu", default_dtype="float32")
        self.dynamics = []
        for number, template in enumerate(molecules):
            atoms = template.copy()
            atoms.calc = calculator
            rng = np.random.default_rng(number)
            self.dynamics.append(
                AseLangevin(
                    atoms,
                    TIMESTEP * units.fs,
                    temperature_K=TEMPERATURE,
                    friction=FRICTION * 1e-3 / units.fs,
                    rng=rng,
                )
            )

    def run(self, steps: int) -> None:
        for dynamics in self.dynamics:
            dynamics.run(steps)


class TorchSim:
    """TorchSim: all trajectories in one batch, one model."""

    def __init__(self, models: Committee, molecules: list[Atoms]):
        import torch_sim as ts
        from torch_sim.integrators import nvt_langevin
        from torch_sim.models.mace import MaceModel

        device = torch.device("cpu")
        model = MaceModel(
            models.members[0],
            device=device,
            dtype=torch.float32,
            compute_forces=True,
            compute_stress=False,
        )
        boxed = []
        for atoms in molecules:
            atoms = atoms.copy()
            atoms.set_cell([50.0] * 3)
            boxed.append(atoms)
        state = ts.io.atoms_to_state(boxed, device, torch.float32)
        fs = 1e-3 * float(ts.units.MetalUnits.time)
        heat = torch.tensor(
            TEMPERATURE * float(ts.units.MetalUnits.temperature), dtype=torch.float32
        )
        start, self.step = nvt_langevin(
            model,
            dt=torch.tensor(TIMESTEP * fs),
            kT=heat,
            gamma=torch.tensor(FRICTION * 1e-3 / fs),
            seed=0,
        )
        self.state = start(state)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.state = self.step(self.state)


def seconds(contestant, steps: int) -> float:
    """Return the time of a step [s]."""
    started = time.perf_counter()
    contestant.run(steps)
    return (time.perf_counter() - started) / steps


def compare(title: str, molecules: list[Atoms], channels: int, cutoff: float) -> None:
    """Print one row: committee-steps per second of each, and ratios.

    Medians over rounds in turn.
    """
    models, count = committee(channels, cutoff), len(molecules)
    contestants = {
        "palirs": (Palirs(models, molecules), 1.0, 200 if count < 10 else 20),
        "ASE": (Ase(models, molecules[: max(3, count // 3)]), 1.0, 3),
    }
    try:
        contestants["TorchSim"] = (
            TorchSim(models, molecules),
            float(MEMBERS),
            20 if count < 10 else 5,
        )
    except ImportError as error:
        print(f"TorchSim left out: {error}")
    for contestant, _, _ in contestants.values():
        contestant.run(3)
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, (contestant, weight, steps) in contestants.items():
            moved = len(contestant.dynamics) if isinstance(contestant, Ase) else count
            rates[name].append(moved / (seconds(contestant, steps) * weight))
    middle = {name: median(values) for name, values in rates.items()}
    atoms = sum(map(len, molecules))
    row = f"{title:22s} {channels:4d} {cutoff:4.1f}   " + "  ".join(
        f"{name} {value:7.0f}" for name, value in middle.items()
    )
    ratios = "  ".join(
        f"{middle['palirs'] / value:5.1f} x {name}"
        for name, value in middle.items()
        if name != "palirs"
    )
    print(
        f"{row}   {ratios}   {middle['palirs'] * atoms / count * MEMBERS:9.0f} atom-steps/s",
        flush=True,
    )


def compiling() -> None:
    """Print how long the first use on a machine takes."""
    before = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        for channels in (16, 128):
            models = committee(channels, 5.0)
            times = []
            for _ in range(2):
                compiler.library.cache_clear()
                started = time.perf_counter()
                Kernel(models.members)
                times.append(time.perf_counter() - started)
            print(
                f"compiling, {channels} channels: {times[0]:.1f} s, {times[1]:.2f} s from the cache"
            )
    os.environ.pop("XDG_CACHE_HOME")
    if before is not None:
        os.environ["XDG_CACHE_HOME"] = before
    compiler.library.cache_clear()


def memory(picoseconds: float) -> None:
    """Print the peak memory of a production of organics24 x 3, dipoles every fs."""
    from concurrent.futures import ThreadPoolExecutor

    models = committee(16, 5.0)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for member, (shape, module) in enumerate(zip(models.shapes, models.members, strict=True)):
            save(place / f"potential-{member}.safetensors", shape, module)
        dipole = DipoleShape(
            architecture=models.shapes[0].architecture,
            elements=models.elements,
            scale=0.4,
            mean_neighbours=4.0,
        )
        save(place / "dipole.safetensors", dipole, dipole.build())
        settings = Spectroscopy(
            production=MD(thermalisation=0.01, length=picoseconds),
            reference=None,
            dipole_interval=1.0,
            max_lag=50.0,
        )
        simulation = Simulation(
            source=(place, (place / "dipole.safetensors",)),
            model="benchmark",
            md=settings.production,
            settings=settings,
            temperature=TEMPERATURE,
            seed=0,
            directory=place / "md",
        )
        with ThreadPoolExecutor(1) as executor:
            simulation.simulate(Molecules(names=("organics24",)).load(), executor)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"72 trajectories x {picoseconds:g} ps: peak memory {peak:.2f} GiB, torch and mace included"
    )


def main() -> None:
    """Print the table, or the memory."""
    torch.set_num_threads(int(os.environ.get("THREADS", str(len(os.sched_getaffinity(0))))))
    if sys.argv[1:2] == ["memory"]:
        memory(float(sys.argv[2]))
        return
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"float32, committee of {MEMBERS}; committee-steps per second"
    )
    compiling()
    organics = Molecules(names=("organics24",)).load()
    for channels in (16, 128):
        for cutoff in (3.0, 5.0):
            compare("methanol x 3", [table()["methanol"]] * 3, channels, cutoff)
            compare("organics24 x 3", organics * 3, channels, cutoff)


if __name__ == "__main__":
    main()
