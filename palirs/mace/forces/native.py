"""Compiled code for the CPU (:mod:`palirs.mace.compiled`), compared with MACE before use."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from palirs.mace.compiled import Compiled, CompilerError, Kernel, UnsupportedError
from palirs.mace.forces.members import Members

log = logging.getLogger(__name__)


def checked_kernel(committee: Members, radial: str = "table") -> Kernel | None:
    """Compile the members; ``None`` if that fails or they differ from MACE on a small cluster."""
    try:
        kernel = Kernel(committee.members, radial)
    except (CompilerError, UnsupportedError) as problem:
        log.warning("MD takes the slower path, MACE's own code replayed: %s", problem)
        return None
    rng = np.random.default_rng(0)
    numbers = np.array([z for z in committee.elements for _ in range(2)])
    corners = np.array([[i % 2, i // 2 % 2, i // 4] for i in range(len(numbers))])
    positions = 1.2 * corners + rng.uniform(-0.1, 0.1, (len(numbers), 3))
    kinds = committee.species([numbers])
    energy, forces = committee.interaction(
        committee.graph([numbers]), torch.tensor(positions, dtype=committee.dtype)
    )
    expected = energy.double() + committee.isolated(kinds, [len(numbers)]), forces
    compiled = Native(committee, kernel, [numbers])(torch.tensor(positions))
    tolerance = 1e-3 if committee.dtype == torch.float32 else 1e-7
    for ours, theirs in zip(compiled, expected, strict=True):
        difference = (ours - theirs.double()).abs()
        if not bool((difference <= tolerance * (1 + theirs.double().abs().max())).all()):
            log.warning(
                "MD takes the slower path: compiled code and MACE differ by %.1e on this machine",
                float(difference.max()),
            )
            return None
    return kernel


class Native:
    """Compiled code on the CPU; the results of a molecule do not depend on its batch."""

    resident = None

    def __init__(self, committee: Members, kernel: Kernel, numbers: Sequence[np.ndarray]):
        self._committee, self._kernel, self._numbers = committee, kernel, list(numbers)
        kinds = committee.species(numbers)
        counts = [len(z) for z in numbers]
        self._batch = kernel.batch(kinds, counts)
        self._isolated = committee.isolated(kinds, counts)
        self.compiled = Compiled(
            kernel, self._batch.species, self._batch.counts, self._isolated.numpy()
        )

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate every member."""
        energy, forces = self._batch.forces(positions.numpy())
        return torch.from_numpy(energy) + self._isolated, torch.from_numpy(forces)

    def only(self, molecules: Sequence[int]) -> "Native":
        """Return the evaluator of some of the molecules."""
        return Native(self._committee, self._kernel, [self._numbers[i] for i in molecules])
