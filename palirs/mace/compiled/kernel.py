"""Calls of the compiled code from Python."""

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from palirs.mace.compiled.compiler import library
from palirs.mace.compiled.layout import is_dipole, program
from palirs.mace.compiled.radial import table
from palirs.mace.compiled.weights import Program

BLOCK = 48
"""Atoms of a block: enough rows for efficient matrix products, few enough for the cache."""


class Memory:
    """Scratch memory of threads, kept from call to call."""

    def __init__(self):
        self._parts: dict[int, np.ndarray] = {}

    def of(self, number: int, size: int) -> int:
        """Return the address of ``size`` bytes on a cache line, the same ones for a number."""
        buffer = self._parts.get(number)
        if buffer is None or len(buffer) < size + 64:
            buffer = self._parts[number] = np.empty(size + 64, dtype=np.uint8)
        return -(-buffer.ctypes.data // 64) * 64


class _Struct(ctypes.Structure):
    """``struct model`` of ``mace.c``."""

    _fields_ = [
        ("weight", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("cutoff", ctypes.c_double),
        ("knots", ctypes.c_int),
    ]


class Model:
    """A member for the compiled code: weights, and a table of radial weights or ``None``."""

    def __init__(self, program: Program, radial: np.ndarray | None, knots: int):
        self._radial = radial
        self.struct = _Struct(
            None, None if radial is None else radial.ctypes.data, program.cutoff, knots
        )
        self.set(program.weights(program.factors))

    def set(self, weights: np.ndarray) -> None:
        """Replace the weights."""
        self._weights = weights
        self.struct.weight = weights.ctypes.data


class Kernel:
    """Models of one architecture, ready to be called.

    Parameters
    ----------
    modules : sequence of modules
        Potentials or dipole networks with the same architecture.
    radial : {"table", "network"}
        Radial weights from a table (:mod:`palirs.mace.compiled.radial`), or by the network.

    Raises
    ------
    UnsupportedError
        If one has a part that the compiled code does not know.
    CompilerError
        If it cannot be compiled.
    """

    def __init__(self, modules: Sequence[Any], radial: str = "table"):
        self.programs = [program(module) for module in modules]
        tables = [table(p) if radial == "table" else (None, 0) for p in self.programs]
        self._models = [Model(p, *values) for p, values in zip(self.programs, tables, strict=True)]
        libraries = [library(p.header) for p in self.programs]
        name = "palirs_dipoles" if is_dipole(modules[0]) else "palirs_forces"
        self._call = [getattr(compiled, name) for compiled in libraries]
        for compiled, call in zip(libraries, self._call, strict=True):
            compiled.palirs_work.restype = ctypes.c_size_t
            call.restype = None
        self._work = [compiled.palirs_work for compiled in dict.fromkeys(libraries)]

    def __len__(self) -> int:
        return len(self.programs)

    def set_weights(self, member: int, weights: np.ndarray) -> None:
        """Give a member other weights, from :meth:`Program.weights`; its table stays."""
        self._models[member].set(weights)

    def addresses(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the addresses of each member's function and ``struct model``."""
        calls = [ctypes.cast(call, ctypes.c_void_p).value for call in self._call]
        structs = [ctypes.addressof(model.struct) for model in self._models]
        return np.array(calls, dtype=np.uintp), np.array(structs, dtype=np.uintp)

    def room(self, block: "Block") -> int:
        """Return the bytes of scratch memory for one block."""
        return max(
            work(ctypes.c_int(block.atoms), ctypes.c_int(block.pairs)) for work in self._work
        )

    def arguments(
        self, member: int, block: "Block", species: np.ndarray, x: np.ndarray, memory: int
    ) -> tuple:
        """Return the leading arguments of every compiled function.

        ``species [N]`` int32 and positions ``x [N, 3]`` float64 [Å] of the whole batch; ``memory``
        is the address of scratch memory of ``room(block)`` bytes.
        """
        return (
            ctypes.byref(self._models[member].struct),
            ctypes.c_int(len(block.start) - 1),
            ctypes.c_void_p(block.start.ctypes.data),
            ctypes.c_void_p(species.ctypes.data + 4 * block.atom),
            ctypes.c_void_p(x.ctypes.data + 24 * block.atom),
            ctypes.c_void_p(memory),
        )

    def batch(self, species: np.ndarray, counts: Sequence[int]) -> "Batch":
        """Prepare a batch of molecules.

        ``species [N]`` are indices into the model's elements, ``counts`` atoms per molecule.
        """
        return Batch(self, np.ascontiguousarray(species, dtype=np.int32), tuple(counts))


class Compiled(NamedTuple):
    """What compiled code elsewhere needs to evaluate a batch.

    Species are ``[N]`` int32; ``isolated [members, B]`` [eV] is added to the interaction energies.
    """

    kernel: Kernel
    species: np.ndarray
    counts: tuple[int, ...]
    isolated: np.ndarray


class Batch:
    """One batch of molecules that moves.

    Its molecules are divided into blocks; threads take pairs of a block and a member one after the
    other. The results of a molecule do not depend on its block.
    """

    def __init__(self, kernel: Kernel, species: np.ndarray, counts: tuple[int, ...]):
        self.kernel, self.species, self.counts, self._memory = kernel, species, counts, Memory()
        # two blocks per thread if there are enough atoms
        self._blocks = blocks(counts, max(1, sum(counts) // (2 * torch.get_num_threads())))
        self._memory_size = max(kernel.room(block) for block in self._blocks)

    def forces(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate all members.

        Parameters
        ----------
        positions : numpy.ndarray
            Shape ``[N, 3]`` [Å].

        Returns
        -------
        energy : numpy.ndarray
            Interaction energies, shape ``[members, B]`` [eV].
        forces : numpy.ndarray
            Shape ``[members, N, 3]`` [eV/Å].
        """
        x = np.ascontiguousarray(positions, dtype=np.float64)
        energy = np.empty((len(self.kernel), len(self.counts)))
        forces = np.empty((len(self.kernel), *x.shape))

        def piece(member: int, block: Block, memory: int) -> None:
            self.kernel._call[member](
                *self._arguments(member, block, x, memory),
                ctypes.c_void_p(energy[member].ctypes.data + 8 * block.first),
                ctypes.c_void_p(forces[member].ctypes.data + 24 * block.atom),
            )

        self._run(piece)
        return energy, forces

    def dipoles(self, positions: np.ndarray) -> np.ndarray:
        """Return the dipoles that dipole networks give, shape ``[members, B, 3]`` [e·Å]."""
        x = np.ascontiguousarray(positions, dtype=np.float64)
        dipoles = np.empty((len(self.kernel), len(self.counts), 3))

        def piece(member: int, block: Block, memory: int) -> None:
            self.kernel._call[member](
                *self._arguments(member, block, x, memory),
                ctypes.c_void_p(dipoles[member].ctypes.data + 24 * block.first),
            )

        self._run(piece)
        return dipoles

    def _arguments(self, member: int, block: "Block", x: np.ndarray, memory: int) -> tuple:
        return self.kernel.arguments(member, block, self.species, x, memory)

    def _run(self, piece) -> None:
        """Let threads take the pieces of work one after the other."""
        pieces = iter(
            [(member, block) for block in self._blocks for member in range(len(self.kernel))]
        )

        def thread(number: int) -> None:
            memory = self._memory.of(number, self._memory_size)
            for member, block in pieces:  # safe in threads, as they hold the GIL here
                piece(member, block, memory)

        in_threads(min(torch.get_num_threads(), len(self._blocks) * len(self.kernel)), thread)


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Call ``work(number)`` for each number below ``count``: 0 here, the others in threads.

    Compiled code releases the GIL.
    """
    others = [_pool(count - 1).submit(work, number) for number in range(1, count)]
    work(0)
    for other in others:
        other.result()


class Block:
    """Consecutive molecules that are evaluated together.

    ``first`` and ``atom`` are the numbers of the first molecule and atom in the batch, ``start``
    the first atom of each molecule in the block, ``atoms`` and ``pairs`` their totals.
    """

    def __init__(self, molecules: range, counts: tuple[int, ...]):
        self.first, self.atom = molecules.start, sum(counts[: molecules.start])
        sizes = [counts[i] for i in molecules]
        self.start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        self.atoms, self.pairs = sum(sizes), sum(n * (n - 1) // 2 for n in sizes)


def blocks(counts: tuple[int, ...], limit: int) -> list[Block]:
    """Divide molecules into blocks of at most ``min(limit, BLOCK)`` atoms, or of one molecule."""
    parts, start, atoms = [], 0, 0
    for number, count in enumerate(counts):
        if atoms and atoms + count > min(BLOCK, limit):
            parts.append(range(start, number))
            start, atoms = number, 0
        atoms += count
    return [Block(part, counts) for part in [*parts, range(start, len(counts))]]


@lru_cache(maxsize=8)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(threads, 1), thread_name_prefix="palirs")
