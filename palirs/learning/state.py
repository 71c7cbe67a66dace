"""What active learning works with: its setup, and its state after an iteration."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.learning.quality.convergence import HarmonicErrors
from palirs.learning.walkers import Walker
from palirs.mace.settings import Architecture, Evaluation, Training
from palirs.sampling import InitialSamples
from palirs.selection import Selector
from palirs.settings import Learning, Sampler
from palirs.vibrations import Harmonic


@dataclass(frozen=True)
class DipoleSetup:
    """The dipole models that every iteration trains: their number, architecture and training."""

    count: int
    architecture: Architecture
    training: Training


@dataclass(frozen=True)
class LearningSetup:
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
    dipoles: DipoleSetup | None = None

    @property
    def optima(self) -> list[Atoms]:
        """Geometry of each molecule, relaxed by the engine."""
        return [reference.atoms for reference in self.references]

    @property
    def molecules(self) -> list[str]:
        """Names of the molecules."""
        return [str(atoms.info[keys.MOLECULE]) for atoms in self.optima]

    def unlabelled(self, dataset: Sequence[Atoms]) -> list[Harmonic]:
        """Return the molecules without labels: all at the beginning, later the new ones."""
        labelled = {atoms.info[keys.MOLECULE] for atoms in dataset}
        return [ref for ref in self.references if ref.atoms.info[keys.MOLECULE] not in labelled]


def labels_used(paid: int, frames: Sequence[Atoms]) -> int:
    """Return all labels: those of the references (optima among them), and of the other frames."""
    return paid + sum(atoms.info.get(keys.ORIGIN) != "optimum" for atoms in frames)


def within_budget(frames: Sequence[Atoms], count: int) -> list[Atoms]:
    """Return the first frames of each molecule, as evenly as so few can be shared out."""
    rank: Counter[str] = Counter()
    order = []
    for number, atoms in enumerate(frames):
        name = str(atoms.info[keys.MOLECULE])
        order.append((rank[name], number))
        rank[name] += 1
    return [frames[number] for number in sorted(number for _, number in sorted(order)[:count])]


@dataclass(frozen=True)
class LearningState:
    """The state of active learning after an iteration.

    Attributes
    ----------
    iteration : int
        Iterations done; the next one has this number.
    dataset : list of Atoms
        Labelled frames.
    walkers : list of Walker
        Trajectories that continue in the next exploration.
    metrics : dict
        Of the last iteration.
    harmonic : HarmonicErrors
        Of its committee.
    forces_converged : bool
        Whether an exploration with its committee has shown errors of the forces below the goal;
        nothing of it was labelled.
    unsampled : bool
        Whether molecules, temperatures, replicas or beads were added to the study that nothing was
        sampled of yet.
    counted_from : int
        Iterations done before the last molecule was added, and those that only confirmed: the
        limit does not count them.
    history : tuple of dict
        Metrics of every iteration since then.
    stalled : bool
        Whether more labels do not help any more.
    """

    iteration: int
    dataset: list[Atoms]
    walkers: list[Walker]
    metrics: dict[str, float] = field(default_factory=dict)
    harmonic: HarmonicErrors = field(default_factory=HarmonicErrors)
    forces_converged: bool = False
    unsampled: bool = False
    counted_from: int = 0
    history: tuple[dict[str, float], ...] = ()
    stalled: bool = False

    def labels_left(self, goals: Learning, paid: int) -> float:
        """Return how many labels may still be paid for; ``paid``: those of the references."""
        if goals.budget is None:
            return np.inf
        return goals.budget - labels_used(paid, self.dataset)

    def converged(self, goals: Learning) -> bool:
        """Tell whether harmonic vibrations, and forces along MD, meet their goals."""
        return (
            self.harmonic.converged(goals)
            and not self.unsampled
            and (goals.forces_mae is None or self.forces_converged)
        )

    def finished(self, goals: Learning, paid: int = 0) -> bool:
        """Tell whether learning has converged, does not help any more, or is at its limits.

        ``paid`` are the labels of the references.
        """
        return (
            self.converged(goals)
            or self.stalled
            or self.iteration >= self.counted_from + goals.iterations
            or (self.iteration > 0 and self.labels_left(goals, paid) <= 0)
        )
