"""Molecular dynamics of many isolated molecules in one batch of tensors."""

from palirs.dynamics.forces import CommitteeField, EngineField, Field, RingField
from palirs.dynamics.integrators import Integrator
from palirs.dynamics.integrity import Integrity
from palirs.dynamics.langevin import langevin, langevin_steps
from palirs.dynamics.noise import Noise
from palirs.dynamics.nose_hoover import Chain, chain, conserved, nose_hoover
from palirs.dynamics.rings import (
    Ring,
    initial_rings,
    kinetic_share,
    ring_energy,
    ring_polymer,
    virial_kinetic_energy,
)
from palirs.dynamics.state import (
    State,
    average,
    initial_state,
    kinetic_energy,
    kinetic_temperature,
    largest,
    total_energy,
    without_rotation,
)
from palirs.dynamics.track import Track
from palirs.dynamics.verlet import berendsen, verlet

__all__ = [
    "Chain",
    "CommitteeField",
    "EngineField",
    "Field",
    "Integrator",
    "Integrity",
    "Noise",
    "Ring",
    "RingField",
    "State",
    "Track",
    "average",
    "berendsen",
    "chain",
    "conserved",
    "initial_rings",
    "initial_state",
    "kinetic_energy",
    "kinetic_share",
    "kinetic_temperature",
    "langevin",
    "langevin_steps",
    "largest",
    "nose_hoover",
    "ring_energy",
    "ring_polymer",
    "total_energy",
    "verlet",
    "virial_kinetic_energy",
    "without_rotation",
]
