"""What a foundation model saves: labels until the goals, from it, from GFN1-xTB and from nothing.

    python -m tests.benchmarks.foundation <directory> [<molecule> ...]       # methanol formamide

Weights of published foundation models are no part of this project, so one is made: MACE's own
ScaleShiftMACE, trained on GFN1-xTB labels of eleven other molecules and exported. Then each
molecule gets three studies on GFN2-xTB (``task=active_learning``, default goals, seed 1) that
differ by ``pretraining``. Studies that are there are not made again."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from palirs.engines.tblite import TBLite
from palirs.learning.completed import complete_iterations, read_metrics
from palirs.mace import export_mace
from palirs.mace.training.jobs import Job, train
from palirs.molecules import Molecules
from palirs.sampling import InitialSamples, ThermalSamples
from palirs.vibrations import minimum
from tests.benchmarks.learning_curves import SCRATCH, labelled
from tests.benchmarks.samples import SMALL

ROOT = Path(__file__).parents[2]
OTHERS = tuple(
    "H2O NH3 CH4 C2H6 H2CO HCN HCOOH CH3CHO H3CNH2 CH3CH2OH CH3OCH3".split()  # noqa: SIM905
)
COLUMNS = (
    "labels.used",
    "harmonic.mae_cm1",
    "harmonic.held_out_mae_cm1",
    "forces.measured_along_md_meV_per_A",
)


def foundation_model(place: Path) -> Path:
    """Train and export the model, unless it is there."""
    file = place / "foundation.model"
    if file.exists():
        return file
    engine, frames = TBLite(method="GFN1-xTB"), []
    thermal = ThermalSamples("mixed", (300.0, 500.0, 700.0, 1000.0), per_mode=1, least=120)
    for number, molecule in enumerate(Molecules(names=OTHERS).load()):
        drawn = InitialSamples(thermal=thermal, conformers=0).sample(
            minimum(molecule, engine), np.random.default_rng(number)
        )
        frames += labelled(drawn, engine)
    weights = place / "foundation.safetensors"
    training = replace(SCRATCH, updates=48000, derivatives=0.0)
    train(Job("potential", weights, frames, [], SMALL, training, 1))
    export_mace(weights, file)
    return file


def main(place: Path, molecules: Sequence[str]) -> None:
    """Run the studies and print the table."""
    place.mkdir(parents=True, exist_ok=True)
    model = foundation_model(place)
    ways = {
        "nothing": [],
        "GFN1-xTB": ["pretraining=gfn1"],
        "MACE": ["pretraining=mace", f"pretraining.engine.file={model}"],
    }
    print("| molecule | from | iterations |", " | ".join(COLUMNS), "|\n" + "| --- " * 7 + "|")
    for molecule in molecules:
        for way, settings in ways.items():
            study = place / f"{molecule}-{way}"
            log = study.with_suffix(".log")
            command = [sys.executable, "run.py", f"molecules={molecule}", f"study={study}"]
            command += ["task=active_learning", "tracker=none", *settings]
            with log.open("a") as out:
                subprocess.run(command, cwd=ROOT, check=True, stdout=out, stderr=out)
            places = complete_iterations(study)
            metrics = read_metrics(places[-1])
            cells = [f"{metrics.get(key, np.nan):.1f}" for key in COLUMNS]
            print(f"| {molecule} | {way} | {len(places)} |", " | ".join(cells), "|", flush=True)
            with (place / "results.jsonl").open("a") as out:
                out.write(json.dumps({"molecule": molecule, "from": way, **metrics}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["methanol", "formamide"])
