"""Noise of each trajectory from a stream of its own, so independent of the rest of the batch."""

import json
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

BLOCK = 64
"""Steps drawn at a time; the values do not depend on it."""


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
        self._set([np.random.Generator(np.random.Philox(seed)) for seed in seeds], counts)

    def _set(self, generators: list[np.random.Generator], counts: Sequence[int]) -> None:
        self._generators, self._counts = generators, tuple(counts)
        self._block, self._next = torch.empty(0), 0
        self._before = [generator.bit_generator.state for generator in generators]

    def draw(self) -> Tensor:
        """Return the numbers of the next step, shape ``[N, 3]``, float64."""
        return self.ahead(1)[0]

    def ahead(self, steps: int) -> Tensor:
        """Return the numbers of the next steps in the current block, ``[at most steps, N, 3]``."""
        if self._next == len(self._block):
            self._fill(0)
        start, self._next = self._next, min(self._next + steps, len(self._block))
        return self._block[start : self._next]

    def _fill(self, start: int) -> None:
        self._before = [generator.bit_generator.state for generator in self._generators]
        parts = [
            g.standard_normal((BLOCK, count, 3))
            for g, count in zip(self._generators, self._counts, strict=True)
        ]
        self._block, self._next = torch.tensor(np.concatenate(parts, axis=1)), start

    def position(self, trajectory: int) -> str:
        """Return the position of a stream, as text for :meth:`resumed`."""
        state = {"before": self._before[trajectory], "drawn": self._next, "block": len(self._block)}
        return json.dumps(state, default=lambda array: array.tolist())

    @classmethod
    def resumed(cls, positions: Sequence[str], counts: Sequence[int]) -> "Noise":
        """Continue streams from their positions; all must have drawn equally many steps."""
        states = [json.loads(text) for text in positions]
        if len({(state["drawn"], state["block"]) for state in states}) != 1:
            raise ValueError("streams of different length cannot share a batch")
        generators = []
        for state in states:
            philox = np.random.Philox()
            inner = state["before"]["state"]
            inner = {name: np.array(values, dtype=np.uint64) for name, values in inner.items()}
            philox.state = {
                **state["before"],
                "state": inner,
                "buffer": np.array(state["before"]["buffer"], dtype=np.uint64),
            }
            generators.append(np.random.Generator(philox))
        noise = cls.__new__(cls)
        noise._set(generators, counts)
        if states[0]["block"]:
            noise._fill(states[0]["drawn"])
        return noise

    def only(self, trajectories: Sequence[int]) -> "Noise":
        """Return the streams of some of the trajectories, at their positions."""
        return Noise.resumed(
            [self.position(i) for i in trajectories], [self._counts[i] for i in trajectories]
        )
