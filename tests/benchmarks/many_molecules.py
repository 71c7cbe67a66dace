"""Cost against error of one potential for many molecules: channels, updates, a cheap engine first.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.many_molecules <results.jsonl> organics24 \
        channels=16 updates=64000 labels=40 first=0 [seed=1] [key=value of the training ...]
    python -m tests.benchmarks.many_molecules <results.jsonl>          # the table

Each molecule has so many mixed samples (classical and quantum ones, half of them turned), labelled
by GFN2-xTB, and its derivatives along the modes. ``first``: updates on 300 mixed samples a molecule
of GFN1-xTB before, at the full learning rate; the second training then has a tenth of it. Tested on
what is never learnt, of every molecule: 30 frames of GFN2's own MD at 300 K, 20 quantum samples,
curvature of the modes held out. Errors are means over molecules with the standard error over
them; forces: mean absolute errors of a component [meV/Å]. Samples and tests are kept beside the
file; a row that it has is not made again."""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase import Atoms

from palirs import keys
from palirs.dynamics import CommitteeField, Noise, initial_state
from palirs.dynamics.integrators import Langevin
from palirs.learning.modes import learnt_derivatives
from palirs.learning.quality.errors import potential_parity
from palirs.learning.quality.frequencies import compare_frequencies
from palirs.learning.quality.modes import wavenumber_errors
from palirs.mace.models.committee import Committee
from palirs.mace.models.files import load_committee
from palirs.mace.training.jobs import Job, train
from palirs.molecules import Molecules, read_frames
from palirs.sampling import InitialSamples, ThermalSamples
from palirs.vibrations import Harmonic
from tests.benchmarks.learning_curves import SCRATCH, TUNED, labelled, tests, vibrations
from tests.benchmarks.samples import SMALL, TBLite

CHEAP = TBLite(method="GFN1-xTB")
TESTED = {"md": 30, "quantum": 20}
COLUMNS = ("harmonic", "held_out", "md", "quantum")


def kept(file: Path, make) -> list[Atoms]:
    """Return labelled frames from a file, made if it is not there."""
    if not file.exists():
        part = file.with_name(f"part-{file.name}")
        ase.io.write(part, make(), format="extxyz")
        part.rename(file)
    return read_frames(file)


class Data:
    """Labelled samples and tests of molecules, kept in a directory."""

    def __init__(self, place: Path, names: Sequence[str]):
        place.mkdir(parents=True, exist_ok=True)
        self.place, self.names = place, names

    def samples(self, name: str, count: int, seed: int, *, cheap: bool = False) -> list[Atoms]:
        """Return mixed samples, the optimum first; the first n are those of n."""
        method = CHEAP.method if cheap else "GFN2-xTB"
        kelvin = (300.0, 500.0, 700.0, 1000.0) if cheap else (300.0, 500.0, 700.0)
        thermal = ThermalSamples("mixed", kelvin, per_mode=1, least=max(count, 80))

        def make() -> list[Atoms]:
            rng = np.random.default_rng([seed, cheap])
            drawn = InitialSamples(thermal=thermal).sample(vibrations(name, method), rng)
            return labelled(drawn, CHEAP) if cheap else labelled(drawn)

        frames = kept(self.place / f"{name}-{method}-{seed}.xyz", make)
        if len(frames) < count:
            raise SystemExit(f"{name}: {len(frames)} samples are kept, {count} wanted; remove them")
        return frames[:count]

    def tests(self, name: str) -> dict[str, list[Atoms]]:
        """Return frames of MD and quantum samples."""

        def of(which: int, count: int):
            return lambda: tests(name)[which][:count]

        return {
            kind: kept(self.place / f"{name}-{kind}.xyz", of(which, count))
            for which, (kind, count) in enumerate(TESTED.items())
        }

    def derivatives(self, *, cheap: bool = False) -> list[Atoms]:
        """Return what is learnt of the Hessians of all molecules."""
        return learnt_derivatives(self.references(cheap=cheap))

    def references(self, *, cheap: bool = False) -> list[Harmonic]:
        """Return the vibrations of all molecules."""
        method = CHEAP.method if cheap else "GFN2-xTB"
        return [vibrations(name, method) for name in self.names]


