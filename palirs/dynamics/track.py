"""Recorded frames of a batch of trajectories."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

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
    beads : Tensor or None
        Shape ``[R, beads, N, 3]`` [Å], of ring polymers; ``positions`` and ``velocities`` are then
        those of the centroids, ``energy`` the mean over the beads, and ``members`` have shape
        ``[R, beads, members, N, 3]``.
    kinetic : Tensor or None
        Shape ``[R, B]`` [eV], the centroid virial estimator of ring polymers.
    """

    positions: Tensor
    velocities: Tensor
    energy: Tensor
    members: Tensor | None = None
    dipole: Tensor | None = None
    beads: Tensor | None = None
    kinetic: Tensor | None = None

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
        first = parts[0]
        if len(parts) == 1:
            return first
        joined: dict[str, Any] = {
            field.name: torch.cat([getattr(part, field.name) for part in parts])
            for field in fields(cls)
            if getattr(first, field.name) is not None
        }
        return cls(**joined)

    def only(self, atoms: Tensor, trajectories: Sequence[int]) -> "Track":
        """Return the track of some trajectories, and of their atoms, without the members."""
        chosen = list(trajectories)
        return Track(
            self.positions[:, atoms],
            self.velocities[:, atoms],
            self.energy[:, chosen],
            dipole=None if self.dipole is None else self.dipole[:, chosen],
            beads=None if self.beads is None else self.beads[:, :, atoms],
            kinetic=None if self.kinetic is None else self.kinetic[:, chosen],
        )
