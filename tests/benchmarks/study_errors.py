"""Errors of the committees of finished studies on frames that none of them has seen.

    python -m tests.benchmarks.study_errors <molecule> <study> [<study> ...]

The molecule is a name or SMILES, all studies are of it and of one engine, which labels 30 frames of
GFN2-xTB's own MD at 300 K and 15 samples of GFN2's quantum harmonic distribution at 300 K. Forces:
mean absolute error of a component ± standard error [meV/Å]."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from ase import Atoms
from hydra.utils import instantiate
from omegaconf import OmegaConf

from palirs import keys
from palirs.learning.completed import complete_iterations, read_metrics
from palirs.learning.quality.errors import potential_parity
from palirs.mace.models.files import load_committee
from tests.benchmarks.learning_curves import labelled, tests

COUNTS = {"MD": 30, "quantum": 15}


def main(molecule: str, studies: Sequence[Path]) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    engine = instantiate(OmegaConf.load(studies[0] / "config.yaml")["engine"])
    frames = {}
    for (title, count), drawn in zip(COUNTS.items(), tests(molecule), strict=True):
        plain = [
            Atoms(each.numbers, positions=each.positions, info={keys.MOLECULE: molecule})
            for each in drawn[:count]
        ]
        frames[title] = labelled(plain, engine)
    print(f"{engine.name}\n\n| study | iteration | labels | {' | '.join(COUNTS)} |")
    print("| --- " * (3 + len(COUNTS)) + "|")
    for study in studies:
        for iteration in complete_iterations(study):
            committee, cells = load_committee(iteration), []
            for title in COUNTS:
                _, forces, _ = potential_parity(committee, frames[title])
                errors = forces.metrics("f", "")
                cells.append(f"{errors['f.mae_']:.1f} ± {errors['f.mae_se_']:.1f}")
            labels = read_metrics(iteration)["labels.used"]
            print(
                f"| {study.name} | {iteration.name} | {labels:.0f} | {' | '.join(cells)} |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1], [Path(path) for path in sys.argv[2:]])
