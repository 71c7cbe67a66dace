"""Which frames of an exploration are labelled. Pure functions and small recipes on arrays."""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from palirs.recipes import recipe


@recipe
class Selector(ABC):
    """How frames of a trajectory are chosen.

    Parameters
    ----------
    frames : int
        Frames taken from each trajectory.
    separation : float
        Least time between two frames of one trajectory [fs].
    """

    needs_spread: ClassVar[bool]
    frames: Annotated[int, Field(ge=1, le=10**6)] = 5
    separation: Annotated[float, Field(ge=0, le=1e6, description="fs")] = 50.0

    def choose(self, spread: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return indices of the chosen frames.

        Parameters
        ----------
        spread : numpy.ndarray
            Shape ``[F]``, uncertainty of each frame [eV/Å].
        times : numpy.ndarray
            Shape ``[F]`` [fs].
        rng : numpy.random.Generator
            For those that choose at random.
        """
        return apart(self.order(spread, rng), times, self.frames, self.separation)

    @abstractmethod
    def order(self, spread: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the indices of all frames, those that are wanted most first."""


@recipe
class MostUncertain(Selector):
    """The frames with the largest force spread, not neighbours in time of one another."""

    needs_spread: ClassVar[bool] = True

    def order(self, spread: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the frames by falling spread."""
        return np.argsort(-spread, kind="stable")


@recipe
class RandomFrames(Selector):
    """Frames at random, the baseline that active learning has to beat."""

    needs_spread: ClassVar[bool] = False

    def order(self, spread: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the frames in any order."""
        return rng.permutation(len(spread))


def apart(order: np.ndarray, times: np.ndarray, count: int, separation: float) -> np.ndarray:
    """Take the first ``count`` entries of ``order`` whose times [fs] lie at least ``separation`` from those already taken."""
    taken: list[int] = []
    for index in order:
        if len(taken) == count:
            break
        if all(abs(times[index] - times[other]) >= separation for other in taken):
            taken.append(int(index))
    return np.array(taken, dtype=int)
