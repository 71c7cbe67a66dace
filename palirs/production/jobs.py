"""A trajectory to be run: where it starts, its files, its random stream."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs.production.trajectories import Recording
from palirs.settings import Spectroscopy
from palirs.vibrations import Harmonic


@dataclass(frozen=True)
class Job:
    """A trajectory to be run or continued.

    Attributes
    ----------
    molecule : Atoms
        Start geometry.
    place : Path
        Path of its files, without suffix.
    settings : str
        Fingerprint of what it depends on.
    seed : numpy.random.SeedSequence
        Seed of its random stream.
    vibrations : Harmonic or None
        Normal modes whose rates are recorded.
    conformer : int
        Number of the conformer it starts from.
    """

    molecule: Atoms
    place: Path
    settings: str
    seed: np.random.SeedSequence
    vibrations: Harmonic | None = None
    conformer: int = 0

    @property
    def recording(self) -> Recording:
        """Its files."""
        modes = 0 if self.vibrations is None else len(self.vibrations.frequencies)
        return Recording(self.place, modes)


def steps_of(picoseconds: float, settings: Spectroscopy) -> int:
    """Return the number of steps of a time [ps]."""
    return round(picoseconds * 1e3 / settings.timestep)


def geometry_stride(settings: Spectroscopy) -> int:
    """Return the interval of saved geometries, in recorded frames."""
    return max(1, round(settings.geometry_interval / (settings.stride * settings.timestep)))
