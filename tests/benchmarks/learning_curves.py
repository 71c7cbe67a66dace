"""Errors against labels: differences as targets, quantum samples, and a cheap engine first.

    python -m tests.benchmarks.learning_curves <results.jsonl> <molecules> <seeds> [key=value ...]
    python -m tests.benchmarks.learning_curves <results.jsonl>               # the table
    python -m tests.benchmarks.learning_curves <results.jsonl> figure <file.png>

One potential on the first n samples of each kind, labelled by GFN2-xTB, from scratch or from one
that has learnt 600 samples of GFN1-xTB. What is tested is never learnt: 100 frames of GFN2's own
MD at 300 K, 60 samples of the quantum harmonic distribution at 300 K, the curvature along the modes
that are held out, and the Hessian at the first of the frames of MD (relative error, Frobenius).
Rows that are in the file are not made again. ``key=value`` changes the training of every row."""

import itertools
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs.engines import Engine
from palirs.engines.tblite import TBLite
from palirs.labels.labeller import attach
from palirs.learning.modes import learnt_derivatives
from palirs.learning.quality.errors import potential_parity
from palirs.learning.quality.frequencies import compare_frequencies
from palirs.learning.quality.modes import wavenumber_errors
from palirs.mace.models.files import load_committee
from palirs.mace.settings import Training
from palirs.mace.training.jobs import Job, train
from palirs.molecules import Molecules
from palirs.sampling import InitialSamples, ThermalSamples
from palirs.vibrations import Harmonic, Source, minimum
from tests.benchmarks.samples import ENGINE, LONG, SMALL, trajectory

COUNTS = (10, 20, 40, 80)
SCRATCH = replace(LONG, validation_fraction=0.0)
TUNED = Training(updates=16000, learning_rate=0.001, validation_fraction=0.0)
VARIANTS: dict[str, tuple[str, str, float, float]] = {
    # start, samples, derivatives, held out for validation
    "before": ("scratch", "classical", 0.0, 0.1),
    "derivatives": ("scratch", "classical", 50.0, 0.0),
    "derivatives, mixed": ("scratch", "mixed", 50.0, 0.0),
    "GFN1": ("GFN1", "classical", 0.0, 0.0),
    "GFN1, derivatives, mixed": ("GFN1", "mixed", 50.0, 0.0),
    "quantum": ("scratch", "quantum", 0.0, 0.0),
    "derivatives, quantum": ("scratch", "quantum", 50.0, 0.0),
    "GFN1, derivatives": ("GFN1", "classical", 50.0, 0.0),
    "GFN1, quantum": ("GFN1", "quantum", 0.0, 0.0),
    "GFN1, derivatives, quantum": ("GFN1", "quantum", 50.0, 0.0),
    "nothing held out": ("scratch", "classical", 0.0, 0.0),
}
COLUMNS = {
    "harmonic": "harmonic (cm⁻¹)",
    "held_out": "held-out curvature (%)",
    "hessian": "Hessian elsewhere (%)",
    "md": "MD (meV/Å)",
    "quantum": "quantum (meV/Å)",
}


def labelled(frames: Sequence[Atoms], engine: Engine = ENGINE) -> list[Atoms]:
    """Label frames."""
    return [
        attach(atoms, label) for atoms, label in zip(frames, engine.calculate(frames), strict=True)
    ]


@cache
def vibrations(name: str, method: str = "GFN2-xTB") -> Harmonic:
    """Return optimum and modes."""
    return minimum(Molecules(names=(name,)).load()[0], TBLite(method=method))


@cache
def tests(name: str) -> tuple[list[Atoms], list[Atoms]]:
    """Return frames of MD, and quantum samples."""
    optimum = vibrations(name)
    samples = ThermalSamples(
        distribution="quantum", temperatures=(300.0,), per_mode=1, least=60, turned=0.0
    )
    quantum = labelled(list(samples.sample(optimum, np.random.default_rng(77))))
    return trajectory(optimum.atoms, 300.0, 100, 99), quantum


@cache
def samples(name: str, kind: str, count: int, seed: int) -> list[Atoms]:
    """Return labelled samples, the optimum first; the first n are those of n."""
    kelvin = (300.0,) if kind == "quantum" else (300.0, 500.0, 700.0)
    thermal = ThermalSamples(kind, kelvin, per_mode=1, least=count)  # pyright: ignore[reportArgumentType]
    drawn = InitialSamples(thermal=thermal, conformers=0).sample(
        vibrations(name), np.random.default_rng(seed)
    )
    return labelled(drawn)[:count]


