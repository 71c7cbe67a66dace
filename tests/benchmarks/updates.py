"""Updates of a training beside those of another checkout.

Time of an update, and errors of five seeds.

    python -m tests.benchmarks.updates ../other-checkout

Each contestant is a process of its own with the palirs of its checkout, one thread, in turn. Data:
GFN2-xTB frames of methanol at 300 and 700 K (:mod:`tests.benchmarks.training`). The time of an
update is that of the fastest of the epochs, validation included."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.training import data

CHILD = """
import json, sys, time
import ase.io, numpy as np, torch
torch.set_num_threads(1)
from palirs.mace.models.dipole import DipoleShape
from palirs.mace.models.potential import PotentialShape
from palirs.mace.settings import Architecture, Training
from palirs.mace.training.loop import fit
from palirs.mace.training.objectives import objective_of

folder, kind, size = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
updates, seed = int(sys.argv[4]), int(sys.argv[5])
train, valid = (ase.io.read(f"{folder}/{name}.xyz", ":") for name in ("train", "test"))
training = Training(updates=updates, batch_size=5, learning_rate=0.02, ema_decay=0.99, patience=1.0)
torch.manual_seed(seed)
shape = (PotentialShape if kind == "potential" else DipoleShape).of(train, Architecture(**size))
history = fit(shape.build(), objective_of(shape, training), train, valid, training, seed)
seconds = np.diff([entry["seconds"] for entry in history]).min() / history[0]["updates"]
name = "forces" if kind == "potential" else "dipole"
print(json.dumps([seconds * 1e3, history[-1][f"valid_{name}_mae"] * 1e3]))
"""
SIZES = {
    "small": {"channels": 16, "max_ell": 2, "correlation": 3},
    "medium": {"channels": 32, "max_ell": 3, "correlation": 3},
    "paper": {
        "channels": 128,
        "max_ell": 3,
        "correlation": 2,
        "cutoff": 3.0,
        "residual_first": True,
    },
}
CASES = [
    ("potential", "small", 4000, 5),
    ("dipole", "small", 2000, 3),
    ("potential", "medium", 480, 3),
    ("potential", "paper", 144, 2),
]


def main(other: Path) -> None:
    """Print one row per case."""
    with tempfile.TemporaryDirectory() as folder:
        data("methanol", Path(folder))
        print(
            "kind      size    updates  ms/update: other, this  "
            "ratio  MAE of the seeds [meV/Å or me·Å]: other, this"
        )
        for kind, size, updates, seeds in CASES:
            found: dict[Path, list[list[float]]] = {other: [], Path.cwd(): []}
            for seed in range(seeds):
                for checkout, mine in found.items():
                    settings = {
                        "channels": 16,
                        **SIZES[size],
                        **({"correlation": 2} if kind == "dipole" else {}),
                    }
                    command = [
                        sys.executable,
                        "-c",
                        CHILD,
                        folder,
                        kind,
                        json.dumps(settings),
                        str(updates),
                        str(seed),
                    ]
                    environment = {
                        **os.environ,
                        "PYTHONPATH": str(checkout),
                        "OMP_NUM_THREADS": "1",
                    }
                    done = subprocess.run(
                        command,
                        env=environment,
                        cwd=folder,
                        capture_output=True,
                        text=True,
                        check=True,
                    )
                    mine.append(json.loads(done.stdout.splitlines()[-1]))
            before, now = (min(time for time, _ in mine) for mine in found.values())
            errors = [
                f"{statistics.mean(e):.2f} ± {statistics.stdev(e):.2f}"
                for e in ([error for _, error in mine] for mine in found.values())
            ]
            print(
                f"{kind:9s} {size:7s} {updates:7d} {before:10.3f}, {now:.3f} "
                f"{before / now:12.2f}  {errors[0]}, {errors[1]}",
                flush=True,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
