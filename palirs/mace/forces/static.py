"""MACE's own operations on static graphs, on any device.

On a CPU they are called as they are, or recorded once and replayed (:mod:`.recording`); on a GPU
they are recorded and compiled (:mod:`.fused`).
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palirs.mace.forces.devices import is_out_of_memory
from palirs.mace.forces.fused import together
from palirs.mace.forces.members import Members
from palirs.mace.forces.recording import record
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)

BATCH_ATOMS = 4000
"""Atoms that are evaluated at once; a batch that is larger, or does not fit the memory, is cut."""


class Static:
    """Energies and forces by MACE's own operations, of positions on the host."""

    compiled = None

    def __init__(self, forces: "StaticForces | SomeForces"):
        self.resident = forces if forces.device != "cpu" and forces.recorded else None
        self._forces = forces

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate every member."""
        energy, forces = self._forces(positions.to(self._forces.device))
        return energy.cpu(), forces.cpu()

    def only(self, molecules: Sequence[int]) -> "Static":
        """Return the evaluator of some of the molecules."""
        return Static(self._forces.only(molecules))


@dataclass(frozen=True)
class Part:
    """Molecules that are evaluated at once, their atoms, and what evaluates them."""

    molecules: list[int]
    atoms: Tensor
    evaluate: Callable[[Tensor], tuple[Tensor, Tensor]]


class StaticForces:
    """Energies ``[members, B]`` and forces ``[members, N, 3]`` of positions ``[N, 3]`` on a device.

    All float64. A batch is cut into parts that fit the memory; parts with the same molecules in the
    same order share their recording.

    Parameters
    ----------
    committee : Members
        The members.
    numbers : sequence of arrays
        Atomic numbers of each molecule.
    recorded : bool
        Record once and replay, instead of calling MACE each time.
    device : str
        A device of torch.
    """

    def __init__(
        self,
        committee: Members,
        numbers: Sequence[np.ndarray],
        recorded: bool,
        device: str = "cpu",
    ):
        self.device, self.members = device, len(committee.members)
        self.counts = tuple(len(molecule) for molecule in numbers)
        self._committee, self.recorded = committee.to(device), recorded
        self._numbers = [tuple(map(int, molecule)) for molecule in numbers]
        self._starts = np.concatenate([[0], np.cumsum(self.counts)])
        isolated = committee.isolated(committee.species(numbers), self.counts)
        self._isolated = isolated.to(device)
        self._most = BATCH_ATOMS
        self._parts: list[Part] | None = None

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate every member; a batch that does not fit the memory is cut, for good."""
        while True:
            try:
                return self._evaluate(positions)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self.cut(error)

    def cut(self, error: Exception) -> None:
        """Halve the parts, which do not fit the memory.

        Raises
        ------
        PalirsError
            If they have one molecule each.
        """
        parts = self._parts or []
        largest = max((len(part.molecules) for part in parts), default=1)
        if largest == 1:
            raise PalirsError(
                f"evaluation.device = {self.device}: not enough memory for one molecule "
                f"of {max(self.counts)} atoms"
            ) from error
        self._most = max(len(part.atoms) for part in parts) // 2
        self._parts = None
        if self.device != "cpu":
            torch.cuda.empty_cache()
        log.warning(
            "%s is out of memory with %d molecules at once; going on with half as many",
            self.device,
            largest,
        )

    def only(self, molecules: Sequence[int]) -> "SomeForces":
        """Return the forces of some of the molecules.

        The others rest: another recording would take longer than they do.
        """
        return SomeForces(self, list(molecules))

    def spread_out(self) -> Tensor:
        """Return harmless positions: a row of atoms 1.5 Å apart."""
        row = torch.arange(int(self._starts[-1]), dtype=torch.float64, device=self.device)
        return row[:, None] * torch.tensor(
            [[1.5, 0.0, 0.0]], dtype=torch.float64, device=self.device
        )

    def atoms(self, molecules: Sequence[int]) -> Tensor:
        """Return the indices of the atoms of some molecules."""
        ranges = [np.arange(self._starts[i], self._starts[i + 1]) for i in molecules]
        return torch.tensor(np.concatenate(ranges), device=self.device)

    def _evaluate(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        if self._parts is None:
            self._parts = self._cut()
        x = positions.to(self._committee.dtype)
        whole = len(self._parts) == 1
        results = [part.evaluate(x if whole else x[part.atoms]) for part in self._parts]
        energy, forces = (
            torch.cat([piece.double() for piece in pieces], dim=1)
            for pieces in zip(*results, strict=True)
        )
        if not whole:
            energy, forces = energy[:, self._molecules_back], forces[:, self._atoms_back]
        return energy + self._isolated, forces

    def _cut(self) -> list[Part]:
        ready: dict[tuple[tuple[int, ...], ...], Callable[[Tensor], tuple[Tensor, Tensor]]] = {}
        parts = []
        for chosen in alike(self._numbers, self._most):
            molecules = tuple(self._numbers[i] for i in chosen)
            if molecules not in ready:
                ready[molecules] = self._prepared(molecules)
            parts.append(Part(chosen, self.atoms(chosen), ready[molecules]))
        order = np.argsort([molecule for part in parts for molecule in part.molecules])
        self._molecules_back = torch.tensor(order, device=self.device)
        self._atoms_back = torch.argsort(torch.cat([part.atoms for part in parts]))
        return parts

    def _prepared(
        self, molecules: Sequence[Sequence[int]]
    ) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        batch = self._committee.graph([np.array(z) for z in molecules], self.device)
        if not self.recorded:
            return lambda x: self._committee.interaction(batch, x)
        example = self.spread_out()[: len(batch.species)].to(self._committee.dtype)
        if self.device == "cpu":
            recording: Any = record(lambda x: self._committee.interaction(batch, x), [example])
            return recording
        try:
            return together(self._committee.members, batch, example)
        except NotImplementedError as error:
            raise PalirsError(
                f"evaluation.device = {self.device}: these potentials cannot be fused ({error}); "
                "give evaluation.backend=eager"
            ) from error


class SomeForces:
    """Those of some molecules of a batch of fixed shape; the others stay at harmless positions."""

    def __init__(self, whole: StaticForces, molecules: list[int]):
        self.device, self.members, self.recorded = whole.device, whole.members, whole.recorded
        self.counts = tuple(whole.counts[i] for i in molecules)
        self._whole, self._numbers = whole, molecules
        self._molecules = torch.tensor(molecules, device=whole.device)
        self._atoms, self._rest = whole.atoms(molecules), whole.spread_out()

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate every member."""
        energy, forces = self._whole(self._rest.index_copy(0, self._atoms, positions))
        return energy[:, self._molecules], forces[:, self._atoms]

    def cut(self, error: Exception) -> None:
        """See :meth:`StaticForces.cut`."""
        self._whole.cut(error)

    def only(self, molecules: Sequence[int]) -> "SomeForces":
        """Return the forces of some of these."""
        return SomeForces(self._whole, [self._numbers[i] for i in molecules])


def alike(numbers: Sequence[tuple[int, ...]], most: int) -> list[list[int]]:
    """Cut a list of molecules into parts of about ``most`` atoms.

    As many parts as possible have the same molecules in the same order.

    Each of these gets the same share of the copies of every molecule; what is left over makes a
    last part, or more if that is too large.
    """
    counts, places = Counter(numbers), dict[tuple[int, ...], list[int]]()
    for place, molecule in enumerate(numbers):
        places.setdefault(molecule, []).append(place)
    wanted = -(-sum(map(len, numbers)) // max(most, 1))
    if wanted <= 1:
        return [list(range(len(numbers)))] if numbers else []
    shares = {molecule: count // wanted for molecule, count in counts.items()}
    parts = [
        [
            i
            for molecule, own in places.items()
            for i in own[k * shares[molecule] :][: shares[molecule]]
        ]
        for k in range(wanted)
    ]
    rest = [i for molecule, own in places.items() for i in own[wanted * shares[molecule] :]]
    return [part for part in parts if part] + in_a_row(numbers, sorted(rest), most)


def in_a_row(numbers: Sequence[Sequence[int]], places: Sequence[int], most: int) -> list[list[int]]:
    """Cut a list of molecules, in order, into parts of at most ``most`` atoms.

    A part has one molecule at least.
    """
    parts, atoms = list[list[int]](), 0
    for place in places:
        atoms += len(numbers[place])
        if not parts or atoms > most:
            parts.append([])
            atoms = len(numbers[place])
        parts[-1].append(place)
    return parts
