"""Selection of the frames of an exploration that are labelled."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from palirs.recipes import Count, recipe
from palirs.selection.candidates import Candidates, nearest
from palirs.selection.choices import Choice, MostUncertain


@recipe
class Selector:
    """How frames of an exploration are chosen.

    Parameters
    ----------
    choice : Choice
        Acquisition function.
    uncertainty : {"largest", "mean"}
        Spread of the committee's forces: of the atom where it is largest, as published, or the mean
        over the atoms.
    least_error : float or None
        Frames whose forces are expected to be better than this [meV/Å, mean absolute error] are no
        candidates: calibration times mean spread. ``None``: all are.
    per : {"trajectory", "molecule"}
        What ``frames`` are counted of; trajectories of one molecule compete where it is the
        molecule.
    frames : int
        Frames taken at most, in one iteration.
    separation : float
        Least time between two frames of one trajectory [fs].
    """

    choice: Choice = Field(default_factory=MostUncertain)
    uncertainty: Literal["largest", "mean"] = "largest"
    least_error: Annotated[float, Field(gt=0, le=1e5, description="meV/Å")] | None = None
    per: Literal["trajectory", "molecule"] = "trajectory"
    frames: Count = 5
    separation: Annotated[float, Field(ge=0, le=1e6, description="fs")] = 50.0

    @property
    def needs_spread(self) -> bool:
        """Whether a committee of one will not do."""
        return self.choice.needs_spread or self.least_error is not None

    def count(self, molecules: int, trajectories: int) -> int:
        """Return how many frames are chosen at most."""
        return self.frames * (molecules if self.per == "molecule" else trajectories)

    def choose(
        self, candidates: Candidates, labelled: np.ndarray, factor: float, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the indices of the chosen frames, the first choice first.

        Which they are does not depend on the order the candidates come in.

        Parameters
        ----------
        candidates : Candidates
            Frames of one molecule.
        labelled : numpy.ndarray
            Shape ``[G, D]``, features of the labelled frames of the molecule.
        factor : float
            Error of the forces over mean spread, from calibration; NaN leaves all candidates in.
        rng : numpy.random.Generator
            For those that choose at random.
        """
        order = np.lexsort((candidates.times, candidates.trajectory))
        ordered = candidates.at(order)
        distance = np.full(len(ordered), np.inf)
        if self.choice.needs_distance:
            distance = nearest(ordered.features, labelled)
        good = 1e3 * factor * ordered.mean < (self.least_error or 0.0)
        if self.per == "molecule":
            return order[self._greedy(ordered, ~good, distance, rng)]
        taken = [
            self._greedy(ordered, ~good & (ordered.trajectory == number), distance, rng)
            for number in np.unique(ordered.trajectory)
        ]
        return order[np.concatenate([np.array([], dtype=int), *taken])]

    def _greedy(
        self,
        candidates: Candidates,
        free: np.ndarray,
        distance: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Take the highest scores among the free candidates one by one; ``distance`` is updated."""
        spread, taken = getattr(candidates, self.uncertainty), []
        while free.any() and len(taken) < self.frames:
            scores = np.where(free, self.choice.score(spread, distance, rng), -np.inf)
            best = int(scores.argmax())
            taken.append(best)
            free = free & ~candidates.beside(best, self.separation)
            from_best = np.linalg.norm(candidates.features - candidates.features[best], axis=1)
            np.minimum(distance, from_best, out=distance)
        return np.array(taken, dtype=int)
