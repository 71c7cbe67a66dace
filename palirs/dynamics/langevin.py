"""Langevin dynamics with the BAOAB splitting.

Leimkuhler and Matthews 2013, doi:10.1063/1.4802990.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from palirs.dynamics.device import DeviceMotion
from palirs.dynamics.forces import Field
from palirs.dynamics.motion import Motion, Moving, Stretch
from palirs.dynamics.noise import Noise
from palirs.dynamics.state import State, kinetic_energy, without_drift
from palirs.dynamics.track import Track
from palirs.units import BOLTZMANN, EV_PER_AMU_A2_FS2

MOVING = ("positions", "velocities", "forces", "heat", "energy")
"""Tensors of a state that change in every step, besides the forces of the members."""


def langevin(
    state: State, field: Field, noise: Noise, timestep: float, friction: float, temperature: Tensor
) -> State:
    """Advance every trajectory by one step.

    v ← v + (Δt/2) F/m;  x ← x + (Δt/2) v;  v ← c v + sqrt((1 − c²) k_B T/m) ξ with c = exp(−γΔt);
    x ← x + (Δt/2) v;  new forces;  v ← v + (Δt/2) F/m. The noise leaves the centre of mass at rest.
    With γ = 0 this is velocity Verlet. What the middle step adds to the kinetic energy is the heat
    that the thermostat supplies.

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
    kick, damping, width = _factors(state, timestep, friction, temperature)
    velocities = state.velocities + kick * state.forces
    positions = state.positions + half * velocities
    heat = state.heat
    if friction > 0:
        before = velocities
        velocities = without_drift(
            damping * velocities + width * noise.draw(),
            state.masses,
            state.system,
            len(state.counts),
        )
        heat = heat + kinetic_energy(state, velocities) - kinetic_energy(state, before)
    positions = positions + half * velocities
    moved = state.moved(positions, velocities, field)
    return replace(moved, velocities=velocities + kick * moved.forces, heat=heat)


def langevin_steps(
    state: State,
    motion: Motion | DeviceMotion,
    noise: Noise,
    timestep: float,
    friction: float,
    temperature: Tensor,
    steps: int,
    recorded: range,
) -> tuple[State, Track]:
    """Do many steps in compiled code; on a CPU with the results of :func:`langevin`, bit by bit.

    Parameters
    ----------
    motion : Motion or DeviceMotion
        Of the field's batch.
    steps : int
        How many.
    recorded : range
        Which of them, counted from 1, are kept.
    """
    kick, damping, width = _factors(state, timestep, friction, temperature)
    members = torch.empty(motion.members, *state.positions.shape, dtype=torch.float64)
    after = replace(
        state, members=members, **{name: getattr(state, name).clone() for name in MOVING}
    )
    moving = Moving(*(getattr(after, name).numpy() for name in (*MOVING, "members")))
    masses, kicks, widths = (
        values[:, 0].contiguous().numpy() for values in (state.masses, kick, width)
    )
    tracks, done = [], 0
    while done < steps:
        ahead = noise.ahead(steps - done).numpy() if friction > 0 else None
        count = steps - done if ahead is None else len(ahead)
        kept = [step - done for step in recorded if done < step <= done + count]
        stretch = Stretch(
            count, kept, timestep, damping, 0.5 * EV_PER_AMU_A2_FS2, masses, kicks, widths, ahead
        )
        tracks.append(Track(*map(torch.from_numpy, motion.langevin(moving, stretch))))
        done += count
    return after, Track.join(tracks)


def _factors(
    state: State, timestep: float, friction: float, temperature: Tensor
) -> tuple[Tensor, float, Tensor]:
    """Return the factors of forces ``[N, 1]``, of velocities, and of noise ``[N, 1]``."""
    inertia = state.masses * EV_PER_AMU_A2_FS2
    damping = math.exp(-friction * 1e-3 * timestep)
    width = torch.sqrt((1 - damping**2) * BOLTZMANN * temperature[state.system][:, None] / inertia)
    return 0.5 * timestep / inertia, damping, width
