"""MACE's own operations on static graphs, on any device: called as they are, or recorded once and replayed."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from palirs.mace.forces.members import Members
from palirs.mace.forces.recording import record
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)

BATCH_ATOMS = 4000
"""Atoms that eager and recorded evaluation take at once; a batch that is larger, or does not fit
the memory, is cut."""


class Static:
    """MACE's own operations on the static graph, eager or recorded, on any device, in chunks that fit the memory."""

    compiled = None

    def __init__(
        self, committee: Members, numbers: Sequence[np.ndarray], recorded: bool, device: str = "cpu"
    ):
        self._committee = committee.to(device)
        self._recorded, self._device = recorded, device
        self._numbers = list(numbers)
        counts = [len(z) for z in numbers]
        self._isolated = committee.isolated(committee.species(numbers), counts)
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._parts = chunks(counts, BATCH_ATOMS)
        self._ready: dict[range, Callable[..., tuple[Tensor, Tensor]]] = {}

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate every member; a chunk that does not fit the memory is halved, for good."""
        found, number = [], 0
        while number < len(self._parts):
            part = self._parts[number]
            try:
                found.append(
                    self._run(part, positions[self._starts[part.start] : self._starts[part.stop]])
                )
                number += 1
            except RuntimeError as error:
                if not isinstance(error, torch.OutOfMemoryError) and "out of memory" not in str(
                    error
                ):  # a replay gives it no type
                    raise
                self._ready.pop(part, None)
                if len(part) == 1:
                    atoms = len(self._numbers[part[0]])
                    raise PalirsError(
                        f"evaluation.device = {self._device}: not enough memory for one molecule of {atoms} atoms"
                    ) from error
                middle = (part.start + part.stop) // 2
                log.warning(
                    "%s is out of memory with %d molecules at once; going on with half as many",
                    self._device,
                    len(part),
                )
                self._parts[number : number + 1] = [
                    range(part.start, middle),
                    range(middle, part.stop),
                ]
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
        energy, forces = (torch.cat(pieces, dim=1) for pieces in zip(*found, strict=True))
        return energy + self._isolated, forces

    def only(self, molecules: Sequence[int]) -> "_Some":
        """Return the evaluator of some of the molecules: the others rest, since a new recording takes longer than they do."""
        return _Some(self, list(molecules), self._starts)

    def _run(self, part: range, positions: Tensor) -> tuple[Tensor, Tensor]:
        x = positions.to(self._device, self._committee.dtype)
        if part not in self._ready:
            batch = self._committee.graph([self._numbers[i] for i in part], self._device)
            evaluate = lambda x: self._committee.interaction(batch, x)  # noqa: E731
            self._ready[part] = record(evaluate, [x]) if self._recorded else evaluate  # pyright: ignore[reportArgumentType]
        energy, forces = self._ready[part](x)
        return energy.double().cpu(), forces.double().cpu()


class _Some:
    """Some molecules of a batch of fixed shape; the others stay at harmless positions, and are left out of the result."""

    compiled = None

    def __init__(self, whole: Static, molecules: list[int], starts: np.ndarray):
        self._whole, self._molecules, self._starts = whole, molecules, starts
        self._atoms = torch.tensor(
            np.concatenate([np.arange(starts[i], starts[i + 1]) for i in molecules])
        )
        self._positions: Tensor | None = None

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate every member."""
        if self._positions is None:
            self._positions = _spread_out(int(self._starts[-1]))
        self._positions[self._atoms] = positions
        energy, forces = self._whole(self._positions)
        return energy[:, self._molecules], forces[:, self._atoms]

    def only(self, molecules: Sequence[int]) -> "_Some":
        """Return the evaluator of some of these."""
        return _Some(self._whole, [self._molecules[i] for i in molecules], self._starts)


def _spread_out(atoms: int) -> Tensor:
    """Harmless positions: a row of atoms 1.5 Å apart."""
    return torch.arange(atoms, dtype=torch.float64)[:, None] * torch.tensor(
        [[1.5, 0.0, 0.0]], dtype=torch.float64
    )


def chunks(counts: Sequence[int], most: int) -> list[range]:
    """Cut a list of molecules into runs of at most ``most`` atoms (at least one molecule each)."""
    parts, start, atoms = [], 0, 0
    for number, count in enumerate(counts):
        if atoms and atoms + count > most:
            parts.append(range(start, number))
            start, atoms = number, 0
        atoms += count
    return [*parts, range(start, len(counts))] if len(counts) else []
