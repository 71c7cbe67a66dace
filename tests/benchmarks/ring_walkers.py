"""What exploration by ring polymers is worth, at equal numbers of labels.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.ring_walkers <study> <directory> 2000 0.5 0 16

A finished study of one molecule, which is only read. Its committee explores once more, for so long
[ps]: classically (0), and by ring polymers of so many beads. Each exploration chooses as many
frames, which the engine labels, and the members go on with them for so many updates at a tenth of
the learning rate. Each committee then drives rings of 32 beads at 300 K (4 × 0.5 ps), and all are
tested on beads of them at random, and on classical MD by the first. Forces: mean absolute error of
a component ± standard error over trajectories [meV/Å], and the 90th percentile over frames. What
the directory has is not made again.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import ase.io
import numpy as np
import torch
from ase import Atoms
from hydra.utils import instantiate
from omegaconf import OmegaConf

from palirs import keys
from palirs.executors import Serial
from palirs.learning.acquisition import choose, expected_errors
from palirs.learning.completed import complete_iterations, read_dataset
from palirs.learning.exploration import explore
from palirs.learning.modes import learnt_derivatives
from palirs.learning.quality.calibration import calibrate
from palirs.learning.quality.errors import potential_parity
from palirs.learning.splits import separate_test
from palirs.learning.state import LearningSetup, LearningState
from palirs.learning.walkers import new_walkers
from palirs.mace.models.committee import Committee
from palirs.mace.models.files import load_committee
from palirs.mace.training.committees import train_committee
from palirs.molecules import read_frames
from palirs.settings import Learning, Sampler
from palirs.vibrations.analysis import harmonic
from tests.benchmarks.learning_curves import labelled

TESTS = Sampler(
    temperatures=(300.0,), replicas=4, length=0.5, interval=20.0, relative_force_error=1e9
)
BEADS = 32


class Comparison:
    """The study's settings and labels, and the committees trained with more of them."""

    def __init__(self, study: Path, directory: Path, updates: int, length: float):
        config = OmegaConf.load(study / "config.yaml")
        self.engine = instantiate(config["engine"])
        self.last = complete_iterations(study)[-1]
        self.dataset = read_dataset(self.last)
        optimum = next(a for a in self.dataset if a.info[keys.ORIGIN] == "optimum")
        reference = harmonic(plain(optimum), self.engine)
        self.derivatives = learnt_derivatives([reference])
        training = instantiate(config["training"]["potential"])
        self.setup = LearningSetup(
            directory,
            1,
            config["committee"]["size"],
            Learning(),
            instantiate(config["model"]["potential"]),
            replace(training, updates=updates, learning_rate=0.1 * training.learning_rate),
            instantiate(config["initial"]),
            replace(instantiate(config["sampler"]), length=length),
            instantiate(config["selector"]),
            (reference,),
        )

    def trained(self, name: str, frames: list[Atoms]) -> Committee:
        """Go on with the members of the study, on the frames that do not test."""
        place, s = self.setup.directory / name, self.setup
        learnt, _ = separate_test(frames)
        sizes = (s.members, s.architecture, s.training, s.seed, 1)
        with Serial().open() as executor:
            return train_committee(
                place,
                learnt,
                *sizes,
                executor,
                pretrained=self.last,
                derivatives=self.derivatives,
            )

    def kept(self, file: str, make: Callable[[], list[Atoms]]) -> list[Atoms]:
        """Return labelled frames, from a file if it is there."""
        path = self.setup.directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            ase.io.write(path, labelled(make(), self.engine), format="extxyz")
        return read_frames(path)

    def more(self, committee: Committee, beads: int) -> list[Atoms]:
        """Explore with a committee; return the frames that are learnt."""
        sampler = replace(self.setup.sampler, **nuclei(beads))
        factor = calibrate(committee, separate_test(self.dataset)[1]).factor
        walkers = new_walkers(self.setup.optima, sampler)
        state = LearningState(7, self.dataset, walkers, {"committee.calibration": factor})
        started = process_time()
        found = explore(committee, walkers, sampler, 1, 7)
        stopped = [each.stopped for each in found if each.stopped]
        print(f"explored with {beads} beads in {process_time() - started:.0f} s: ", end="")
        print(f"{len(stopped)} of {len(found)} stopped, {'; '.join(stopped)}", flush=True)
        error = expected_errors(found, 300.0, state)
        frames = choose(found, replace(self.setup, sampler=sampler), state)
        learnt = [atoms for atoms in frames if atoms.info.get(keys.SPLIT) != "test"]
        spreads = ", ".join(f"{atoms.info['force_spread']:.2f}" for atoms in learnt)
        print(f"expected {error} meV/Å; {len(learnt)} frames, spreads {spreads} eV/Å", flush=True)
        for atoms in learnt:
            atoms.info[keys.SPLIT] = "train"
        return learnt

    def tests(self, committee: Committee, beads: int) -> list[Atoms]:
        """Return frames of MD, of beads at random, and say how it went."""
        sampler = replace(TESTS, **nuclei(beads))
        found = explore(committee, new_walkers(self.setup.optima, sampler), sampler, 2, 1)
        largest = max(float(each.spread.max()) for each in found if len(each.spread))
        ends = "; ".join(each.stopped for each in found if each.stopped)
        print(f"MD of {beads} beads: largest spread {largest:.2f} eV/Å; {ends}", flush=True)
        return [
            each.frame(int(i), 1)
            for each in found
            for i in np.flatnonzero(each.representative & (each.times > 100))
        ]


