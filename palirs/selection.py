"""Which frames of an exploration are labelled. Pure functions and small recipes on arrays."""

from typing import Annotated

import numpy as np
from pydantic import Field

from palirs.recipes import Count, recipe


@recipe
class MostUncertain:
    """The frames with the largest force spread, not neighbours in time of one another.

    Parameters
    ----------
    frames : int
        Frames taken from each trajectory.
    separation : float
        Least time between two frames of one trajectory [fs].
    """

    frames: Count = 5
    separation: Annotated[float, Field(ge=0, description="fs")] = 50.0

    def choose(self, spread: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return indices of the chosen frames.

        Parameters
        ----------
        spread : numpy.ndarray
            Shape ``[F]``, uncertainty of each frame [eV/Å].
        times : numpy.ndarray
            Shape ``[F]`` [fs].
        rng : numpy.random.Generator
            Not used: the choice is deterministic.
        """
        return apart(np.argsort(-spread, kind="stable"), times, self.frames, self.separation)


@recipe
class RandomFrames:
    """Frames at random, the baseline that active learning has to beat.

    Parameters
    ----------
    frames : int
        Frames taken from each trajectory.
    separation : float
        Least time between two frames of one trajectory [fs].
    """

    frames: Count = 5
    separation: Annotated[float, Field(ge=0, description="fs")] = 50.0

    def choose(self, spread: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return indices of the chosen frames; ``spread`` is not looked at."""
        return apart(rng.permutation(len(times)), times, self.frames, self.separation)


def apart(order: np.ndarray, times: np.ndarray, count: int, separation: float) -> np.ndarray:
    """Take the first ``count`` entries of ``order`` whose times [fs] lie at least ``separation`` from those already taken."""
    taken: list[int] = []
    for index in order:
        if len(taken) == count:
            break
        if all(abs(times[index] - times[other]) >= separation for other in taken):
            taken.append(int(index))
    return np.array(taken, dtype=int)
