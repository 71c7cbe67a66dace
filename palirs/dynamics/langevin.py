"""Langevin dynamics with the BAOAB splitting (Leimkuhler and Matthews 2013, doi:10.1063/1.4802990)."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from palirs.dynamics.forces import Field
from palirs.dynamics.noise import Noise
from palirs.dynamics.state import State, kinetic_energy, without_drift
from palirs.units import BOLTZMANN, EV_PER_AMU_A2_FS2


def langevin(state: State, field: Field, noise: Noise, timestep: float, friction: float, temperature: Tensor) -> State:
    """Advance every trajectory by one step.

    v ← v + (Δt/2) F/m;  x ← x + (Δt/2) v;  v ← c v + sqrt((1 − c²) k_B T/m) ξ with c = exp(−γΔt);  x ← x + (Δt/2) v;  new forces;
    v ← v + (Δt/2) F/m. The noise leaves the centre of mass at rest. With γ = 0 this is velocity Verlet.
    What the middle step adds to the kinetic energy is counted as heat.

    Parameters
    ----------
    state : State
        Before the step.
    field : Field
        Forces.
    noise : Noise
        ξ, one stream per trajectory.
    timestep : float
        Δt [fs].
    friction : float
        γ [ps⁻¹].
    temperature : Tensor
        Shape ``[B]`` [K].
    """
    half = 0.5 * timestep
    kick = half / (state.masses * EV_PER_AMU_A2_FS2)
    damping = math.exp(-friction * 1e-3 * timestep)
    velocities = state.velocities + kick * state.forces
    positions = state.positions + half * velocities
    heat = state.heat
    if friction > 0:
        width = torch.sqrt((1 - damping**2) * BOLTZMANN * temperature[state.system][:, None] / (state.masses * EV_PER_AMU_A2_FS2))
        before = velocities
        velocities = without_drift(damping * velocities + width * noise.draw(), state.masses, state.system, len(state.counts))
        heat = heat + kinetic_energy(state, velocities) - kinetic_energy(state, before)
    positions = positions + half * velocities
    moved = state.moved(positions, velocities, field)
    return replace(moved, velocities=velocities + kick * moved.forces, heat=heat)
