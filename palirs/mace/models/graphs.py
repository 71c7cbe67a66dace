"""Static graphs of isolated molecules: every ordered pair of atoms is an edge throughout.

The cutoff envelope makes the messages of pairs beyond the cutoff exactly zero, so no neighbour list
is needed and shapes never change while a batch of molecules moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from palirs.recipes import PalirsError


@dataclass(frozen=True)
class Graph:
    """The part of a batch of molecules that does not change when its atoms move.

    Attributes
    ----------
    species : Tensor
        Shape ``[N]``, index of each atom's element in the model's table.
    one_hot : Tensor
        Shape ``[N, elements]``.
    edges : Tensor
        Shape ``[2, E]``, sender and receiver.
    system : Tensor
        Shape ``[N]``, the molecule each atom belongs to.
    counts : tuple of int
        Atoms per molecule.
    """

    species: Tensor
    one_hot: Tensor
    edges: Tensor
    system: Tensor
    counts: tuple[int, ...]

    def inputs(self, positions: Tensor) -> dict[str, Tensor]:
        """Return what the forward passes of MACE take; ``positions`` has shape ``[N, 3]`` [Å]."""
        zeros = positions.new_zeros(self.edges.shape[1], 3)
        return {
            "positions": positions,
            "node_attrs": self.one_hot,
            "edge_index": self.edges,
            "shifts": zeros,
            "unit_shifts": zeros,
            "cell": positions.new_zeros(3 * len(self.counts), 3),
            "batch": self.system,
            "ptr": torch.arange(len(self.counts) + 1, device=positions.device),
        }


def graph(
    numbers: Sequence[np.ndarray],
    elements: Sequence[int],
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Graph:
    """Make the graph of a batch.

    Parameters
    ----------
    numbers : sequence of arrays
        Atomic numbers of each molecule.
    elements : sequence of int
        Atomic numbers the model knows, ascending.
    dtype, device
        Of the one-hot encoding.

    Raises
    ------
    PalirsError
        If a molecule has an element the model does not know.
    """
    return _graph(tuple(tuple(map(int, z)) for z in numbers), tuple(elements), dtype, device)


@lru_cache(maxsize=256)
def _graph(
    numbers: tuple[tuple[int, ...], ...], elements: tuple[int, ...], dtype: torch.dtype, device: str
) -> Graph:
    counts = tuple(len(molecule) for molecule in numbers)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    pairs = [_pairs(count) + offset for count, offset in zip(counts, offsets[:-1], strict=True)]
    kinds = torch.tensor(species([np.array(z) for z in numbers], elements), device=device)
    return Graph(
        species=kinds,
        one_hot=torch.nn.functional.one_hot(kinds, len(elements)).to(dtype),
        edges=torch.tensor(np.concatenate(pairs, axis=1), device=device),
        system=torch.tensor(np.repeat(np.arange(len(counts)), counts), device=device),
        counts=counts,
    )


def join(parts: Sequence[Graph]) -> Graph:
    """Make one graph of several, on their device."""
    counts = tuple(count for part in parts for count in part.counts)
    atoms = np.concatenate([[0], np.cumsum([len(part.species) for part in parts])])
    systems = np.concatenate([[0], np.cumsum([len(part.counts) for part in parts])])
    return Graph(
        species=torch.cat([part.species for part in parts]),
        one_hot=torch.cat([part.one_hot for part in parts]),
        edges=torch.cat(
            [part.edges + int(start) for part, start in zip(parts, atoms[:-1], strict=True)], dim=1
        ),
        system=torch.cat(
            [part.system + int(start) for part, start in zip(parts, systems[:-1], strict=True)]
        ),
        counts=counts,
    )


def species(numbers: Sequence[np.ndarray], elements: Sequence[int]) -> np.ndarray:
    """Index of each atom's element in the model's table, shape ``[N]``.

    Raises
    ------
    PalirsError
        If a molecule has an element the model does not know.
    """
    every = np.concatenate([np.asarray(z) for z in numbers])
    unknown = sorted(map(int, set(every) - set(elements)))
    if unknown:
        raise PalirsError(
            f"the model knows the elements {list(elements)} (atomic numbers), not {unknown}; "
            "train it on molecules with them"
        )
    return np.searchsorted(np.array(elements), every)


@lru_cache(maxsize=64)
def _pairs(count: int) -> np.ndarray:
    i, j = np.nonzero(~np.eye(count, dtype=bool))
    return np.stack([i, j])


def mean_neighbours(positions: Sequence[np.ndarray], cutoff: float) -> float:
    """Average number of atoms within the cutoff [Å], the normalisation of MACE's messages."""
    near = [
        (np.linalg.norm(x[:, None] - x[None], axis=-1) < cutoff).sum(axis=1) - 1 for x in positions
    ]
    return float(max(np.concatenate(near).mean(), 1.0))
