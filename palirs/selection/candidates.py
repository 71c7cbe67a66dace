"""The frames that could be labelled, and where they stand among those that are."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Candidates:
    """Frames of one molecule, as arrays.

    Attributes
    ----------
    trajectory : numpy.ndarray
        Shape ``[F]``, number of the trajectory each belongs to.
    times : numpy.ndarray
        Shape ``[F]`` [fs] along it.
    largest, mean : numpy.ndarray
        Shape ``[F]`` [eV/Å], spread of the committee's forces: of the atom where it is largest, and
        the mean over the atoms.
    features : numpy.ndarray
        Shape ``[F, D]`` [1/Å], from :func:`features`.
    """

    trajectory: np.ndarray
    times: np.ndarray
    largest: np.ndarray
    mean: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.times)

    def at(self, which: np.ndarray | Sequence[int]) -> "Candidates":
        """Return some of them, in the order asked for."""
        return Candidates(*(getattr(self, field.name)[which] for field in fields(self)))

    def beside(self, index: int, separation: float) -> np.ndarray:
        """Tell which are within ``separation`` [fs] of one of them on its trajectory."""
        near = np.abs(self.times - self.times[index]) < separation
        near[index] = True
        return near & (self.trajectory == self.trajectory[index])


def features(distances: np.ndarray) -> np.ndarray:
    """Return the features of structures: inverse sorted distances, ``[..., D]`` [1/Å].

    Inverse distances weigh what is near, where forces change fast (Chmiela et al. 2017,
    doi:10.1126/sciadv.1603015); sorted within each pair of elements
    (:func:`palirs.geometry.distinct.distances`) they do not change when equal atoms are exchanged.
    """
    return 1.0 / distances


def nearest(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the distances of rows ``[F, D]`` to the nearest of ``[G, D]``; ``inf`` if G = 0."""
    distances = np.full(len(rows), np.inf)
    for other in others:  # one after the other: F × G × D numbers at once may not fit into memory
        np.minimum(distances, np.linalg.norm(rows - other, axis=1), out=distances)
    return distances
