"""Detection of duplicates: structures equal up to rotation, reflection and exchange of atoms."""

from collections.abc import Iterable, Sequence

import numpy as np
from ase import Atoms

SAME = 1e-4
"""Structures whose sorted distances all differ by less than this [Å] are duplicates: a label of
each would be paid twice for the same information."""


def distances(atoms: Atoms) -> np.ndarray:
    """Return interatomic distances, sorted by pair of elements, ``[N (N - 1) / 2]`` [Å].

    They are invariant under translation, rotation, reflection and exchange of equal atoms, and none
    changes by more than twice the largest displacement of an atom. Different structures that share
    them by accident form a set that sampling has no chance to hit.
    """
    return sorted_distances(atoms.numbers, atoms.positions)


def sorted_distances(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return :func:`distances` ``[..., N (N - 1) / 2]`` [Å] of structures ``[..., N, 3]``."""
    first, second = np.triu_indices(len(numbers), 1)
    lengths = np.linalg.norm(positions[..., first, :] - positions[..., second, :], axis=-1)
    pairs = np.sort(np.stack([numbers[first], numbers[second]], axis=1), axis=1)
    blocks = [
        np.sort(lengths[..., (pairs == pair).all(axis=1)], axis=-1)
        for pair in np.unique(pairs, axis=0)
    ]
    return np.concatenate(blocks, axis=-1) if blocks else lengths


class StructureIndex:
    """An index of structures that detects duplicates.

    Parameters
    ----------
    frames : iterable of Atoms
        Structures in the index at first.
    """

    def __init__(self, frames: Iterable[Atoms] = ()):
        self._rows: dict[bytes, list[np.ndarray]] = {}
        self._tables: dict[bytes, np.ndarray] = {}
        for atoms in frames:
            self._rows.setdefault(_composition(atoms), []).append(distances(atoms))

    def add(self, atoms: Atoms) -> bool:
        """Add a structure and return whether it is new."""
        kind, row = _composition(atoms), distances(atoms)
        new = not self._has(kind, row)
        if new:
            self._rows.setdefault(kind, []).append(row)
        return new

    def _has(self, kind: bytes, row: np.ndarray) -> bool:
        rows = self._rows.get(kind, [])
        table = self._tables.get(kind, np.empty((0, len(row))))
        if len(rows) - len(table) > 256:  # rows beyond the table are compared one by one
            table = self._tables[kind] = np.array(rows)
        near = len(table) and bool((np.abs(table - row).max(axis=1, initial=0.0) < SAME).any())
        return near or any(
            np.abs(other - row).max(initial=0.0) < SAME for other in rows[len(table) :]
        )


def distinct(frames: Sequence[Atoms], existing: Iterable[Atoms] = ()) -> list[Atoms]:
    """Return the frames that duplicate neither an existing structure nor an earlier frame."""
    index = StructureIndex(existing)
    return [atoms for atoms in frames if index.add(atoms)]


def _composition(atoms: Atoms) -> bytes:
    return np.sort(atoms.numbers).astype(np.int16).tobytes()
