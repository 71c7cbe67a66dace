"""The state of a batch of trajectories."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from palirs.dynamics.forces import Field
from palirs.dynamics.noise import Noise
from palirs.units import BOLTZMANN, EV_PER_AMU_A2_FS2


@dataclass(frozen=True)
class State:
    """Positions and momenta of B trajectories with N atoms in all, one after the other.

    Attributes
    ----------
    positions : Tensor
        Shape ``[N, 3]`` [Å], float64.
    velocities : Tensor
        Shape ``[N, 3]`` [Å/fs].
    forces : Tensor
        Shape ``[N, 3]`` [eV/Å] at these positions.
    energy : Tensor
        Shape ``[B]`` [eV], potential.
    members : Tensor or None
        Shape ``[members, N, 3]`` [eV/Å], forces of each member of a committee.
    dipole : Tensor or None
        Shape ``[B, 3]`` [e·Å], if the field gives it.
    heat : Tensor
        Shape ``[B]`` [eV], supplied by the thermostats so far.
    masses : Tensor
        Shape ``[N, 1]`` [amu].
    system : Tensor
        Shape ``[N]``, trajectory of each atom.
    counts : tuple of int
        Atoms of each trajectory.
    """

    positions: Tensor
    velocities: Tensor
    forces: Tensor
    energy: Tensor
    members: Tensor | None
    dipole: Tensor | None
    heat: Tensor
    masses: Tensor
    system: Tensor
    counts: tuple[int, ...]

    def moved(self, positions: Tensor, velocities: Tensor, field: Field) -> "State":
        """Return the state at new positions, with the forces there."""
        return replace(
            self, positions=positions, velocities=velocities, **field(positions)._asdict()
        )

    def only(self, trajectories: Sequence[int]) -> "State":
        """Return the state of some of the trajectories."""
        pieces = torch.arange(len(self.system)).split(self.counts)
        atoms = torch.cat([pieces[i] for i in trajectories])
        chosen = torch.tensor(list(trajectories))
        counts = tuple(self.counts[i] for i in trajectories)
        return State(
            positions=self.positions[atoms],
            velocities=self.velocities[atoms],
            forces=self.forces[atoms],
            energy=self.energy[chosen],
            members=None if self.members is None else self.members[:, atoms],
            dipole=None if self.dipole is None else self.dipole[chosen],
            heat=self.heat[chosen],
            masses=self.masses[atoms],
            system=torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)),
            counts=counts,
        )


def initial_state(
    molecules: Sequence[Atoms],
    field: Field,
    temperature: Tensor,
    noise: Noise,
    velocities: Sequence[np.ndarray | None] | None = None,
) -> State:
    """Return the state at the start of a batch of trajectories.

    Parameters
    ----------
    molecules : sequence of Atoms
        One per trajectory.
    field : Field
        Forces of the batch.
    temperature : Tensor
        Shape ``[B]`` [K], of the Maxwell-Boltzmann velocities; the centre of mass is at rest.
    noise : Noise
        Gives the velocities; each trajectory draws from its own stream.
    velocities : sequence, optional
        Velocities [Å/fs] of trajectories that are continued; ``None`` entries are drawn.
    """
    counts = tuple(len(atoms) for atoms in molecules)
    system = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    masses = torch.tensor(np.concatenate([atoms.get_masses() for atoms in molecules]))[:, None]
    drawn = noise.draw() * torch.sqrt(
        BOLTZMANN * temperature[system][:, None] / (masses * EV_PER_AMU_A2_FS2)
    )
    initial = without_drift(drawn, masses, system, len(counts))
    if velocities is not None:
        pieces = [
            piece if given is None else torch.tensor(given, dtype=torch.float64)
            for piece, given in zip(initial.split(counts), velocities, strict=True)
        ]
        initial = torch.cat(pieces)
    positions = torch.tensor(np.concatenate([atoms.positions for atoms in molecules]))
    return State(
        positions=positions,
        velocities=initial,
        heat=torch.zeros(len(counts), dtype=torch.float64),
        masses=masses,
        system=system,
        counts=counts,
        **field(positions)._asdict(),
    )


def without_drift(velocities: Tensor, masses: Tensor, system: Tensor, trajectories: int) -> Tensor:
    """Remove the velocity of the centre of mass of each trajectory."""
    momentum = velocities.new_zeros(trajectories, 3).index_add(0, system, masses * velocities)
    total = velocities.new_zeros(trajectories, 1).index_add(0, system, masses)
    return velocities - (momentum / total)[system]


def without_rotation(state: State) -> State:
    """Remove the rotation of each trajectory about its centre of mass.

    v ← v − ω × r with I ω = L. The inertia tensor of a linear molecule is singular; the component
    of ω along its axis is set to zero.
    """
    trajectories, system, masses = len(state.counts), state.system, state.masses

    def summed(per_atom: Tensor) -> Tensor:
        return per_atom.new_zeros(trajectories, *per_atom.shape[1:]).index_add(0, system, per_atom)

    centre = summed(masses * state.positions) / summed(masses)
    arms = state.positions - centre[system]
    momentum = summed(masses * torch.linalg.cross(arms, state.velocities))
    diagonal = (arms**2).sum(dim=1)[:, None, None] * torch.eye(3, dtype=arms.dtype)
    inertia = summed(masses[:, :, None] * (diagonal - arms[:, :, None] * arms[:, None, :]))
    inverse = torch.linalg.pinv(inertia, rtol=1e-8, hermitian=True)
    rotation = (inverse @ momentum[:, :, None])[:, :, 0]
    return replace(state, velocities=state.velocities - torch.linalg.cross(rotation[system], arms))


def kinetic_energy(state: State, velocities: Tensor | None = None) -> Tensor:
    """Return the kinetic energy of each trajectory, ``[B]`` [eV].

    Other ``velocities`` than those of the state may be given; those of several frames
    ``[..., N, 3]`` [Å/fs] give energies ``[..., B]``.
    """
    velocities = state.velocities if velocities is None else velocities
    kinetic = 0.5 * EV_PER_AMU_A2_FS2 * (state.masses * velocities**2).sum(dim=-1)
    index, shape = _flat_index(kinetic, state)
    return kinetic.new_zeros(shape.numel()).index_add(0, index, kinetic.reshape(-1)).reshape(shape)


def total_energy(state: State) -> Tensor:
    """Return the conserved energy under Verlet, Berendsen or Langevin, shape ``[B]`` [eV].

    Potential and kinetic energy, less the heat supplied by the thermostat (Bussi and Parrinello
    2007, doi:10.1103/PhysRevE.75.056707). For Nosé-Hoover chains see
    :func:`palirs.dynamics.conserved`.
    """
    return state.energy + kinetic_energy(state) - state.heat


def degrees_of_freedom(state: State) -> Tensor:
    """Return 3N − 3 for each trajectory, shape ``[B]``: the centre of mass is at rest."""
    return 3 * torch.tensor(state.counts) - 3


def kinetic_temperature(state: State, velocities: Tensor | None = None) -> Tensor:
    """Return the temperature of each trajectory [K] over its 3N − 3 degrees of freedom.

    Shapes are those of :func:`kinetic_energy`.
    """
    return 2 * kinetic_energy(state, velocities) / (degrees_of_freedom(state) * BOLTZMANN)


def largest(per_atom: Tensor, state: State) -> Tensor:
    """Return the largest value of any atom of each trajectory, ``[..., B]`` from ``[..., N]``.

    Of values that are not negative, as spreads are.
    """
    index, shape = _flat_index(per_atom, state)
    return (
        per_atom.new_zeros(shape.numel())
        .scatter_reduce(0, index, per_atom.reshape(-1), "amax")
        .reshape(shape)
    )


def average(per_atom: Tensor, state: State) -> Tensor:
    """Return the mean over the atoms of each trajectory, ``[..., B]`` from ``[..., N]``."""
    index, shape = _flat_index(per_atom, state)
    summed = per_atom.new_zeros(shape.numel()).scatter_add(0, index, per_atom.reshape(-1))
    summed = summed.reshape(shape)
    return summed / torch.tensor(state.counts, dtype=per_atom.dtype, device=per_atom.device)


def _flat_index(per_atom: Tensor, state: State) -> tuple[Tensor, torch.Size]:
    """Return the flat index from values ``[..., N]`` into ``[..., B]``, and the latter's shape."""
    frames, trajectories = math.prod(per_atom.shape[:-1]), len(state.counts)
    index = (trajectories * torch.arange(frames)[:, None] + state.system).reshape(-1)
    return index, torch.Size((*per_atom.shape[:-1], trajectories))
