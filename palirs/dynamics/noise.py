"""Random streams: each trajectory has its own, so its noise is the same whatever else is in the batch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

BLOCK = 64
"""Steps drawn at a time; a stream's values do not depend on it."""


class Noise:
    """Standard normal numbers for the atoms of a batch, step by step.

    Parameters
    ----------
    seeds : sequence of numpy.random.SeedSequence
        One per trajectory.
    counts : sequence of int
        Atoms of each trajectory.
    """

    def __init__(self, seeds: Sequence[np.random.SeedSequence], counts: Sequence[int]):
        self._generators = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]
        self._counts = tuple(counts)
        self._block = torch.empty(0)
        self._next = 0

    def draw(self) -> Tensor:
        """Return the numbers of the next step, shape ``[N, 3]``, float64."""
        if self._next == len(self._block):
            parts = [g.standard_normal((BLOCK, count, 3)) for g, count in zip(self._generators, self._counts, strict=True)]
            self._block, self._next = torch.tensor(np.concatenate(parts, axis=1)), 0
        self._next += 1
        return self._block[self._next - 1]
