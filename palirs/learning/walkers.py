"""Trajectories that continue from iteration to iteration, and what is recorded of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.geometry.electrons import Electrons
from palirs.settings import Sampler


@dataclass(frozen=True)
class Walker:
    """A trajectory that continues from iteration to iteration.

    Attributes
    ----------
    molecule : Atoms
        Elements and current positions, of a ring polymer those of its centroids;
        ``info['molecule']``.
    optimum : Atoms
        Where it restarts after it was stopped.
    temperature : float
        [K].
    replica : int
        Number among the trajectories of this molecule and temperature.
    velocities : numpy.ndarray or None
        Shape ``[atoms, 3]`` [Å/fs], or ``[beads, atoms, 3]`` of the modes of a ring polymer;
        ``None`` before the first step and after a stop: new ones are drawn.
    modes : numpy.ndarray or None
        Shape ``[beads, atoms, 3]`` [Å], see :mod:`palirs.dynamics.rings`; ``None`` of a classical
        one, and where all beads are in one place.
    """

    molecule: Atoms
    optimum: Atoms
    temperature: float
    replica: int
    velocities: np.ndarray | None = None
    modes: np.ndarray | None = None

    @property
    def molecule_name(self) -> str:
        """Name of the molecule."""
        return str(self.molecule.info[keys.MOLECULE])

    @property
    def name(self) -> str:
        """Molecule, temperature and replica."""
        return f"{self.molecule_name} {self.temperature:g} K #{self.replica}"


@dataclass(frozen=True)
class Trajectory:
    """What was recorded of one walker in one iteration.

    Each frame is one structure with its own spread. Of a ring polymer there are two of each moment,
    both single beads, as labels are of structures: one drawn at random, for whatever has to stand
    for the MD (errors, frames that test, selectors that draw), and the one whose forces the members
    disagree on most, which is better to learn from and says nothing of the average. They are the
    same where chance has it.

    Attributes
    ----------
    walker : Walker
        At the end.
    times : numpy.ndarray
        Shape ``[F]`` [fs] since the start of the iteration.
    positions : numpy.ndarray
        Shape ``[F, atoms, 3]`` [Å].
    spread : numpy.ndarray
        Shape ``[F]`` [eV/Å]: largest force spread of any atom.
    mean_spread : numpy.ndarray
        Shape ``[F]`` [eV/Å]: mean over the atoms.
    stopped : str
        Why it ended early; empty if it did not.
    drawn : numpy.ndarray or None
        Shape ``[F]``, whether a frame is a bead at random; ``None``: they all stand for the MD.
    beads : int or None
        Of the ring polymer; ``None`` of a classical trajectory.
    """

    walker: Walker
    times: np.ndarray
    positions: np.ndarray
    spread: np.ndarray
    mean_spread: np.ndarray
    stopped: str = ""
    drawn: np.ndarray | None = None
    beads: int | None = None

    @property
    def representative(self) -> np.ndarray:
        """Which frames stand for the MD, ``[F]``."""
        return np.ones(len(self.times), dtype=bool) if self.drawn is None else self.drawn

    def frame(self, index: int, iteration: int) -> Atoms:
        """Return one recorded frame with its origin in ``info``."""
        info = {
            keys.MOLECULE: self.walker.molecule_name,
            **Electrons.of(self.walker.molecule).info,
            keys.ORIGIN: "exploration",
            keys.ITERATION: iteration,
            keys.TEMPERATURE: self.walker.temperature,
            keys.GROUP: f"{self.walker.name}, iteration {iteration}",
        }
        if self.beads is not None:
            info[keys.BEADS] = self.beads
        return Atoms(self.walker.molecule.numbers, positions=self.positions[index], info=info)


def new_walkers(optima: Sequence[Atoms], sampler: Sampler) -> list[Walker]:
    """Return walkers at the optima: molecules × temperatures × replicas."""
    return [
        Walker(optimum, optimum, temperature, replica)
        for optimum in optima
        for temperature in sampler.temperatures
        for replica in range(sampler.replicas)
    ]
