"""Which structures an engine cannot tell apart: equal up to motion, mirror image, and exchange of equal atoms."""

from collections.abc import Iterable, Sequence

import numpy as np
from ase import Atoms

SAME = 1e-4
"""Structures whose sorted distances all differ by less than this [Å] are one: labelling both would
pay twice for one answer."""


def distances(atoms: Atoms) -> np.ndarray:
    """Return the distances between atoms, sorted within each pair of elements, ``[N (N - 1) / 2]`` [Å].

    They are the same for a structure that was moved, turned, mirrored, or had equal atoms
    exchanged, and none changes by more than twice the largest displacement of an atom. Structures
    that have them in common by accident lie on surfaces that no sample hits.
    """
    return sorted_distances(atoms.numbers, atoms.positions)


def sorted_distances(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return :func:`distances` of many structures of one molecule, ``[..., N, 3]`` -> ``[..., N (N - 1) / 2]`` [Å]."""
    first, second = np.triu_indices(len(numbers), 1)
    lengths = np.linalg.norm(positions[..., first, :] - positions[..., second, :], axis=-1)
    pairs = np.sort(np.stack([numbers[first], numbers[second]], axis=1), axis=1)
    blocks = [
        np.sort(lengths[..., (pairs == pair).all(axis=1)], axis=-1)
        for pair in np.unique(pairs, axis=0)
    ]
    return np.concatenate(blocks, axis=-1) if blocks else lengths


class StructureIndex:
    """An index of structures that tells whether another one is new.

    Parameters
    ----------
    frames : iterable of Atoms
        To begin with.
    """

    def __init__(self, frames: Iterable[Atoms] = ()):
        self._rows: dict[bytes, list[np.ndarray]] = {}
        self._tables: dict[bytes, np.ndarray] = {}
        for atoms in frames:
            self._rows.setdefault(_composition(atoms), []).append(distances(atoms))

    def add(self, atoms: Atoms) -> bool:
        """Add a structure; tell whether it is new."""
        kind, row = _composition(atoms), distances(atoms)
        new = not self._has(kind, row)
        if new:
            self._rows.setdefault(kind, []).append(row)
        return new

    def _has(self, kind: bytes, row: np.ndarray) -> bool:
        rows = self._rows.get(kind, [])
        table = self._tables.get(kind, np.empty((0, len(row))))
        if len(rows) - len(table) > 256:  # the rest is looked at row by row
            table = self._tables[kind] = np.array(rows)
        near = len(table) and bool((np.abs(table - row).max(axis=1, initial=0.0) < SAME).any())
        return near or any(
            np.abs(other - row).max(initial=0.0) < SAME for other in rows[len(table) :]
        )


def distinct(frames: Sequence[Atoms], known: Iterable[Atoms] = ()) -> list[Atoms]:
    """Return the frames that are neither among the known ones nor repeat an earlier one."""
    index = StructureIndex(known)
    return [atoms for atoms in frames if index.add(atoms)]


def _composition(atoms: Atoms) -> bytes:
    return np.sort(atoms.numbers).astype(np.int16).tobytes()
