"""A step of production MD beside that of another checkout, with recording, dipoles and writing.

    python -m tests.benchmarks.steps ../other-checkout [threads]

Each contestant is a process of its own with the palirs of its checkout, in turn; minima over blocks
of recorded frames. Committee of three, untrained and so weak that the molecules stay whole,
float32, L = 1, correlation 2, cutoff 5 Å."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = """
import inspect, json, sys, time
from dataclasses import replace
from pathlib import Path
import torch
folder, channels, replicas = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
names, threads = sys.argv[4], int(sys.argv[5])
torch.set_num_threads(threads)
from palirs import keys
from palirs.mace.models.dipole import DipoleShape
from palirs.mace.models.files import save
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Architecture, Evaluation
from palirs.molecules import Molecules
from palirs.production.batch import Batch, Job
from palirs.production.simulation import _open
from palirs.randomness import stream
from palirs.settings import MD, Spectroscopy

size = Architecture(channels=channels, max_ell=3, correlation=2)
common = dict(architecture=size, elements=(1, 6, 7, 8), mean_neighbours=4.0)
for member in range(3):
    torch.manual_seed(member)
    shape = PotentialShape(atomic_energies=(-13.0, -1030.0, -1485.0, -2042.0), scale=1e-6, **common)
    save(folder / f"potential-{member}.safetensors", shape, shape.build())
shape = DipoleShape(**{**common, "architecture": replace(size, channels=16)}, scale=0.4)
save(folder / "dipole.safetensors", shape, shape.build())
source = folder, (folder / "dipole.safetensors",)
molecules = Molecules(names=(names,)).load()
md = MD(replicas=replicas, thermalisation=0.0, length=50.0)
settings = Spectroscopy(production=md, reference=None)
jobs = [
    Job(atoms, folder / "md" / name / str(replica), "", stream(1, name, replica))
    for atoms in molecules
    for name in [atoms.info[keys.MOLECULE]]
    for replica in range(replicas)
]
force = _open(source, [job.molecule for job in jobs], Evaluation())
batch = Batch(jobs, *force, md, settings, 1e-4)
many = "steps" in inspect.signature(Batch.advance).parameters
times, begun = [], time.perf_counter()
while begun + 12 > time.perf_counter() or len(times) < 3:
    started, step = time.perf_counter(), batch.step
    while not batch.full:
        batch.advance(*([64] if many else []))
    batch.write()
    times.append((time.perf_counter() - started) / (batch.step - step))
print(json.dumps(min(times) * 1e6))
"""
CASES = [
    (16, 1, "methanol"),
    (16, 3, "methanol"),
    (16, 20, "methanol"),
    (16, 3, "organics24"),
    (32, 3, "methanol"),
    (128, 1, "methanol"),
]


def main(other: Path, threads: int) -> None:
    """Print one row per case."""
    print(f"{threads} thread(s)\nchannels  trajectories        µs/step: other, this   ratio")
    for channels, replicas, names in CASES:
        found: dict[Path, list[float]] = {other: [], Path.cwd(): []}
        for _ in range(2):
            for checkout, mine in found.items():
                with tempfile.TemporaryDirectory() as folder:
                    command = [
                        sys.executable,
                        "-W",
                        "ignore",
                        "-c",
                        CHILD,
                        folder,
                        *map(str, (channels, replicas)),
                        names,
                        str(threads),
                    ]
                    environment = {
                        **os.environ,
                        "PYTHONPATH": str(checkout),
                        "OMP_NUM_THREADS": str(threads),
                    }
                    done = subprocess.run(
                        command,
                        env=environment,
                        cwd=folder,
                        stdout=subprocess.PIPE,
                        text=True,
                        check=True,
                    )
                    mine.append(json.loads(done.stdout.splitlines()[-1]))
        before, now = (min(mine) for mine in found.values())
        print(
            f"{channels:8d}  {names:10s} x {replicas:2d} "
            f"{before:14.0f}, {now:.0f} {before / now:12.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
