"""Anharmonic levels of a committee against the engine's, by labels and kind of samples.

    python -m tests.benchmarks.anharmonic_learning <file> <molecules> <seeds> <counts> [kinds]
    python -m tests.benchmarks.anharmonic_learning <file>               # the table

A committee of three, from scratch on the first n samples of each kind, labelled by GFN2-xTB, with
the derivatives along the modes. Labels are those in the data set, without relaxation and Hessian.
Rows that are in the file are not made again."""

import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from palirs.engines.tblite import TBLite
from palirs.learning.modes import learnt_derivatives
from palirs.mace.models.files import load_committee
from palirs.mace.training.jobs import Job, train
from palirs.vibrations.anharmonic.calculation import Anharmonic, anharmonic, tight
from tests.benchmarks.learning_curves import SCRATCH, samples, vibrations
from tests.benchmarks.samples import SMALL

KINDS = ("classical", "mixed", "quantum")


@cache
def by_engine(name: str) -> Anharmonic:
    """Return the levels of a molecule by GFN2-xTB itself."""
    engine = TBLite(method="GFN2-xTB")
    return anharmonic(tight(vibrations(name), engine), engine)


def errors(name: str, folder: Path) -> dict[str, float]:
    """Return the errors of the levels of a committee [cm⁻¹], and how often ± 2 spreads cover them.

    Levels that are told to be none, or to be mixed, by the engine itself are left out.
    """
    committee, engine = load_committee(folder).double(), by_engine(name)
    own = anharmonic(vibrations(name), committee, committee.alone())
    count = len(engine.modes)
    usable = np.isfinite(engine.energies()) & (engine.levels.weights > 0.6)
    off = np.abs(own.levels.energies - engine.levels.energies)
    one, two = usable[:count], usable[count:]
    harmonic = np.abs(own.levels.harmonic - engine.levels.harmonic)[:count]
    covered = off[:count] <= 2 * own.spread[:count]
    return {
        "harmonic": float(harmonic.mean()),
        "fundamentals": float(off[:count][one].mean()),
        "largest": float(off[:count][one].max()),
        "two_quanta": float(off[count:][two].mean()),
        "zero_point": abs(own.levels.zero_point - engine.levels.zero_point),
        "spread": float(own.spread[:count][one].mean()),
        "covered": float(covered[one].mean()),
    }


def row(name: str, kind: str, count: int, seed: int) -> dict[str, float]:
    """Train a committee and return its errors."""
    frames = samples(name, kind, 250, seed)[:count]
    training = replace(SCRATCH, derivatives=50.0)
    learnt = learnt_derivatives([vibrations(name)])
    with tempfile.TemporaryDirectory() as folder:
        for member in range(3):
            path = Path(folder) / f"potential-{member}.safetensors"
            own = 10 * seed + member
            train(Job("potential", path, frames, [], SMALL, training, own, derivatives=learnt))
        return errors(name, Path(folder))


def table(done: Sequence[dict]) -> None:
    """Print means over molecules and seeds with standard errors over the molecules."""
    by = defaultdict(lambda: defaultdict(list))
    columns = [key for key in done[0] if isinstance(done[0][key], float) and key != "seconds"]
    for each in done:
        for column in columns:
            by[each["samples"], each["labels"]][column, each["molecule"]].append(each[column])
    names = sorted({each["molecule"] for each in done})
    print(f"{', '.join(names)}; seeds {sorted({each['seed'] for each in done})}")
    print(f"| samples | labels | {' | '.join(columns)} |")
    print("| --- " * (len(columns) + 2) + "|")
    for (kind, labels), values in sorted(by.items()):
        cells = []
        for column in columns:
            means = [np.mean(values[column, name]) for name in names if values[column, name]]
            error = np.std(means, ddof=1) / len(means) ** 0.5 if len(means) > 1 else np.nan
            cells.append(f"{np.mean(means):.2f} ± {error:.2f}")
        print(f"| {kind} | {labels} | {' | '.join(cells)} |")


def main(file: Path, arguments: Sequence[str]) -> None:
    """Fill the file, or print its table."""
    done = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    if not arguments:
        table(done)
        return
    names, seeds, counts, kinds = (text.split(",") for text in (*arguments, ",".join(KINDS))[:4])
    known = {(each["molecule"], each["seed"], each["samples"], each["labels"]) for each in done}
    for seed, kind, count, name in product(map(int, seeds), kinds, map(int, counts), names):
        if (name, seed, kind, count) in known:
            continue
        begun = time.perf_counter()
        head = {"molecule": name, "seed": seed, "samples": kind, "labels": count}
        made = head | row(name, kind, count, seed) | {"seconds": time.perf_counter() - begun}
        with file.open("a") as out:
            out.write(json.dumps(made) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
