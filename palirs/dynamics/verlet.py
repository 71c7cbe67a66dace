"""Velocity Verlet, without and with Berendsen's thermostat.

Swope et al. 1982, doi:10.1063/1.442716.
"""

from dataclasses import replace

import torch
from torch import Tensor

from palirs.dynamics.forces import Field
from palirs.dynamics.state import State, kinetic_energy, kinetic_temperature
from palirs.units import EV_PER_AMU_A2_FS2


def verlet(state: State, field: Field, timestep: float) -> State:
    """Advance every trajectory by one step at constant energy.

    v ← v + (Δt/2) F/m;  x ← x + Δt v;  new forces;  v ← v + (Δt/2) F/m.

    Parameters
    ----------
    state : State
        Before the step.
    field : Field
        Forces.
    timestep : float
        Δt [fs].
    """
    kick = 0.5 * timestep / (state.masses * EV_PER_AMU_A2_FS2)
    velocities = state.velocities + kick * state.forces
    moved = state.moved(state.positions + timestep * velocities, velocities, field)
    return replace(moved, velocities=velocities + kick * moved.forces)


def berendsen(
    state: State, field: Field, timestep: float, relaxation: float, temperature: Tensor
) -> State:
    """Advance every trajectory by one step with its temperature relaxing to the target.

    A velocity Verlet step, then v ← λ v with λ² = 1 + (Δt/τ)(T₀/T − 1), λ within [0.9, 1.1] as in
    ASE (Berendsen et al. 1984, doi:10.1063/1.448118). For equilibration: it does not sample the
    canonical ensemble.

    Parameters
    ----------
    state : State
        Before the step.
    field : Field
        Forces.
    timestep : float
        Δt [fs].
    relaxation : float
        τ [fs].
    temperature : Tensor
        T₀, shape ``[B]`` [K].
    """
    moved = verlet(state, field, timestep)
    ratio = temperature / kinetic_temperature(moved).clamp_min(1e-6)
    scale = torch.sqrt((1 + timestep / relaxation * (ratio - 1)).clamp(0.81, 1.21))
    supplied = kinetic_energy(moved) * (scale**2 - 1)
    return replace(
        moved,
        velocities=scale[state.system][:, None] * moved.velocities,
        heat=moved.heat + supplied,
    )