def step_cost(committee: Committee, atoms: Atoms) -> float:
    """Return the time of a step of one of 20 trajectories by one member [µs], one thread."""
    copies = [atoms.copy() for _ in range(20)]
    target = torch.full((20,), 300.0, dtype=torch.float64)
    field = CommitteeField(committee.evaluator([each.numbers for each in copies]))
    noise = Noise([np.random.SeedSequence(i) for i in range(20)], [len(atoms)] * 20)
    state = initial_state(copies, field, target, noise)
    move = Langevin(0.5, 1.0, target)
    move.run(state, None, field, noise, 20, range(0))
    begun = time.perf_counter()
    move.run(state, None, field, noise, 200, range(0))
    return 1e6 * (time.perf_counter() - begun) / (200 * 20)


def row(
    data: Data, labels: int, channels: int, updates: int, first: int, seed: int, changes: dict
) -> dict:
    """Train one potential; return its errors and costs."""
    shape = replace(SMALL, channels=channels)
    training = replace(SCRATCH if not first else TUNED, updates=updates, derivatives=50.0)
    frames = [atoms for name in data.names for atoms in data.samples(name, labels, seed)]
    with tempfile.TemporaryDirectory() as folder:
        start, begun = None, time.process_time()
        if first:
            start = Path(folder) / "first-0.safetensors"
            cheap = [a for n in data.names for a in data.samples(n, 300, seed, cheap=True)]
            schedule = replace(SCRATCH, updates=first, derivatives=50.0)
            job = Job("potential", start, cheap, [], shape, schedule, seed)
            train(replace(job, derivatives=data.derivatives(cheap=True)))
        path = Path(folder) / "potential-0.safetensors"
        training = replace(training, **changes)
        job = Job("potential", path, frames, [], shape, training, seed, start)
        train(replace(job, derivatives=data.derivatives()))
        seconds = time.process_time() - begun
        committee = load_committee(path)
    found: dict[str, list[float]] = {column: [] for column in COLUMNS}
    for name, reference in zip(data.names, data.references(), strict=True):
        found["harmonic"].append(compare_frequencies(committee, [reference]).mae())
        held = wavenumber_errors(committee, [reference]).get("harmonic.held_out_curvature", np.nan)
        found["held_out"].append(100 * held)
        for kind, tested in data.tests(name).items():
            _, forces, _ = potential_parity(committee, tested)
            found[kind].append(forces.metrics("f", "")["f.mae_"])
    largest = max(data.references(), key=lambda one: len(one.atoms)).atoms
    return {
        **{key: dict(zip(data.names, values, strict=True)) for key, values in found.items()},
        "cpu_s": seconds,
        "step_us": step_cost(committee, largest),
    }


def table(rows: Sequence[dict]) -> None:
    """Print means over the molecules and their standard errors."""
    print(
        "| channels | labels | GFN1 first | updates | harmonic (cm⁻¹) | held-out curvature (%) ",
        end="",
    )
    print("| MD (meV/Å) | quantum (meV/Å) | CPU (min) | step (µs) |")
    print("| --- " * 10 + "|")
    for one in rows:
        cells = [str(one[key]) for key in ("channels", "labels", "first", "updates")]
        for column in COLUMNS:
            values = np.array(list(one[column].values()))
            error = np.nanstd(values, ddof=1) / np.sqrt(np.isfinite(values).sum())
            cells.append(f"{np.nanmean(values):.2f} ± {error:.2f}")
        cells += [f"{one['cpu_s'] / 60:.1f}", f"{one['step_us']:.0f}"]
        print(f"| {' | '.join(cells)} |")


def main(file: Path, *arguments: str) -> None:
    """Make the rows that are missing, or print the table."""
    done = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    if not arguments:
        table(done)
        return
    names = [str(atoms.info[keys.MOLECULE]) for atoms in Molecules(names=(arguments[0],)).load()]
    given = dict(each.split("=") for each in arguments[1:])
    head = {
        key: int(given.pop(key, default))
        for key, default in (
            ("channels", 16),
            ("updates", 64000),
            ("labels", 40),
            ("first", 0),
            ("seed", 1),
        )
    }
    head |= {"molecules": arguments[0], **given}
    results = {*COLUMNS, "cpu_s", "step_us"}
    if head in [{key: each[key] for key in each if key not in results} for each in done]:
        return
    changes = {key: float(value) for key, value in given.items()}
    data = Data(file.parent / f"{file.stem}-data", names)
    sizes = head["labels"], head["channels"], head["updates"], head["first"], head["seed"]
    with file.open("a") as out:
        out.write(json.dumps(head | row(data, *sizes, changes)) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
