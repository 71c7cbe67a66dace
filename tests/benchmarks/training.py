"""Training by MACE's own command and by palirs, side by side on one machine, in turn.

From process start to the same held-out error.

    python -m tests.benchmarks.training potential methanol|mixed [seeds] [threads]
    python -m tests.benchmarks.training dipole methanol|mixed [seeds] [threads]
    python -m tests.benchmarks.training presets methanol|mixed updates  # accuracy, cost of sizes
    python -m tests.benchmarks.training steps  # a gradient: compiled, MACE's code and autograd

Data: GFN2-xTB frames of Langevin MD at 300 and 700 K, 10 fs apart; ``mixed`` are eight molecules.
Same architecture (32 channels, L = 1, 3 Å, correlation 2, float32), loss (mean squares, 1 : 100),
batch size, epochs, data and split; MACE gets our E0s, because its own fit is singular for one
composition. MACE's seed and ours drive the first weights and the order of the frames. Held out:
frames that neither takes gradients of; MACE's error is that of the epoch, printed by itself, ours
that of the averaged weights after the epoch."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from statistics import median

import ase.io
import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from palirs import keys
from palirs.engines import TBLite
from palirs.labels import attach
from palirs.mace.settings import Architecture, Training
from palirs.molecules import table
from palirs.units import MILLIDEBYE

SETS = {
    "methanol": ["methanol"],
    "mixed": [
        "methanol",
        "formamide",
        "acetic_acid",
        "ethylamine",
        "acetonitrile",
        "dimethyl_ether",
        "nitromethane",
        "ethene",
    ],
}
FRAMES = {"methanol": (240, 40, 80), "mixed": (320, 64, 128)}  # train, held out, test
ARCHITECTURE = Architecture(channels=32, max_L=1, max_ell=3, correlation=2, cutoff=3.0)
EPOCHS, LONGER, BATCH = 100, 200, 5
"""Of both; and ours again with so many, because schedules that end sooner or later cannot be
compared epoch by epoch."""
POTENTIAL = Training(
    batch_size=BATCH,
    loss="mse",
    energy_weight=1.0,
    forces_weight=100.0,
    learning_rate=0.01,
    patience=1.0,
)
PRESET = Training(batch_size=BATCH, learning_rate=0.01, patience=1.0)
DIPOLE = Training(
    batch_size=BATCH, learning_rate=0.02, patience=1.0
)  # of the preset; MACE's command has one loss for dipoles


def frames_of(name: str, count: int) -> list[Atoms]:
    """Frames of MD at 300 and 700 K, half of each, in the order of time."""
    from tblite.ase import TBLite as Calculator

    found = []
    for temperature in (300, 700):
        atoms = table()[name].copy()
        atoms.info = {keys.MOLECULE: name}
        atoms.calc = Calculator(method="GFN2-xTB", verbosity=0)
        MaxwellBoltzmannDistribution(
            atoms, temperature_K=temperature, rng=np.random.default_rng(temperature)
        )
        dynamics = Langevin(
            atoms,
            0.5 * units.fs,
            temperature_K=temperature,
            friction=0.02 / units.fs,
            rng=np.random.default_rng(temperature + 1),
        )
        dynamics.run(400)
        for _ in range(count // 2):
            dynamics.run(20)
            frame = atoms.copy()
            frame.calc = None
            found.append(frame)
    return found


def data(which: str, place: Path) -> dict[str, list[Atoms]]:
    """Labelled frames split at random into train, valid and test.

    Written as extended XYZ for both contestants.
    """
    sizes, names = FRAMES[which], SETS[which]
    frames = [frame for name in names for frame in frames_of(name, sum(sizes) // len(names))]
    labelled = [
        attach(atoms, label)
        for atoms, label in zip(frames, TBLite().calculate(frames), strict=True)
    ]
    order = np.random.default_rng(0).permutation(len(labelled))
    ends = np.cumsum(sizes)
    parts = {
        key: [labelled[i] for i in order[start:end]]
        for key, start, end in zip(("train", "valid", "test"), (0, *ends[:-1]), ends, strict=True)
    }
    for key, part in parts.items():
        for atoms in part:
            atoms.info["dipole_debye"] = (
                np.asarray(atoms.info[keys.DIPOLE]) * MILLIDEBYE / 1e3
            )  # the unit MACE's tables expect
        ase.io.write(place / f"{key}.xyz", part, format="extxyz")
    return parts


def mace(kind: str, place: Path, seed: int, energies: dict[int, float], environment: dict) -> dict:
    """Run MACE's command; return times and held-out errors by epoch, and the model file."""
    work = place / f"mace-{kind}-{seed}"
    work.mkdir()
    a = ARCHITECTURE
    common = {
        "name": "m", "train_file": "../train.xyz", "valid_file": "../valid.xyz",
        "r_max": a.cutoff, "max_ell": a.max_ell,
        "num_interactions": a.layers, "interaction_first": "RealAgnosticInteractionBlock",
        "hidden_irreps": f"{a.channels}x0e+{a.channels}x1o", "correlation": a.correlation,
        "lr": 0.01, "batch_size": BATCH, "valid_batch_size": 64, "max_num_epochs": EPOCHS,
        "default_dtype": a.dtype, "device": "cpu", "seed": seed,
        "eval_interval": 1, "ema_decay": 0.99, "E0s": str(energies), "plot": False,
    }  # fmt: skip
    special = {
        "potential": {
            "model": "ScaleShiftMACE", "loss": "weighted", "energy_weight": 1.0,
            "forces_weight": 100.0, "energy_key": keys.ENERGY,
            "forces_key": keys.FORCES, "error_table": "TotalMAE",
        },
        "dipole": {
            "model": "AtomicDipolesMACE", "loss": "dipole", "dipole_key": "dipole_debye",
            "error_table": "DipoleRMSE",
        },
    }[kind]  # fmt: skip
    command = [
        "mace_run_train",
        "--ema",
        "--amsgrad",
        *(f"--{key}={value}" for key, value in {**common, **special}.items()),
    ]
    command[0] = str(Path(sys.executable).with_name("mace_run_train"))
    started = time.time()
    with (work / "out").open("w") as out:
        subprocess.run(
            command, cwd=work, stdout=out, stderr=subprocess.STDOUT, env=environment, check=True
        )
    whole = time.time() - started
    pattern = re.compile(r"^(\S+ \S+) INFO: Epoch (\d+).*?MAE_(?:F|MU\S*)=\s*([\d.]+)")
    curve = []
    for line in (work / "out").read_text().splitlines():
        if found := pattern.search(line):
            curve.append(
                (
                    datetime.fromisoformat(found[1].replace(",", ".")).timestamp() - started,
                    float(found[3]),
                )
            )
    return {"seconds": whole, "curve": curve, "model": work / "m.model"}


