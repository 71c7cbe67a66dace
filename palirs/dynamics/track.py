"""Recorded frames of a batch of trajectories."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from palirs.dynamics.state import State


@dataclass(frozen=True)
class Track:
    """R recorded frames of B trajectories with N atoms in all.

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
        """Return the track of some states; ``like`` gives the shapes where there are none."""

        def stacked(name: str) -> Tensor:
            if states:
                return torch.stack([getattr(state, name) for state in states])
            example = getattr(like, name)
            return example.new_empty(0, *example.shape)

        return cls(
            stacked("positions"),
            stacked("velocities"),
            stacked("energy"),
            None if like.members is None else stacked("members"),
            None if like.dipole is None else stacked("dipole"),
        )

    @classmethod
    def join(cls, parts: Sequence["Track"]) -> "Track":
        """Return successive tracks of a batch as one."""

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
