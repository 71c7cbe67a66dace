"""Calls of the compiled code from Python: forces and dipoles of a batch of molecules."""

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
"""Largest number of atoms in a block.

Enough rows for efficient matrix products, and few enough for the cache.
"""


class Memory:
    """Scratch memory of threads, reused from call to call."""

    def __init__(self):
        self._buffers: dict[int, np.ndarray] = {}

    def of(self, thread: int, size: int) -> int:
        """Return the address of at least ``size`` bytes of a thread, aligned to a cache line."""
        buffer = self._buffers.get(thread)
        if buffer is None or len(buffer) < size + 64:
            buffer = self._buffers[thread] = np.empty(size + 64, dtype=np.uint8)
        return -(-buffer.ctypes.data // 64) * 64


class _Struct(ctypes.Structure):
    """The C ``struct model`` of ``mace.c``."""

    _fields_ = [
        ("weight", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("cutoff", ctypes.c_double),
        ("knots", ctypes.c_int),
    ]


class Model:
    """Weights of a member for the compiled code, with or without a table of radial weights."""

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
        Radial weights from a table (:mod:`palirs.mace.compiled.radial`), or from the network.

    Raises
    ------
    UnsupportedError
        If a module has a part that the compiled code does not support.
    CompilerError
        If the code cannot be compiled.
    """

    def __init__(self, modules: Sequence[Any], radial: str = "table"):
        self.programs = [program(module) for module in modules]
        tables = [table(p) if radial == "table" else (None, 0) for p in self.programs]
        self._models = [Model(p, *values) for p, values in zip(self.programs, tables, strict=True)]
        libraries = [library(p.header) for p in self.programs]
        name = "palirs_dipoles" if is_dipole(modules[0]) else "palirs_forces"
        self._functions = [getattr(compiled, name) for compiled in libraries]
        for compiled, function in zip(libraries, self._functions, strict=True):
            compiled.palirs_work.restype = ctypes.c_size_t
            function.restype = None
        self._memory_sizes = [compiled.palirs_work for compiled in dict.fromkeys(libraries)]

    def __len__(self) -> int:
        return len(self.programs)

    def set_weights(self, member: int, weights: np.ndarray) -> None:
        """Replace the weights of a member, from :meth:`Program.weights`; not its table."""
        self._models[member].set(weights)

    def addresses(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the addresses of each member's C function and ``struct model``."""
        functions = [ctypes.cast(one, ctypes.c_void_p).value for one in self._functions]
        structs = [ctypes.addressof(model.struct) for model in self._models]
        return np.array(functions, dtype=np.uintp), np.array(structs, dtype=np.uintp)

    def room(self, block: "Block") -> int:
        """Return the bytes of scratch memory for one block."""
        return max(
            size(ctypes.c_int(block.atoms), ctypes.c_int(block.pairs))
            for size in self._memory_sizes
        )

    def arguments(
        self, member: int, block: "Block", species: np.ndarray, x: np.ndarray, memory: int
    ) -> tuple:
        """Return the leading arguments of every compiled function.

        ``species [N]`` int32 and positions ``x [N, 3]`` float64 [Å] are those of the whole batch;
        ``memory`` is the address of ``room(block)`` bytes of scratch memory.
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

        ``species [N]`` are indices of the model's elements, ``counts`` the atoms per molecule.
        """
        return Batch(self, np.ascontiguousarray(species, dtype=np.int32), tuple(counts))


class Compiled(NamedTuple):
    """A kernel and a batch, for compiled code that calls the kernel itself (MD).

    ``species [N]`` int32, ``counts`` atoms per molecule; ``isolated [members, B]`` [eV], the
    energies of the isolated atoms, is added to the interaction energies.
    """

    kernel: Kernel
    species: np.ndarray
    counts: tuple[int, ...]
    isolated: np.ndarray


class Batch:
    """A batch of molecules whose positions change from call to call.

    Its molecules are divided into blocks; threads take pairs of a block and a member one after the
    other. The results of a molecule do not depend on the block that it is in.
    """

    def __init__(self, kernel: Kernel, species: np.ndarray, counts: tuple[int, ...]):
        self.kernel = kernel
        self.species = species
        self.counts = counts
        self._memory = Memory()
        # two blocks per thread if there are enough atoms
        self._blocks = blocks(counts, max(1, sum(counts) // (2 * torch.get_num_threads())))
        self._memory_size = max(kernel.room(block) for block in self._blocks)

    def forces(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return energies and forces of all members.

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

        def evaluate(member: int, block: Block, memory: int) -> None:
            self.kernel._functions[member](
                *self._arguments(member, block, x, memory),
                ctypes.c_void_p(energy[member].ctypes.data + 8 * block.first),
                ctypes.c_void_p(forces[member].ctypes.data + 24 * block.atom),
            )

        self._run(evaluate)
        return energy, forces

    def dipoles(self, positions: np.ndarray) -> np.ndarray:
        """Return the dipoles of dipole networks, shape ``[members, B, 3]`` [e·Å]."""
        x = np.ascontiguousarray(positions, dtype=np.float64)
        dipoles = np.empty((len(self.kernel), len(self.counts), 3))

        def evaluate(member: int, block: Block, memory: int) -> None:
            self.kernel._functions[member](
                *self._arguments(member, block, x, memory),
                ctypes.c_void_p(dipoles[member].ctypes.data + 24 * block.first),
            )

        self._run(evaluate)
        return dipoles

    def _arguments(self, member: int, block: "Block", x: np.ndarray, memory: int) -> tuple:
        return self.kernel.arguments(member, block, self.species, x, memory)

    def _run(self, evaluate: Callable[[int, "Block", int], None]) -> None:
        """Call ``evaluate(member, block, memory)`` for all members and blocks, in threads."""
        members = range(len(self.kernel))
        remaining = iter([(member, block) for block in self._blocks for member in members])

        def work(thread: int) -> None:
            memory = self._memory.of(thread, self._memory_size)
            for member, block in remaining:  # safe in threads, as they hold the GIL here
                evaluate(member, block, memory)

        in_threads(min(torch.get_num_threads(), len(self._blocks) * len(self.kernel)), work)


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Call ``work(thread)`` for each number below ``count``: 0 here, the others in a pool.

    They run at the same time, as calls of compiled code release the GIL.
    """
    futures = [_pool(count - 1).submit(work, thread) for thread in range(1, count)]
    work(0)
    for future in futures:
        future.result()


class Block:
    """Consecutive molecules of a batch that are evaluated together.

    Attributes
    ----------
    first, atom : int
        Numbers of the first molecule and of the first atom in the batch.
    start : numpy.ndarray
        First atom of each molecule in the block, and the end, ``[molecules + 1]`` int32.
    atoms, pairs : int
        Number of atoms, and of pairs of atoms of one molecule.
    """

    def __init__(self, molecules: range, counts: tuple[int, ...]):
        self.first = molecules.start
        self.atom = sum(counts[: molecules.start])
        sizes = [counts[i] for i in molecules]
        self.start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        self.atoms = sum(sizes)
        self.pairs = sum(n * (n - 1) // 2 for n in sizes)


def blocks(counts: tuple[int, ...], limit: int) -> list[Block]:
    """Divide molecules into blocks of at most ``min(limit, BLOCK)`` atoms, or of one molecule."""
    parts: list[range] = []
    start = atoms = 0
    for number, count in enumerate(counts):
        if atoms and atoms + count > min(BLOCK, limit):
            parts.append(range(start, number))
            start = number
            atoms = 0
        atoms += count
    return [Block(part, counts) for part in [*parts, range(start, len(counts))]]


@lru_cache(maxsize=8)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return the pool of so many threads, the same one in every call."""
    return ThreadPoolExecutor(max(threads, 1), thread_name_prefix="palirs")
