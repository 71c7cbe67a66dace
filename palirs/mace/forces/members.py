"""What evaluation needs to know of a committee, and what it gives."""

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
        """Return interaction energies ``[members, B]`` and forces ``[members, N, 3]`` by MACE's own code."""
        ...

    def to(self, device: str) -> Self:
        """Return them on a device."""
        ...


class Evaluator(Protocol):
    """Energies ``[members, B]`` [eV] and forces ``[members, N, 3]`` [eV/Å], float64, of a fixed batch at positions ``[N, 3]`` [Å]."""

    @property
    def compiled(self) -> Compiled | None:
        """The same as compiled code for compiled code to call, if that is what there is."""
        ...

    @property
    def resident(self) -> Any:
        """The same on positions that stay on a device, if it is not the CPU."""
        ...

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate every member."""
        ...

    def only(self, molecules: Sequence[int]) -> "Evaluator":
        """Return the evaluator of some of the molecules."""
        ...
