"""What active learning works with: its plan, and where it stands after an iteration."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.learning.exploration import Walker
from palirs.mace.settings import Architecture, Evaluation, Training
from palirs.sampling import InitialSamples
from palirs.selection import Selector
from palirs.settings import Learning, Sampler
from palirs.vibrations import Harmonic

MODES = "harmonic.mae_cm1"
"""The metric that ends active learning; that of each molecule has its name behind it, and a
molecule that has failed has none."""
BRIGHT = "harmonic.intensity_relative"
"""Likewise, where intensities are asked for; a molecule without strong modes has only the next
one."""
INTENSITIES = "harmonic.intensity_mae_km_per_mol"


@dataclass(frozen=True)
class Dipoles:
    """The dipole models that every iteration trains beside its committee: how many, what they are, and how they learn."""

    count: int
    architecture: Architecture
    training: Training


@dataclass(frozen=True)
class Plan:
    """Everything that does not change during active learning.

    ``paid`` is the number of labels that relaxations and Hessians of the references took,
    ``pretrained`` the directory of the models that members start from; ``dipoles`` the dipole
    models of every iteration, if intensities are asked for.
    """

    directory: Path
    seed: int
    members: int
    learning: Learning
    architecture: Architecture
    training: Training
    initial: InitialSamples
    sampler: Sampler
    selector: Selector
    references: tuple[Harmonic, ...]
    temperature: float = 300.0
    paid: int = 0
    pretrained: Path | None = None
    evaluation: Evaluation = field(default_factory=Evaluation)
    dipoles: Dipoles | None = None

    @property
    def molecules(self) -> list[str]:
        """Names of the molecules."""
        return [str(known.atoms.info[keys.MOLECULE]) for known in self.references]

    def unlabelled(self, dataset: Sequence[Atoms]) -> list[Harmonic]:
        """Return the molecules of which there is no label yet: all at the beginning, later those that have come since."""
        there = {atoms.info[keys.MOLECULE] for atoms in dataset}
        return [known for known in self.references if known.atoms.info[keys.MOLECULE] not in there]


@dataclass(frozen=True)
class State:
    """Where active learning stands after an iteration.

    Attributes
    ----------
    iteration : int
        Iterations done; the next one has this number.
    dataset : list of Atoms
        Labelled frames.
    walkers : list of Walker
        Trajectories that go on in the next exploration.
    metrics : dict
        Of the last iteration.
    enough : bool
        Whether an exploration with its committee has shown forces as good as they are asked for;
        nothing of it was labelled.
    lacking : bool
        Whether molecules, temperatures or replicas have come to the study that nothing was sampled
        of yet.
    since : int
        Iterations done before the last of the molecules came; the limit counts from there.
    """

    iteration: int
    dataset: list[Atoms]
    walkers: list[Walker]
    metrics: dict[str, float] = field(default_factory=dict)
    enough: bool = False
    lacking: bool = False
    since: int = 0

    def near(self, learning: Learning) -> bool:
        """Tell whether all molecules have their harmonic frequencies, and these are near those of the engine: each, or on average.

        So are their intensities, if they are asked for.
        """
        if self.metrics.get("harmonic.failed", 1.0):
            return False
        if learning.converge == "together":
            return self.metrics[MODES] < learning.harmonic_mae and self._bright("", learning)
        return all(
            self.has_modes(name.removeprefix(f"{MODES}."), learning)
            for name in self.metrics
            if name.startswith(f"{MODES}.")
        )

    def has_modes(self, molecule: str, learning: Learning) -> bool:
        """Tell whether harmonic frequencies, and intensities if they are asked for, of a molecule are near those of the engine."""
        return self.metrics.get(
            f"{MODES}.{molecule}", np.inf
        ) < learning.harmonic_mae and self._bright(f".{molecule}", learning)

    def _bright(self, ending: str, learning: Learning) -> bool:
        if learning.intensities is None:
            return True
        unknown = (
            0.0 if f"{INTENSITIES}{ending}" in self.metrics else np.inf
        )  # compared, but no mode is strong; or never compared
        return self.metrics.get(f"{BRIGHT}{ending}", unknown) < learning.intensities

    def good(self, learning: Learning) -> bool:
        """Tell whether the frequencies are good, and the forces, if they are asked for, where trajectories of the study go."""
        return (
            self.near(learning)
            and not self.lacking
            and (learning.forces_mae is None or self.enough)
        )

    def finished(self, learning: Learning) -> bool:
        """Tell whether the criterion is met or the limit is reached."""
        return self.good(learning) or self.iteration >= self.since + learning.iterations