def ours(kind: str, place: Path, seed: int, epochs: int, environment: dict) -> dict:
    """Run ours as a process of its own; the same."""
    work = place / f"palirs-{kind}-{seed}-{epochs}"
    work.mkdir()
    started = time.time()
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.training",
        "--train",
        kind,
        str(place),
        str(work),
        str(seed),
        str(epochs),
    ]
    subprocess.run(command, env=environment, check=True, stderr=(work / "err").open("w"))
    whole = time.time() - started
    begun = json.loads((work / "begun.json").read_text()) - started
    history = [json.loads(line) for line in (work / "model.jsonl").read_text().splitlines()]
    key, factor = (
        ("valid_forces_mae", 1e3) if kind == "potential" else ("valid_dipole_mae", MILLIDEBYE)
    )
    return {
        "seconds": whole,
        "curve": [(begun + h["seconds"], h[key] * factor) for h in history],
        "model": work / "model.safetensors",
    }


def train(kind: str, place: Path, work: Path, seed: int, epochs: int) -> None:
    """The process that :func:`ours` times."""
    import torch

    from palirs.mace.training.jobs import Job
    from palirs.mace.training.jobs import train as train_model

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    parts = {key: ase.io.read(place / f"{key}.xyz", ":") for key in ("train", "valid")}
    settings = replace(
        POTENTIAL if kind == "potential" else DIPOLE,
        updates=epochs * (len(parts["train"]) // BATCH),
    )
    (work / "begun.json").write_text(json.dumps(time.time()))
    train_model(
        Job(
            kind,
            work / "model.safetensors",
            parts["train"],
            parts["valid"],
            ARCHITECTURE,
            settings,
            seed,
        )
    )


def errors(kind: str, model: Path, test: list[Atoms], stock: bool) -> dict[str, float]:
    """MAE and RMSE of a model file on the test frames.

    Forces [meV/Å] and energy [meV], or dipole components [mDebye].
    """
    from palirs.mace import import_mace, load

    if kind == "potential":
        if stock:
            import_mace(model, model.with_suffix(".safetensors"))
            model = model.with_suffix(".safetensors")
        found = load(model).evaluate(test)
        energy = (found.energy[0] - [atoms.info[keys.ENERGY] for atoms in test]) * 1e3
        forces = (
            np.concatenate(
                [
                    (f[0] - atoms.arrays[keys.FORCES]).ravel()
                    for f, atoms in zip(found.forces, test, strict=True)
                ]
            )
            * 1e3
        )
        return {
            "mae": np.abs(forces).mean(),
            "rmse": np.sqrt((forces**2).mean()),
            "energy": np.abs(energy).mean(),
        }
    if stock:
        import torch
        from mace.calculators import MACECalculator

        calculator = MACECalculator(
            models=[torch.load(model, weights_only=False)],
            model_type="DipoleMACE",
            default_dtype="float32",
        )
        values = []
        for atoms in test:
            copy = atoms.copy()
            copy.calc = calculator
            values.append(copy.get_dipole_moment() * 1e3)
        predicted = np.array(values)
    else:
        predicted = load(model).evaluate(test)[0] * MILLIDEBYE
    deviation = predicted - np.array([atoms.info[keys.DIPOLE] for atoms in test]) * MILLIDEBYE
    return {"mae": np.abs(deviation).mean(), "rmse": np.sqrt((deviation**2).mean())}


def reached(curve: list[tuple[float, float]], goal: float) -> float:
    """Seconds until the error is at most the goal."""
    return next((seconds for seconds, error in curve if error <= goal), float("inf"))


def compare(kind: str, which: str, seeds: int, threads: int) -> None:
    """Print one row per seed, and the median."""
    from palirs.mace.models.potential import PotentialShape

    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        parts = data(which, place)
        shape = PotentialShape.of(parts["train"], ARCHITECTURE)
        energies = dict(zip(shape.elements, shape.atomic_energies, strict=True))
        print(
            f"{kind}, {which}: {' + '.join(f'{len(part)} {key}' for key, part in parts.items())} "
            f"frames, {threads} thread(s)",
            flush=True,
        )
        run = _potentials if kind == "potential" else _dipoles
        ratios = [
            run(place, seed, energies, parts["test"], environment) for seed in range(1, seeds + 1)
        ]
        what = (
            "times faster to the same held-out force MAE"
            if kind == "potential"
            else "times lower test MAE after the same time"
        )
        print(f"median: {median(ratios):.1f} {what}")


def _potentials(
    place: Path, seed: int, energies: dict[int, float], test: list[Atoms], environment: dict
) -> float:
    """Print the times to the best held-out force MAE of MACE, and return their ratio."""
    theirs = mace("potential", place, seed, energies, environment)
    runs = [("MACE", EPOCHS, theirs)]
    runs += [
        ("palirs", epochs, ours("potential", place, seed, epochs, environment))
        for epochs in (EPOCHS, LONGER)
    ]
    goal = min(error for _, error in theirs["curve"])
    times = []
    for name, epochs, run in runs:
        e = errors("potential", run["model"], test, name == "MACE")
        times.append(reached(run["curve"], goal))
        print(
            f"seed {seed}: {name:7s} {epochs:4d} epochs {run['seconds']:6.1f} s, "
            f"held-out force MAE {min(x for _, x in run['curve']):.2f} at best, "
            f"{goal:.2f} meV/Å after {times[-1]:.1f} s; test: "
            f"forces MAE {e['mae']:.2f}, RMSE {e['rmse']:.2f} meV/Å, energy MAE "
            f"{e['energy']:.1f} meV",
            flush=True,
        )
    return times[0] / min(times[1:])


def _dipoles(
    place: Path, seed: int, energies: dict[int, float], test: list[Atoms], environment: dict
) -> float:
    """Print the test errors after MACE's time, and return their ratio."""
    theirs = mace("dipole", place, seed, energies, environment)
    short = ours("dipole", place, seed, EPOCHS, environment)
    longer = max(EPOCHS, int(EPOCHS * 0.9 * theirs["seconds"] / short["seconds"]))
    mine = ours("dipole", place, seed, longer, environment)
    found = []
    for name, epochs, contestant in (
        ("MACE", EPOCHS, theirs),
        ("palirs", EPOCHS, short),
        ("palirs", longer, mine),
    ):
        e = errors("dipole", contestant["model"], test, name == "MACE")
        print(
            f"seed {seed}: {name:7s} {epochs:4d} epochs {contestant['seconds']:6.1f} s; "
            f"test MAE {e['mae']:.2f}, RMSE {e['rmse']:.2f} mD",
            flush=True,
        )
        found.append(e["mae"])
    return found[0] / found[2]


GRID = [
    Architecture(
        channels=channels,
        max_L=order,
        max_ell=ell,
        correlation=correlation,
        cutoff=cutoff,
        dtype=dtype,
    )
    for channels, order, ell, correlation, cutoff, dtype in [
        (8, 1, 2, 2, 5.0, "float32"),
        (16, 1, 2, 3, 5.0, "float32"),
        (16, 1, 2, 3, 5.0, "float64"),
        (32, 0, 3, 3, 5.0, "float32"),
        (32, 1, 2, 3, 5.0, "float32"),
        (32, 1, 3, 2, 3.0, "float32"),
        (32, 1, 3, 2, 5.0, "float32"),
        (32, 1, 3, 3, 5.0, "float32"),
        (64, 1, 2, 3, 5.0, "float32"),
        (64, 1, 3, 2, 5.0, "float32"),
        (64, 1, 3, 3, 5.0, "float32"),
        (64, 2, 3, 2, 5.0, "float32"),
        (128, 1, 3, 2, 3.0, "float32"),
        (128, 1, 3, 2, 5.0, "float32"),
    ]
]


def presets(which: str, updates: int) -> None:
    """Print accuracy against cost of model sizes, one training each, one thread."""
    import torch

    from palirs.mace import load
    from palirs.mace.training.jobs import Job
    from palirs.mace.training.jobs import train as train_model

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        parts = data(which, Path(folder))
        print(
            f"{which}: {' + '.join(f'{len(part)} {key}' for key, part in parts.items())} "
            f"frames, {updates} updates of {BATCH}, one thread"
        )
        print(
            "channels  L  l  correlation  cutoff  dtype  parameters  s in all  "
            "ms/update  ms per MD step  forces MAE, RMSE  energy [meV]"
        )
        for number, a in enumerate(GRID):
            job = Job(
                "potential",
                Path(folder) / f"{number}.safetensors",
                parts["train"],
                parts["valid"],
                a,
                PRESET,
                1,
            )
            started = time.perf_counter()
            train_model(replace(job, training=replace(PRESET, updates=updates)))
            seconds = time.perf_counter() - started
            log = [
                json.loads(line) for line in job.path.with_suffix(".jsonl").read_text().splitlines()
            ]
            e = errors("potential", job.path, parts["test"], False)
            committee = load(job.path)
            batch = committee.kernel().batch(*_all(parts["test"], committee.elements))
            positions = np.concatenate([atoms.positions for atoms in parts["test"]])
            times = []
            for _ in range(7):
                begun = time.perf_counter()
                batch.forces(positions)
                times.append((time.perf_counter() - begun) / len(parts["test"]) * 1e3)
            size = sum(parameter.numel() for parameter in committee.members[0].parameters())
            print(
                f"{a.channels:8d} {a.max_L:2d} {a.max_ell:2d} {a.correlation:12d} {a.cutoff:7.1f}  "
                f"{a.dtype} {size:11d} {seconds:5.0f} "
                f"{log[-1]['seconds'] / log[-1]['updates'] * 1e3:9.2f} {median(times):12.3f} "
                f"{e['mae']:15.2f}, {e['rmse']:.2f} {e['energy']:12.2f}",
                flush=True,
            )


def steps() -> None:
    """Print the time of loss and gradient of a batch of five, compiled and by autograd, in turn."""
    import torch

    from palirs.mace.models.dipole import DipoleShape
    from palirs.mace.models.potential import PotentialShape
    from palirs.mace.training.gradients import Data, Gradients
    from palirs.mace.training.objectives import DipoleObjective, PotentialObjective

    with tempfile.TemporaryDirectory() as folder:
        frames = data("mixed", Path(folder))["train"][:40]
    print(
        "kind       channels  correlation  cutoff  dtype    threads  compiled, autograd [ms]  ratio"
    )
    sizes = [
        (16, 2, 3, 5.0, "float32"),
        (32, 3, 2, 3.0, "float32"),
        (128, 3, 2, 3.0, "float32"),
        (128, 3, 2, 3.0, "float64"),
    ]
    for kind in ("potential", "dipole"):
        for channels, ell, correlation, cutoff, dtype in sizes:
            a = Architecture(
                channels=channels, max_ell=ell, correlation=correlation, cutoff=cutoff, dtype=dtype
            )
            shape_of, objective_of = {
                "potential": (PotentialShape, PotentialObjective),
                "dipole": (DipoleShape, DipoleObjective),
            }[kind]
            for threads in (1, 2):
                torch.set_num_threads(threads)
                contestants = []
                for backend in ("native", "eager"):
                    training = Training(backend=backend)
                    objective = objective_of(shape_of.of(frames, a), training)
                    gradients = Gradients(objective.shape.build(), objective, training)
                    contestants.append((gradients, Data.of(frames, objective, gradients.dtype)))
                times: list[list[float]] = [[], []]
                for turn in range(9):
                    for mine, (gradients, frames_of_it) in zip(times, contestants, strict=True):
                        begun = time.perf_counter()
                        for batch in range(4):
                            gradients(frames_of_it, range(5 * batch, 5 * batch + 5))
                        if turn:
                            mine.append((time.perf_counter() - begun) / 4 * 1e3)
                fast, slow = map(median, times)
                print(
                    f"{kind:10s} {channels:8d} {correlation:12d} {cutoff:7.1f}  {dtype} "
                    f"{threads:8d} {fast:10.2f}, {slow:.1f} {slow / fast:12.1f}",
                    flush=True,
                )


def _all(frames: list[Atoms], elements: tuple[int, ...]) -> tuple[np.ndarray, list[int]]:
    from palirs.mace.models.graphs import species

    return species([atoms.numbers for atoms in frames], elements), [len(atoms) for atoms in frames]


if __name__ == "__main__":
    if sys.argv[1] == "--train":
        train(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]))
    elif sys.argv[1] == "presets":
        presets(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1] == "steps":
        steps()
    else:
        rest = [int(value) for value in sys.argv[3:]]
        compare(sys.argv[1], sys.argv[2], *([*rest, *(3, 1)[len(rest) :]]))
