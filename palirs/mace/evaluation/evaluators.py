"""Ways to evaluate all members of a committee on one batch of molecules that moves.

``native`` is compiled C code for the CPU (:mod:`palirs.mace.compiled`), the fastest by far. ``recorded`` replays a recording of MACE's own
operations, ``eager`` calls MACE itself; both also run on a GPU. All give the same numbers to rounding.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from palirs.mace.compiled import CompilerError, Kernel, UnsupportedError
from palirs.mace.evaluation.recording import record
from palirs.mace.models.graphs import species
from palirs.mace.settings import Evaluation
from palirs.recipes import PalirsError

if TYPE_CHECKING:
    from palirs.mace.models.committee import Committee

log = logging.getLogger(__name__)

BATCH_ATOMS = 4000
"""Atoms that eager and recorded evaluation take at once; a batch that is larger, or does not fit the memory, is cut."""


class Evaluator(Protocol):
    """Energies ``[members, B]`` [eV] and forces ``[members, N, 3]`` [eV/Å], float64, of a fixed batch at positions ``[N, 3]`` [Å]."""

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate every member."""
        ...

    def only(self, molecules: Sequence[int]) -> "Evaluator":
        """Return the evaluator of some of the molecules."""
        ...


def evaluator(committee: "Committee", numbers: Sequence[np.ndarray], how: Evaluation, once: bool = False) -> Evaluator:
    """Choose the evaluator of a batch.

    Parameters
    ----------
    committee : Committee
        The members.
    numbers : sequence of arrays
        Atomic numbers of each molecule.
    how : Evaluation
        Backend and device; ``auto`` is native where possible, else recorded.
    once : bool
        The batch will be evaluated once only, so a recording does not pay.

    Raises
    ------
    PalirsError
        If ``how`` insists on the native backend and there is none, or the device does not exist.
    """
    if how.device != "cpu":
        _check_device(how.device)
    elif how.backend in ("auto", "native"):
        if committee.kernel is not None:
            return Native(committee, committee.kernel, numbers)
        if how.backend == "native":
            raise PalirsError("evaluation.backend = 'native': there is none, see the warning above; use 'auto', 'recorded' or 'eager'")
    return Static(committee, numbers, how.backend != "eager" and not once, how.device)


def checked_kernel(committee: "Committee") -> Kernel | None:
    """Compile the members, and compare with MACE on a small cluster of atoms before they are trusted."""
    try:
        kernel = Kernel(committee.members)
    except (CompilerError, UnsupportedError) as problem:
        log.warning("MD takes the slower path, MACE's own code replayed: %s", problem)
        return None
    rng = np.random.default_rng(0)
    numbers = np.array([z for z in committee.elements for _ in range(2)])
    places = np.array([[i % 2, i // 2 % 2, i // 4] for i in range(len(numbers))])
    positions = 1.2 * places + rng.uniform(-0.1, 0.1, (len(numbers), 3))
    expected = committee.forces(committee.graph([numbers]), torch.tensor(positions))
    found = Native(committee, kernel, [numbers])(torch.tensor(positions))
    tolerance = 1e-3 if committee.dtype == torch.float32 else 1e-8
    for a, b in zip(found, expected, strict=True):
        b = b.double()
        if not bool(((a - b).abs() <= tolerance * (1 + b.abs().max())).all()):
            log.warning("MD takes the slower path: compiled code and MACE differ by %.1e on this machine", float((a - b).abs().max()))
            return None
    return kernel


class Native:
    """Compiled code on the CPU; what it gives for a molecule does not depend on the others."""

    def __init__(self, committee: "Committee", kernel: Kernel, numbers: Sequence[np.ndarray]):
        self._committee, self._kernel, self._numbers = committee, kernel, list(numbers)
        kinds = species(numbers, committee.elements)
        counts = [len(z) for z in numbers]
        self._batch = kernel.batch(kinds, counts)
        self._isolated = isolated(committee, kinds, counts)

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate every member."""
        energy, forces = self._batch.forces(positions.numpy())
        return torch.from_numpy(energy) + self._isolated, torch.from_numpy(forces)

    def only(self, molecules: Sequence[int]) -> "Native":
        """Return the evaluator of some of the molecules."""
        return Native(self._committee, self._kernel, [self._numbers[i] for i in molecules])


class Static:
    """MACE's own operations on the static graph, eager or recorded, on any device, in chunks that fit the memory."""

    def __init__(self, committee: "Committee", numbers: Sequence[np.ndarray], recorded: bool, device: str = "cpu"):
        self._committee = committee.to(device)
        self._recorded, self._device = recorded, device
        self._numbers = list(numbers)
        counts = [len(z) for z in numbers]
        self._isolated = isolated(committee, species(numbers, committee.elements), counts)
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._parts = chunks(counts, BATCH_ATOMS)
        self._ready: dict[range, Callable[..., tuple[Tensor, Tensor]]] = {}

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate every member; a chunk that does not fit the memory is halved, for good."""
        found, number = [], 0
        while number < len(self._parts):
            part = self._parts[number]
            try:
                found.append(self._run(part, positions[self._starts[part.start] : self._starts[part.stop]]))
                number += 1
            except RuntimeError as error:
                if not isinstance(error, torch.OutOfMemoryError) and "out of memory" not in str(error):  # a replay gives it no type
                    raise
                self._ready.pop(part, None)
                if len(part) == 1:
                    atoms = len(self._numbers[part[0]])
                    raise PalirsError(f"evaluation.device = {self._device}: not enough memory for one molecule of {atoms} atoms") from error
                middle = (part.start + part.stop) // 2
                log.warning("%s is out of memory with %d molecules at once; going on with half as many", self._device, len(part))
                self._parts[number : number + 1] = [range(part.start, middle), range(middle, part.stop)]
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

    def __init__(self, whole: Static, molecules: list[int], starts: np.ndarray):
        self._whole, self._molecules, self._starts = whole, molecules, starts
        self._atoms = torch.tensor(np.concatenate([np.arange(starts[i], starts[i + 1]) for i in molecules]))
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
    return torch.arange(atoms, dtype=torch.float64)[:, None] * torch.tensor([[1.5, 0.0, 0.0]], dtype=torch.float64)


def isolated(committee: "Committee", kinds: np.ndarray, counts: Sequence[int]) -> Tensor:
    """Return the sums of the atomic energies, ``[members, B]`` [eV].

    Interaction energies are added to them in double precision: a total energy of thousands of eV has no meV left in single precision.
    """
    e0 = np.array([shape.atomic_energies for shape in committee.shapes])[:, kinds]
    return torch.tensor(np.add.reduceat(e0, np.concatenate([[0], np.cumsum(counts)[:-1]]), axis=1))


def chunks(counts: Sequence[int], most: int) -> list[range]:
    """Cut a list of molecules into runs of at most ``most`` atoms (at least one molecule each)."""
    parts, start, atoms = [], 0, 0
    for number, count in enumerate(counts):
        if atoms and atoms + count > most:
            parts.append(range(start, number))
            start, atoms = number, 0
        atoms += count
    return [*parts, range(start, len(counts))] if len(counts) else []


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise PalirsError(f"evaluation.device = {device!r}: torch cannot use it ({str(error).splitlines()[0]}); use cpu") from error
