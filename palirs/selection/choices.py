"""Acquisition functions: recipes that score candidates; the highest score is labelled first."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from palirs.recipes import recipe


@recipe
class Choice(ABC):
    """How candidates are put in order."""

    needs_spread: ClassVar[bool]
    needs_distance: ClassVar[bool] = False

    @abstractmethod
    def score(
        self, spread: np.ndarray, distance: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the score of each candidate; called again after each that was taken.

        Parameters
        ----------
        spread : numpy.ndarray
            Shape ``[F]``, uncertainty [eV/Å].
        distance : numpy.ndarray
            Shape ``[F]``, to the nearest frame that is labelled, or was just chosen [1/Å]; ``inf``
            where there is none.
        rng : numpy.random.Generator
            For those that choose at random.
        """


@recipe
class MostUncertain(Choice):
    """The frames with the largest spread, as published.

    Query by committee, Seung et al. 1992, doi:10.1145/130385.130417.
    """

    needs_spread: ClassVar[bool] = True

    def score(
        self, spread: np.ndarray, distance: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the spread."""
        return spread


@recipe
class Distant(Choice):
    """Frames that are uncertain and unlike what is labelled and what was chosen before them.

    Spread times distance to the nearest: greedy farthest-point sampling (MaxDist of Zaverkin et al.
    2022, doi:10.1039/d2dd00034b) weighed by uncertainty, so that one batch does not ask the same
    question twice.
    """

    needs_spread: ClassVar[bool] = True
    needs_distance: ClassVar[bool] = True

    def score(
        self, spread: np.ndarray, distance: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return spread times distance."""
        return spread * np.minimum(distance, 1e9)


@recipe
class RandomFrames(Choice):
    """Frames at random, the baseline that active learning has to beat."""

    needs_spread: ClassVar[bool] = False

    def score(
        self, spread: np.ndarray, distance: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return random numbers."""
        return rng.random(len(spread))
