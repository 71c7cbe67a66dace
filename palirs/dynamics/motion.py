"""Many steps of Langevin dynamics in one call of compiled code."""

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from palirs.mace.compiled import BLOCK, EXACT, HERE, Block, Kernel, Memory, built


@dataclass
class Moving:
    """Arrays of a batch of B molecules with N atoms in all, updated in place by each step.

    Attributes
    ----------
    positions, velocities, forces : numpy.ndarray
        ``[N, 3]`` [Å], [Å/fs], [eV/Å].
    heat : numpy.ndarray
        ``[B]`` [eV], supplied by the thermostat.
    energy : numpy.ndarray
        ``[B]`` [eV].
    members : numpy.ndarray
        ``[members, N, 3]`` [eV/Å].
    """

    positions: np.ndarray
    velocities: np.ndarray
    forces: np.ndarray
    heat: np.ndarray
    energy: np.ndarray
    members: np.ndarray


@dataclass(frozen=True)
class Stretch:
    """A number of steps with their parameters, see :func:`palirs.dynamics.langevin`.

    The steps in ``kept``, counted from 1 and evenly spaced, are recorded. Masses, factors of the
    forces and widths of the noise have shape ``[N]``; the noise has ``[count, N, 3]``, or is
    ``None`` without friction. ``kinetic`` times mass times velocity squared is an energy [eV].
    """

    count: int
    kept: Sequence[int]
    timestep: float
    damping: float
    kinetic: float
    masses: np.ndarray
    kick: np.ndarray
    width: np.ndarray
    noise: np.ndarray | None


class _Motion(ctypes.Structure):
    """The struct of the same fields, in the same order, in ``motion.c``."""

    _fields_ = [
        *(
            (name, ctypes.c_void_p)
            for name in ("x", "v", "f", "heat", "energy", "member_energy", "member_forces")
        ),
        *(
            (name, ctypes.c_void_p)
            for name in ("track_x", "track_v", "track_energy", "track_forces")
        ),
        *((name, ctypes.c_void_p) for name in ("mass", "kick", "width", "noise", "isolated")),
        *(
            (name, ctypes.c_void_p)
            for name in ("start", "species", "block", "local", "call", "model", "memory")
        ),
        ("memory_size", ctypes.c_size_t),
        *((name, ctypes.c_double) for name in ("half", "damping", "kinetic")),
        *(
            (name, ctypes.c_int)
            for name in ("molecules", "members", "blocks", "threads", "steps", "first", "stride")
        ),
        *((name, ctypes.c_int) for name in ("next", "arrived", "turn")),
    ]


class Motion:
    """Integrates one batch of molecules in compiled code.

    The molecules are divided into blocks, equally many for each thread; a thread does all steps of
    one block before it takes the next. Where there are fewer molecules than threads, threads share
    the members of the committee. The trajectory of a molecule does not depend on its block.

    Parameters
    ----------
    kernel : Kernel
        Potentials.
    species : numpy.ndarray
        Indices into the elements, ``[N]``.
    counts : tuple of int
        Atoms of each molecule.
    isolated : numpy.ndarray
        Energies of the isolated atoms, added to the interaction energies, ``[members, B]`` [eV].
    """

    def __init__(
        self, kernel: Kernel, species: np.ndarray, counts: tuple[int, ...], isolated: np.ndarray
    ):
        self.members, self._kernel, self._move = len(kernel), kernel, _library().palirs_move
        self._move.restype = None
        self._species = np.ascontiguousarray(species, dtype=np.int32)
        self._isolated = np.ascontiguousarray(isolated)
        self._threads = min(torch.get_num_threads(), len(counts) * len(kernel))
        parts = cut(counts, self._threads)
        self._molecules = len(counts)
        self._blocks = np.array([*(part.start for part in parts), len(counts)], dtype=np.int32)
        self._start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        blocks = [Block(part, counts) for part in parts]
        self._local = np.concatenate([block.start for block in blocks])
        self._call, self._models = kernel.addresses()
        self._room = -(-max(kernel.room(block) for block in blocks) // 64) * 64
        self._memory = Memory()

    def langevin(self, now: Moving, stretch: Stretch) -> list[np.ndarray]:
        """Do the steps.

        Returns
        -------
        list of numpy.ndarray
            At the R steps that are kept: positions, velocities ``[R, N, 3]``, energy ``[R, B]``,
            forces ``[R, members, N, 3]``.
        """
        atoms, kept = len(now.positions), stretch.kept
        track = [
            *np.empty((2, len(kept), atoms, 3)),
            np.empty((len(kept), self._molecules)),
            np.empty((len(kept), self.members, atoms, 3)),
        ]
        energies = np.empty((self.members, self._molecules))
        arrays = [now.positions, now.velocities, now.forces, now.heat, now.energy]
        arrays += [energies, now.members, *track]
        arrays += [stretch.masses, stretch.kick, stretch.width, stretch.noise, self._isolated]
        arrays += [self._start, self._species, self._blocks, self._local, self._call, self._models]
        first, spacing = 0, 0
        if kept:
            first, spacing = kept[0], kept[1] - kept[0] if len(kept) > 1 else stretch.count
        task = _Motion(
            *(None if array is None else array.ctypes.data for array in arrays),
            memory=self._memory.of(0, self._threads * self._room),
            memory_size=self._room,
            half=0.5 * stretch.timestep,
            damping=stretch.damping,
            kinetic=stretch.kinetic,
            molecules=self._molecules,
            members=self.members,
            blocks=len(self._blocks) - 1,
            threads=self._threads,
            steps=stretch.count,
            first=first,
            stride=spacing,
        )  # the rest starts as zero
        # not from a pool: the threads wait for each other, which in a pool could be a deadlock
        others = [
            threading.Thread(target=self._move, args=(ctypes.byref(task), ctypes.c_int(n)))
            for n in range(1, self._threads)
        ]
        for other in others:
            other.start()
        self._move(ctypes.byref(task), ctypes.c_int(0))
        for other in others:
            other.join()
        return track


@cache
def _library() -> ctypes.CDLL:
    return built((Path(__file__).with_name("motion.c"), HERE / "gate.h"), EXACT)


def cut(counts: tuple[int, ...], threads: int) -> list[range]:
    """Divide molecules into blocks of about equal numbers of atoms, at most about ``BLOCK``.

    Equally many for each thread, or one for each molecule.
    """
    ends = np.cumsum(counts)
    blocks = threads * max(1, -(-int(ends[-1]) // (BLOCK * threads)))
    bounds = [
        int(np.searchsorted(ends - np.array(counts) / 2, ends[-1] * block / blocks))
        for block in range(blocks + 1)
    ]
    return [range(a, b) for a, b in pairwise(bounds) if b > a]