def hessian(source: Source, atoms: Atoms, step: float = 0.005) -> np.ndarray:
    """Return second derivatives anywhere, by central differences, ``[3N, 3N]`` [eV/Å²]."""
    frames = []
    for coordinate in range(3 * len(atoms)):
        for sign in (1, -1):
            moved = Atoms(atoms.numbers, positions=atoms.positions, info=dict(atoms.info))
            moved.positions[coordinate // 3, coordinate % 3] += sign * step
            frames.append(moved)
    forces = np.array([properties.forces.ravel() for properties in source.calculate(frames)])
    return -(forces[::2] - forces[1::2]) / (2 * step)


def pretrained(place: Path, name: str, seed: int, derivatives: float) -> Path:
    """Return a potential that has learnt GFN1-xTB."""
    path = place / f"{name}-{seed}-{derivatives:g}-mixed.safetensors"
    thermal = ThermalSamples("mixed", (300.0, 500.0, 700.0, 1000.0), per_mode=1, least=600)
    reference = vibrations(name, "GFN1-xTB")
    drawn = InitialSamples(thermal=thermal, conformers=0).sample(
        reference, np.random.default_rng(seed + 1000)
    )
    frames = labelled(drawn, TBLite(method="GFN1-xTB"))
    training = replace(SCRATCH, derivatives=derivatives)
    learnt = learnt_derivatives([reference]) if derivatives else []
    train(Job("potential", path, frames, [], SMALL, training, seed, derivatives=learnt))
    return path


def errors(name: str, path: Path) -> dict[str, float]:
    """Return the errors of a potential."""
    committee, reference = load_committee(path), vibrations(name)
    md, quantum = tests(name)
    row = {"harmonic": compare_frequencies(committee, [reference]).mae()}
    row["held_out"] = 100 * wavenumber_errors(committee, [reference]).get(
        "harmonic.held_out_curvature", np.nan
    )
    own, true = (hessian(source, md[0]) for source in (committee.double(), ENGINE))
    row["hessian"] = 100 * float(np.linalg.norm(own - true) / np.linalg.norm(true))
    for key, frames in (("md", md), ("quantum", quantum)):
        _, forces, _ = potential_parity(committee, frames)
        row[key] = forces.metrics("f", "")["f.mae_"]
    return row


def rows(
    place: Path, names: Sequence[str], seeds: Sequence[int], done: set[tuple], changes: dict
) -> Iterator[dict]:
    """Yield what is not done yet."""
    order = itertools.product(seeds, VARIANTS.items(), names, COUNTS)
    for seed, (variant, (start, kind, derivatives, validation)), name, count in order:
        if (name, seed, variant, count) in done:
            continue
        begun = time.perf_counter()
        training = SCRATCH if start == "scratch" else TUNED
        training = replace(training, derivatives=derivatives, **changes)
        scratch = start == "scratch"
        first = None if scratch else pretrained(place, name, seed, derivatives)
        frames = samples(name, kind, max(COUNTS), seed)[:count]
        keep = round(validation * count)
        data = (frames[: count - keep], frames[count - keep :])
        learnt = learnt_derivatives([vibrations(name)]) if derivatives else []
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "potential-0.safetensors"
            train(Job("potential", path, *data, SMALL, training, seed, first, derivatives=learnt))
            row = errors(name, path)
        head = {"molecule": name, "seed": seed, "variant": variant, "labels": count}
        yield head | row | {"seconds": time.perf_counter() - begun}


def table(done: Sequence[dict]) -> None:
    """Print means over molecules and seeds, and their standard errors over the molecules.

    Only rows of as many molecules compare: choose the lines of the file.
    """
    by = defaultdict(lambda: defaultdict(list))
    for row in done:
        for column in COLUMNS:
            by[row["variant"], row["labels"]][column, row["molecule"]].append(row[column])
    names = sorted({row["molecule"] for row in done})
    print(f"{', '.join(names)}; seeds {sorted({row['seed'] for row in done})}")
    print(f"| variant | labels | molecules | {' | '.join(COLUMNS.values())} |")
    print("| --- " * (len(COLUMNS) + 3) + "|")
    for (variant, labels), values in by.items():
        there = [name for name in names if values["md", name]]
        cells = [str(len(there))]
        for column in COLUMNS:
            means = [np.mean(values[column, name]) for name in there]
            error = np.std(means, ddof=1) / len(means) ** 0.5 if len(means) > 1 else np.nan
            cells.append(f"{np.mean(means):.2f} ± {error:.2f}")
        print(f"| {variant} | {labels} | {' | '.join(cells)} |")


def figure(done: Sequence[dict], path: str) -> None:
    """Draw the errors of forces against the labels, for variants that are complete."""
    from matplotlib.figure import Figure

    size = max(Counter((row["variant"], row["labels"]) for row in done).values())
    drawing = Figure(figsize=(8, 3.6), layout="constrained")
    for axes, column, title in zip(
        drawing.subplots(1, 2), ("md", "quantum"), ("MD at 300 K", "quantum samples"), strict=True
    ):
        for variant, (start, *_) in VARIANTS.items():
            means, errors = [], []
            for count in COUNTS:
                rows = [r for r in done if (r["variant"], r["labels"]) == (variant, count)]
                of_molecule = defaultdict(list)
                for row in rows:
                    of_molecule[row["molecule"]].append(row[column])
                values = [float(np.mean(each)) for each in of_molecule.values()]
                if len(rows) >= size // 3 and len(values) > 1:
                    means.append(np.mean(values))
                    errors.append(np.std(values, ddof=1) / len(values) ** 0.5)
            if len(means) == len(COUNTS):
                style = "o-" if start == "scratch" else "s--"
                axes.errorbar(COUNTS, means, errors, fmt=style, capsize=2, label=variant, ms=4)
        axes.set(xscale="log", yscale="log", xlabel="Labels", title=f"Forces on {title}")
        axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
        axes.minorticks_off()
        axes.set_yticks(ticks := [5, 10, 20, 50, 100, 200], [str(tick) for tick in ticks])
        axes.set_ylabel("Mean absolute error (meV/Å)")
    drawing.axes[0].legend(fontsize=8)
    drawing.savefig(path, dpi=150)


def main(file: Path, arguments: Sequence[str]) -> None:
    """Fill the file, or print its table."""
    done = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    if not arguments:
        table(done)
        return
    if arguments[0] == "figure":
        figure(done, arguments[1])
        return
    names, seeds = arguments[0].split(","), [int(seed) for seed in arguments[1].split(",")]
    changes = {
        key: (int if key == "updates" else float)(value)
        for key, _, value in (each.partition("=") for each in arguments[2:])
    }
    known = {(row["molecule"], row["seed"], row["variant"], row["labels"]) for row in done}
    place = file.parent / "pretrained"
    place.mkdir(parents=True, exist_ok=True)
    for row in rows(place, names, seeds, known, changes):
        with file.open("a") as out:
            out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
