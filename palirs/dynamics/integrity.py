"""Checks whether the molecules of a batch of trajectories are still whole."""

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from ase.data import covalent_radii
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from palirs.molecules import APART, pieces

TOGETHER = 0.5
"""Atoms closer than this times the sum of their covalent radii have collapsed: C-H at 0.54 Å, H-H
at 0.31 Å."""


class Integrity:
    """Detects NaN, collapsed atoms and dissociated molecules in a batch of trajectories.

    A molecule is whole while bonds connect all its atoms; which bonds does not matter, so it may
    rearrange. In a complex of several molecules, each has to stay whole.

    Parameters
    ----------
    molecules : sequence of Atoms
        One per trajectory, at their optima, which define what is connected.
    """

    def __init__(self, molecules: Sequence[Atoms]):
        counts = [len(atoms) for atoms in molecules]
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        pairs = [
            np.array(np.triu_indices(count, 1)) + start
            for count, start in zip(counts, starts, strict=True)
        ]
        self._first, self._second = (torch.tensor(row) for row in np.concatenate(pairs, axis=1))
        self._system = np.repeat(np.arange(len(counts)), counts)
        self._starts = starts
        self._anchors = np.concatenate(
            [anchors(atoms) + start for atoms, start in zip(molecules, starts, strict=True)]
        )
        self._symbols = [symbol for atoms in molecules for symbol in atoms.get_chemical_symbols()]
        radii = torch.tensor(covalent_radii[np.concatenate([atoms.numbers for atoms in molecules])])
        self._bond = radii[self._first] + radii[self._second]

    def broken(self, positions: Tensor) -> dict[int, str]:
        """Return why each broken trajectory is broken, at positions ``[N, 3]`` [Å]."""
        reasons: dict[int, str] = {}
        length = torch.linalg.norm(positions[self._first] - positions[self._second], dim=1)
        near = (length < APART * self._bond).numpy()
        first, second = self._first.numpy(), self._second.numpy()
        atoms = len(self._system)
        bonds = coo_array(
            (np.ones(near.sum(), dtype=np.int8), (first[near], second[near])), shape=(atoms, atoms)
        )
        _, piece = connected_components(bonds, directed=False)
        for atom in np.flatnonzero(piece != piece[self._anchors]):
            number = int(self._system[atom])
            fragment = "".join(self._symbols[i] for i in np.flatnonzero(piece == piece[atom]))
            reasons.setdefault(number, f"dissociated, {fragment} has left")
        for pair in torch.nonzero(length < TOGETHER * self._bond)[:, 0].tolist():
            a, b = int(first[pair]), int(second[pair])
            number = int(self._system[a])
            names = " and ".join(f"{self._symbols[i]}{i - self._starts[number]}" for i in (a, b))
            reasons[number] = f"collapsed, {names} at {float(length[pair]):.2f} Å"
        for atom in torch.nonzero(~torch.isfinite(positions).all(dim=1))[:, 0].tolist():
            reasons[int(self._system[atom])] = "not a number"
        return reasons


def anchors(atoms: Atoms) -> np.ndarray:
    """Return the first atom of the molecule of each atom, ``[N]``; zeros unless it is a complex."""
    labels = pieces(atoms)
    return np.array([int(np.flatnonzero(labels == label)[0]) for label in labels])