def nuclei(beads: int) -> dict[str, Any]:
    """Return settings of a sampler."""
    return {"nuclei": "ring_polymer", "beads": beads} if beads else {}


def plain(atoms: Atoms) -> Atoms:
    """Return a structure without its labels."""
    info = {keys.MOLECULE: atoms.info[keys.MOLECULE]}
    return Atoms(atoms.numbers, positions=atoms.positions, info=info)


def of_frames(committee: Committee, frames: list[Atoms]) -> np.ndarray:
    """Return the mean absolute error of a force component in each frame, ``[frames]``."""
    _, forces, _ = potential_parity(committee, frames)
    return np.abs(forces.predicted - forces.reference).reshape(len(frames), -1).mean(axis=1)


def pooled(committees: dict[str, Committee], frames: list[Atoms]) -> None:
    """Print errors on all frames of 32-bead MD, and by how much they are below the classical ones.

    The committees' MD share their noise, so the standard error is that over replicas.
    """
    found = {name: of_frames(committee, frames) for name, committee in committees.items()}
    replica = np.array([str(a.info[keys.GROUP]).partition("#")[2][:1] for a in frames])
    print(f"\n| committee, {len(frames)} frames | MAE, 90th, 99th percentile | below classical |")
    print("| --- | --- | --- |")
    for name, error in found.items():
        tails = ", ".join(f"{np.quantile(error, level):.0f}" for level in (0.9, 0.99))
        less = found.get("classical", error) - error
        means = np.array([less[replica == each].mean() for each in np.unique(replica)])
        width = means.std(ddof=1) / np.sqrt(len(means))
        print(f"| {name} | {error.mean():.1f}, {tails} | {means.mean():.1f} ± {width:.1f} |")


def errors(committee: Committee, frames: list[Atoms]) -> str:
    """Return mean absolute error, its standard error, and the 90th percentile over frames."""
    _, forces, _ = potential_parity(committee, frames)
    own, tail = forces.metrics("f", ""), np.quantile(of_frames(committee, frames), 0.9)
    return f"{own['f.mae_']:.1f} ± {own.get('f.mae_se_', np.nan):.1f}, {tail:.0f}"


def main(study: Path, directory: Path, updates: int, length: float, *arms: int) -> None:
    """Print how each exploration went, and the table."""
    torch.set_num_threads(1)
    compared = Comparison(study, directory, updates, length)
    committees = {"before": load_committee(compared.last)}
    for beads in arms:
        name = f"{beads}-beads" if beads else "classical"
        frames = compared.kept(
            f"{name}/more.xyz", partial(compared.more, committees["before"], beads)
        )
        committees[name] = compared.trained(name, [*compared.dataset, *frames])
    tests = {
        f"MD by {name}": compared.kept(f"{name}/test.xyz", partial(compared.tests, each, BEADS))
        for name, each in committees.items()
    }
    pooled(committees, [frame for frames in tests.values() for frame in frames])
    make = partial(compared.tests, committees["before"], 0)
    tests["classical MD"] = compared.kept("test.xyz", make)
    print(f"\n| committee | {' | '.join(tests)} |\n{'| --- ' * (1 + len(tests))}|")
    for name, committee in committees.items():
        cells = [errors(committee, frames) for frames in tests.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    numbers = [float(number) for number in sys.argv[3:]]
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(numbers[0]), numbers[1], *map(int, numbers[2:]))
