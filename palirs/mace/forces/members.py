"""Protocols of a committee and of the evaluator of a batch."""

from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from palirs.mace.compiled import Compiled


class Members(Protocol):
    """Potentials of the same elements, as :class:`palirs.mace.Committee` has them."""

    members: list[Any]
    elements: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        ...

    def graph(self, numbers: Sequence[np.ndarray], device: str = "cpu") -> Any:
        """Return the static graph of a batch of molecules."""
        ...

    def species(self, numbers: Sequence[np.ndarray]) -> np.ndarray:
        """Return the index of each atom's element."""
        ...

    def isolated(self, kinds: np.ndarray, counts: Sequence[int]) -> Tensor:
        """Return the sums of the atomic energies, ``[members, B]`` [eV]."""
        ...

    def interaction(self, batch: Any, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies ``[members, B]`` and forces ``[members, N, 3]`` by MACE's own code."""
        ...

    def to(self, device: str) -> Self:
        """Return them on a device."""
        ...


class Evaluator(Protocol):
    """A callable that evaluates one batch of molecules at positions ``[N, 3]`` [Å].

    Energies ``[members, B]`` [eV] and forces ``[members, N, 3]`` [eV/Å] are float64.
    """

    @property
    def compiled(self) -> Compiled | None:
        """The evaluator as compiled code can call it, or ``None``."""
        ...

    @property
    def resident(self) -> Any:
        """The evaluator for positions that stay on a GPU, or ``None`` on the CPU."""
        ...

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate every member."""
        ...

    def only(self, molecules: Sequence[int]) -> "Evaluator":
        """Return the evaluator of some of the molecules."""
        ...
