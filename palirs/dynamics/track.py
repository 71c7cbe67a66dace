"""What is kept of a batch on its way."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from palirs.dynamics.state import State


@dataclass(frozen=True)
class Track:
    """R moments of B trajectories with N atoms in all.

    Attributes
    ----------
    positions, velocities : Tensor
        Shape ``[R, N, 3]`` [Å], [Å/fs].
    energy : Tensor
        Shape ``[R, B]`` [eV], potential.
    members : Tensor or None
        Shape ``[R, members, N, 3]`` [eV/Å], forces of each member of a committee.
    dipole : Tensor or None
        Shape ``[R, B, 3]`` [e·Å], if the field gives it.
    """

    positions: Tensor
    velocities: Tensor
    energy: Tensor
    members: Tensor | None = None
    dipole: Tensor | None = None

    def __len__(self) -> int:
        return len(self.positions)

    @classmethod
    def of(cls, states: Sequence[State], like: State) -> "Track":
        """Put states one after the other; ``like`` tells the shapes where there are none."""

        def together(name: str) -> Tensor | None:
            example = getattr(like, name)
            if example is None:
                return None
            return (
                torch.stack([getattr(state, name) for state in states])
                if states
                else example.new_empty(0, *example.shape)
            )

        positions, velocities, energy = (
            together("positions"),
            together("velocities"),
            together("energy"),
        )
        assert positions is not None
        assert velocities is not None
        assert energy is not None
        return cls(positions, velocities, energy, together("members"), together("dipole"))

    @classmethod
    def join(cls, parts: Sequence["Track"]) -> "Track":
        """Put stretches of a way one after the other."""

        def joined(name: str) -> Tensor:
            return torch.cat([getattr(part, name) for part in parts])

        first = parts[0]
        if len(parts) == 1:
            return first
        return cls(
            joined("positions"),
            joined("velocities"),
            joined("energy"),
            None if first.members is None else joined("members"),
            None if first.dipole is None else joined("dipole"),
        )
