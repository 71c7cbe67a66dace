"""The conformers of a molecule from which its trajectories start, and their weights."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from palirs.vibrations import Harmonic

RARE = 0.01
"""Conformers with a smaller population get no trajectory of their own in advance."""


@dataclass(frozen=True)
class ConformerEnsemble:
    """Conformers of a molecule from which its trajectories start, with their populations.

    Attributes
    ----------
    optimum : Harmonic
        Optimum and vibrations by the engine. It is the first conformer, and only trajectories that
        start from it record the rates of its modes.
    conformers : tuple of Atoms
        Geometries.
    populations : tuple of float
        Share of the molecules in each conformer.
    weighted : bool
        Trajectories are weighted by the populations, which is right where none crosses from one
        conformer to another. Otherwise all have the same weight, the populations decide how many
        start from each conformer, and the MD samples the conformers.
    """

    optimum: Harmonic
    conformers: tuple[Atoms, ...]
    populations: tuple[float, ...]
    weighted: bool

    @property
    def atoms(self) -> Atoms:
        """The molecule in its optimum."""
        return self.optimum.atoms

    def conformer_of(self, replicas: int) -> list[int]:
        """Return the conformer each replica starts from; adding replicas does not change the first.

        In proportion to the populations (Sainte-Laguë's method); if weighted, each conformer that
        is not rare first gets one replica.
        """
        populations, assigned = np.array(self.populations), []
        if self.weighted:
            by_population = np.argsort(-populations, kind="stable")
            assigned = [int(number) for number in by_population if populations[number] >= RARE]
        while len(assigned) < replicas:
            counts = np.bincount(assigned, minlength=len(populations))
            assigned.append(int(np.argmax(populations / (2 * counts + 1))))
        return assigned[:replicas]
