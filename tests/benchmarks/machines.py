"""Production and training by four Slurm workers beside four and two processes.

On the two cores of one machine.

    python -m tests.benchmarks.machines [ps]

A real Slurm whose single node says that it has four cores (tests/integration/slurm.sh); each worker
is a job with one thread. All contestants have the same two cores. Four Slurm workers beside four
processes show what Slurm and Dask cost; four processes beside two what it costs that cores are
shared and start-up is paid twice, which a cluster with a core for each worker does not have.
Workers are there when the clock starts; how long they take to come is told apart. Results are the
same to the last bit."""

import importlib
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Executor, wait
from contextlib import contextmanager
from pathlib import Path

import ase.io
import numpy as np
import torch

from palirs.executors import Processes, Slurm
from palirs.executors.local import WorkerPool
from palirs.mace.models.dipole import DipoleShape
from palirs.mace.models.files import save
from palirs.mace.settings import Architecture, Training
from palirs.mace.training.committees import train_committee
from palirs.molecules import Molecules
from palirs.production.simulation import Simulation
from palirs.settings import MD, Spectroscopy
from tests.benchmarks.md import TEMPERATURE, committee
from tests.benchmarks.training import data

SCRIPT = Path(__file__).parents[1] / "integration" / "slurm.sh"
WORKERS, ROUNDS = 4, 2


def come(number: int) -> int:
    """Be a worker that has everything loaded."""
    for module in ("palirs.mace.training.jobs", "palirs.production.simulation"):
        importlib.import_module(module)
    time.sleep(1.0)  # so that each worker gets one
    return os.getpid()


class Crowded:
    """Four processes on however many cores there are, which the recipe refuses."""

    @contextmanager
    def open(self):
        """Open the pool."""
        pool = WorkerPool(WORKERS, 1)
        try:
            yield pool
        finally:
            pool.shutdown()


@contextmanager
def opened(recipe: Processes | Slurm | Crowded):
    """Open an executor whose workers have all come; give it and how long that took [s]."""
    begun = time.perf_counter()
    with recipe.open() as executor:
        workers = executor.workers  # type: ignore[attr-defined]
        seen: set[int] = set()
        while len(seen) < workers:
            calls = [executor.submit(come, number) for number in range(workers)]
            wait(calls)
            seen |= {call.result() for call in calls}
        yield executor, time.perf_counter() - begun


class Work:
    """What is to be done.

    Production of organics24 × 3 for some picoseconds, and the training of four small members.
    """

    def __init__(self, folder: Path, picoseconds: float):
        self.folder, self.count = folder, 0
        models = committee(16, 5.0)
        for member, (shape, module) in enumerate(zip(models.shapes, models.members, strict=True)):
            save(folder / f"potential-{member}.safetensors", shape, module)
        shape = DipoleShape(
            architecture=models.shapes[0].architecture,
            elements=models.elements,
            scale=0.4,
            mean_neighbours=4.0,
        )
        torch.manual_seed(0)
        save(folder / "dipole.safetensors", shape, shape.build())
        self.molecules = Molecules(names=("organics24",)).load()
        self.settings = Spectroscopy(
            production=MD(replicas=3, thermalisation=0.1, length=picoseconds),
            reference=None,
            dipole_interval=2.0,
        )
        data("methanol", folder)
        self.frames = ase.io.read(folder / "train.xyz", ":")

    def production(self, executor: Executor) -> np.ndarray:
        """Run it, and give all dipoles."""
        self.count += 1
        simulation = Simulation(
            source=(self.folder, (self.folder / "dipole.safetensors",)),
            model="benchmark",
            md=self.settings.production,
            settings=self.settings,
            temperature=TEMPERATURE,
            seed=0,
            directory=self.folder / str(self.count),
        )
        runs = simulation.simulate(self.molecules, executor)
        return np.concatenate([np.ravel(run.dipoles) for run in runs])

    def training(self, executor: Executor) -> np.ndarray:
        """Train, and give all weights."""
        self.count += 1
        place, settings = self.folder / str(self.count), Training(updates=8000, patience=1.0)
        place.mkdir()
        found = train_committee(
            place, self.frames, WORKERS, Architecture(channels=16), settings, 0, 0, executor
        )
        return np.concatenate(
            [
                parameter.detach().numpy().ravel()
                for member in found.members
                for parameter in member.parameters()
            ]
        )


def main(picoseconds: float) -> None:
    """Print how long workers take to come, and seconds and ratios of the work."""
    cores = len(os.sched_getaffinity(0))
    short = Path("/tmp") / f"slurm-{os.getpid()}"  # sockets allow about a hundred characters
    environment = {**os.environ, "CPUS": str(WORKERS)}
    with open(os.devnull, "w") as nothing:  # daemons would hold a pipe open
        subprocess.run(
            ["bash", str(SCRIPT), "start", str(short)], env=environment, stdout=nothing, check=True
        )
    os.environ["SLURM_CONF"], os.environ["PYTHONPATH"] = str(short / "slurm.conf"), str(Path.cwd())
    try:
        with tempfile.TemporaryDirectory() as folder:
            work, recipes = Work(Path(folder), picoseconds), {}
            recipes[f"{cores} processes"] = Processes(workers=cores)
            recipes[f"{WORKERS} processes"] = Crowded()
            recipes[f"{WORKERS} Slurm workers"] = Slurm(
                jobs=WORKERS, cores=1, memory="900MB", logs=f"{folder}/logs"
            )
            for what in (work.production, work.training):
                times: dict[str, list[float]] = {name: [] for name in recipes}
                results = []
                for _ in range(ROUNDS):
                    for name, recipe in recipes.items():
                        with opened(recipe) as (executor, came):
                            begun = time.perf_counter()
                            results.append(what(executor))
                            times[name].append(time.perf_counter() - begun)
                        print(
                            f"{what.__name__}, {name}: workers there after {came:.1f} s, "
                            f"work {times[name][-1]:.1f} s",
                            flush=True,
                        )
                assert all(np.array_equal(result, results[0]) for result in results), "they differ"
                few, many, slurm = (min(seconds) for seconds in times.values())
                print(
                    f"{what.__name__}: Slurm {slurm / many:.3f} times {WORKERS} processes, "
                    f"these {many / few:.3f} times {cores}",
                    flush=True,
                )
    finally:
        subprocess.run(["bash", str(SCRIPT), "stop", str(short)], env=environment, check=False)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)
