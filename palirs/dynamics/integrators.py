"""Integrators with their settings, behind one interface for exploration and production."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from palirs.dynamics import nose_hoover as chains
from palirs.dynamics.forces import Field
from palirs.dynamics.langevin import langevin, langevin_steps
from palirs.dynamics.noise import Noise
from palirs.dynamics.rings import (
    Ring,
    ring_energy,
    ring_polymer,
    virial_kinetic_energy,
)
from palirs.dynamics.state import State, total_energy
from palirs.dynamics.track import Track
from palirs.dynamics.verlet import berendsen

EVALUATIONS = 200_000
"""Atoms times members evaluated between two checks of a batch: some seconds."""
STEPS = 128
"""Most steps between two checks: what is lost where a trajectory breaks or is killed."""


class Variables(Protocol):
    """What moves besides the atoms of a batch: thermostats, or the modes of ring polymers."""

    def only(self, trajectories: Sequence[int]) -> Self:
        """Return those of some of the trajectories."""
        ...

    def values(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return the arrays of a trajectory, for :meth:`Integrator.restored`."""
        ...


def steps_at_once(state: State, field: Field) -> int:
    """Return how many steps to run per call; one where each step returns to Python anyway."""
    if field.motion is None:
        return 1
    return max(1, min(STEPS, EVALUATIONS // (len(state.positions) * field.motion.members)))


class Integrator(Protocol):
    """Advances a batch, and further variables if it has any."""

    def begin(self, state: State, before: Variables | None) -> Variables | None:
        """Return the variables at the start, after those of the integrator before it."""
        ...

    def restored(self, state: State, values: Sequence[dict[str, np.ndarray]]) -> Variables | None:
        """Return the variables from their :meth:`Variables.values` in each trajectory."""
        ...

    def step(
        self, state: State, chain: Variables | None, field: Field, noise: Noise
    ) -> tuple[State, Variables | None]:
        """Advance every trajectory by one step."""
        ...

    def run(
        self,
        state: State,
        chain: Variables | None,
        field: Field,
        noise: Noise,
        steps: int,
        recorded: range,
    ) -> tuple[State, Variables | None, Track]:
        """Advance every trajectory by some steps; keep the ``recorded`` ones, counted from 1."""
        ...

    def conserved(self, state: State, chain: Variables | None) -> Tensor:
        """Return what exact dynamics would conserve, shape ``[B]`` [eV]."""
        ...


class _Stepwise(ABC):
    """An integrator that returns to Python after each step."""

    def run(
        self,
        state: State,
        chain: Variables | None,
        field: Field,
        noise: Noise,
        steps: int,
        recorded: range,
    ) -> tuple[State, Variables | None, Track]:
        """Do one step after the other."""
        kept = []
        for number in range(1, steps + 1):
            state, chain = self.step(state, chain, field, noise)
            if number in recorded:
                kept.append(state)
        return state, chain, Track.of(kept, state)

    @abstractmethod
    def step(
        self, state: State, chain: Variables | None, field: Field, noise: Noise
    ) -> tuple[State, Variables | None]:
        """Advance every trajectory by one step."""


class _Plain(_Stepwise):
    """An integrator whose thermostat has no variables."""

    def begin(self, state: State, before: Variables | None) -> None:
        """Return ``None``: there are no thermostat variables."""

    def restored(self, state: State, values: Sequence[dict[str, np.ndarray]]) -> None:
        """Return ``None``."""

    def conserved(self, state: State, chain: Variables | None) -> Tensor:
        """See :func:`palirs.dynamics.total_energy`."""
        return total_energy(state)


@dataclass(frozen=True)
class Langevin(_Plain):
    """BAOAB with time step [fs], friction [ps⁻¹] (0: velocity Verlet), temperature ``[B]`` [K]."""

    timestep: float
    friction: float
    temperature: Tensor

    def step(
        self, state: State, chain: Variables | None, field: Field, noise: Noise
    ) -> tuple[State, None]:
        """See :func:`palirs.dynamics.langevin`."""
        return langevin(state, field, noise, self.timestep, self.friction, self.temperature), None

    def run(
        self,
        state: State,
        chain: Variables | None,
        field: Field,
        noise: Noise,
        steps: int,
        recorded: range,
    ) -> tuple[State, Variables | None, Track]:
        """Run all steps in compiled code where the field has it."""
        if field.motion is None:
            return super().run(state, chain, field, noise, steps, recorded)
        parameters = self.timestep, self.friction, self.temperature
        state, track = langevin_steps(state, field.motion, noise, *parameters, steps, recorded)
        return state, None, track


@dataclass(frozen=True)
class Berendsen(_Plain):
    """Berendsen's thermostat: time step and relaxation time [fs], temperature ``[B]`` [K]."""

    timestep: float
    relaxation: float
    temperature: Tensor

    def step(
        self, state: State, chain: Variables | None, field: Field, noise: Noise
    ) -> tuple[State, None]:
        """See :func:`palirs.dynamics.berendsen`."""
        return berendsen(state, field, self.timestep, self.relaxation, self.temperature), None


@dataclass(frozen=True)
class NoseHoover(_Stepwise):
    """Nosé-Hoover chain: time step [fs], temperature ``[B]`` [K], frequency [cm⁻¹], links."""

    timestep: float
    temperature: Tensor
    frequency: float = 4000.0
    length: int = 3

    def begin(self, state: State, before: Variables | None) -> chains.Chain:
        """Return thermostats at rest."""
        return chains.chain(state, self.temperature, self.frequency, self.length)

    def restored(
        self, state: State, values: Sequence[dict[str, np.ndarray]]
    ) -> chains.Chain | None:
        """Return the thermostats, if they have begun."""
        if "chain_positions" not in values[0]:
            return None
        positions, velocities = (
            torch.tensor(np.array([each[f"chain_{name}"] for each in values]))
            for name in ("positions", "velocities")
        )
        return replace(self.begin(state, None), positions=positions, velocities=velocities)

    def step(
        self, state: State, chain: Variables | None, field: Field, noise: Noise
    ) -> tuple[State, chains.Chain]:
        """See :func:`palirs.dynamics.nose_hoover`."""
        assert isinstance(chain, chains.Chain)
        return chains.nose_hoover(state, chain, field, self.timestep)

    def conserved(self, state: State, chain: Variables | None) -> Tensor:
        """See :func:`palirs.dynamics.conserved`."""
        assert isinstance(chain, chains.Chain)
        return chains.conserved(state, chain)


@dataclass(frozen=True)
class RingPolymer:
    """BCOCB with time step [fs], friction of the centroids [ps⁻¹] and temperature ``[B]`` [K]."""

    timestep: float
    friction: float
    temperature: Tensor

    def begin(self, state: State, before: Variables | None) -> Variables | None:
        """Return the rings of the thermalisation."""
        return before

    def restored(self, state: State, values: Sequence[dict[str, np.ndarray]]) -> Ring:
        """Return the rings."""
        return Ring.restored(values, state.counts)

    def step(
        self, state: State, chain: Variables | None, field: Field, noise: Noise
    ) -> tuple[State, Ring]:
        """See :func:`palirs.dynamics.ring_polymer`."""
        assert isinstance(chain, Ring)
        parameters = self.timestep, self.friction, self.temperature
        return ring_polymer(state, chain, field, noise, *parameters)

    def run(
        self,
        state: State,
        chain: Variables | None,
        field: Field,
        noise: Noise,
        steps: int,
        recorded: range,
    ) -> tuple[State, Variables | None, Track]:
        """Do one step after the other; the track has the beads too."""
        states, rings = [], []
        for number in range(1, steps + 1):
            state, chain = self.step(state, chain, field, noise)
            if number in recorded:
                states.append(state)
                rings.append(chain)
        track = Track.of(states, state)
        if not states:
            return state, chain, track
        kinetic = [
            virial_kinetic_energy(at, ring, self.temperature)
            for at, ring in zip(states, rings, strict=True)
        ]
        track = replace(
            track,
            members=torch.stack([ring.members for ring in rings]),
            beads=torch.stack([ring.beads for ring in rings]),
            kinetic=torch.stack(kinetic),
        )
        return state, chain, track

    def conserved(self, state: State, chain: Variables | None) -> Tensor:
        """See :func:`palirs.dynamics.ring_energy`."""
        assert isinstance(chain, Ring)
        return ring_energy(state, chain, self.temperature)
