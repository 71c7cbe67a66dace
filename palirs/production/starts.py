"""Where trajectories start: in the optimum, or in several conformers, and what each then counts."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from palirs.vibrations import Harmonic

RARE = 0.01
"""Conformers with less than this share of the molecules get a trajectory only where their turn
comes."""


@dataclass(frozen=True)
class Starts:
    """Conformers of a molecule from which its trajectories start.

    Attributes
    ----------
    known : Harmonic
        Its optimum by the engine; the first conformer is this one, and only trajectories from it
        record the rates of its modes.
    conformers : tuple of Atoms
        Geometries.
    populations : tuple of float
        Their shares of the molecules.
    weighted : bool
        Trajectories count with these shares, as where no trajectory crosses from one conformer to
        another; otherwise alike, with as many from each conformer as its share says, and the MD
        itself goes on to weigh them.
    """

    known: Harmonic
    conformers: tuple[Atoms, ...]
    populations: tuple[float, ...]
    weighted: bool

    @property
    def atoms(self) -> Atoms:
        """The molecule in its optimum."""
        return self.known.atoms

    def conformer_of(self, replicas: int) -> list[int]:
        """Return which conformer each replica starts from; more replicas change none of those before.

        They are shared out in proportion (Sainte-Laguë's method); with weights, each conformer that
        is not rare has one first.
        """
        shares = np.array(self.populations)
        chosen = (
            [int(number) for number in np.argsort(-shares, kind="stable") if shares[number] >= RARE]
            if self.weighted
            else []
        )
        while len(chosen) < replicas:
            there = np.bincount(chosen, minlength=len(shares))
            chosen.append(int(np.argmax(shares / (2 * there + 1))))
        return chosen[:replicas]
