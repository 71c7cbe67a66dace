"""Nosé-Hoover chains (Martyna, Klein and Tuckerman 1992, doi:10.1063/1.463940)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from palirs.dynamics.forces import Field
from palirs.dynamics.state import State, degrees_of_freedom, kinetic_energy
from palirs.dynamics.verlet import verlet
from palirs.units import BOLTZMANN, SPEED_OF_LIGHT

SUZUKI = (1 / (2 - 2 ** (1 / 3)), -(2 ** (1 / 3)) / (2 - 2 ** (1 / 3)), 1 / (2 - 2 ** (1 / 3)))
"""Weights of a fourth-order step (Suzuki 1990, Yoshida 1990)."""


@dataclass(frozen=True)
class Chain:
    """A chain of M thermostats for each of B trajectories.

    Attributes
    ----------
    positions : Tensor
        ξ, shape ``[B, M]``.
    velocities : Tensor
        dξ/dt, shape ``[B, M]`` [fs⁻¹].
    masses : Tensor
        Q, shape ``[B, M]`` [eV fs²].
    temperature : Tensor
        Shape ``[B]`` [K].
    """

    positions: Tensor
    velocities: Tensor
    masses: Tensor
    temperature: Tensor

    def only(self, trajectories: Sequence[int]) -> "Chain":
        """Return the thermostats of some of the trajectories."""
        kept = list(trajectories)
        return Chain(
            self.positions[kept], self.velocities[kept], self.masses[kept], self.temperature[kept]
        )

    def values(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return the arrays of a trajectory that change."""
        return {
            "chain_positions": self.positions[trajectory].numpy(),
            "chain_velocities": self.velocities[trajectory].numpy(),
        }


def chain(state: State, temperature: Tensor, frequency: float = 4000.0, length: int = 3) -> Chain:
    """Return thermostats at rest.

    Q₁ = g k_B T/ω², Q_j = k_B T/ω² with g degrees of freedom and ω = 2πc times ``frequency``
    [cm⁻¹].
    """
    omega = 2 * torch.pi * SPEED_OF_LIGHT * frequency
    freedom = degrees_of_freedom(state).double()
    masses = (BOLTZMANN * temperature / omega**2)[:, None].repeat(1, length)
    masses[:, 0] *= freedom
    return Chain(torch.zeros_like(masses), torch.zeros_like(masses), masses, temperature)


def nose_hoover(
    state: State, thermostat: Chain, field: Field, timestep: float
) -> tuple[State, Chain]:
    """Advance every trajectory and its thermostats by one step.

    Half a step of the chain, velocity Verlet, half a step of the chain.

    Parameters
    ----------
    state : State
        Before the step.
    thermostat : Chain
        Before the step, from :func:`chain`.
    field : Field
        Forces.
    timestep : float
        Δt [fs].
    """
    state, thermostat = _half(state, thermostat, timestep)
    return _half(verlet(state, field, timestep), thermostat, timestep)


def conserved(state: State, thermostat: Chain) -> Tensor:
    """Return the conserved energy of atoms and thermostats, shape ``[B]`` [eV]."""
    thermal = BOLTZMANN * thermostat.temperature
    kinetic = 0.5 * (thermostat.masses * thermostat.velocities**2).sum(dim=1)
    potential = thermal * (
        degrees_of_freedom(state) * thermostat.positions[:, 0]
        + thermostat.positions[:, 1:].sum(dim=1)
    )
    return state.energy + kinetic_energy(state) + kinetic + potential


def _half(state: State, thermostat: Chain, timestep: float) -> tuple[State, Chain]:
    """Advance the thermostats by half a step and scale the velocities.

    Martyna et al. 1996, doi:10.1080/00268979600100761.
    """
    thermal, freedom = BOLTZMANN * thermostat.temperature, degrees_of_freedom(state)
    masses, xi, v = thermostat.masses, thermostat.positions.clone(), thermostat.velocities.clone()
    kinetic, scale = 2 * kinetic_energy(state), torch.ones_like(thermal)
    length = masses.shape[1]

    def force(link: int) -> Tensor:
        if link == 0:
            return (kinetic - freedom * thermal) / masses[:, 0]
        return (masses[:, link - 1] * v[:, link - 1] ** 2 - thermal) / masses[:, link]

    for weight in SUZUKI:
        step = 0.5 * weight * timestep
        for link in reversed(range(length)):
            brake = torch.exp(-0.25 * step * v[:, link + 1]) if link + 1 < length else 1.0
            v[:, link] = (v[:, link] * brake + 0.5 * step * force(link)) * brake
        slow = torch.exp(-step * v[:, 0])
        scale, kinetic = scale * slow, kinetic * slow**2
        xi = xi + step * v
        for link in range(length):
            brake = torch.exp(-0.25 * step * v[:, link + 1]) if link + 1 < length else 1.0
            v[:, link] = (v[:, link] * brake + 0.5 * step * force(link)) * brake
    moved = replace(state, velocities=scale[state.system][:, None] * state.velocities)
    return moved, replace(thermostat, positions=xi, velocities=v)
