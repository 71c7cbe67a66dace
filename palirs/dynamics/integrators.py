"""Integrators with their settings, behind one interface for exploration and production."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from palirs.dynamics import nose_hoover as chains
from palirs.dynamics.forces import Field
from palirs.dynamics.langevin import langevin, langevin_steps
from palirs.dynamics.noise import Noise
from palirs.dynamics.nose_hoover import Chain
from palirs.dynamics.state import State, total_energy
from palirs.dynamics.track import Track
from palirs.dynamics.verlet import berendsen

EVALUATIONS = 200_000
"""Atoms times members evaluated between two checks of a batch: some seconds."""
STEPS = 128
"""Most steps between two checks: what is lost where a trajectory breaks or is killed."""


def steps_at_once(state: State, field: Field) -> int:
    """Return how many steps to run per call; one where each step returns to Python anyway."""
    if field.motion is None:
        return 1
    return max(1, min(STEPS, EVALUATIONS // (len(state.positions) * field.motion.members)))


class Integrator(Protocol):
    """Advances a batch; variables of the thermostat, if it has any, are a :class:`Chain`."""

    def begin(self, state: State) -> Chain | None:
        """Return the variables of the thermostat at the start."""
        ...

    def step(
        self, state: State, chain: Chain | None, field: Field, noise: Noise
    ) -> tuple[State, Chain | None]:
        """Advance every trajectory by one step."""
        ...

    def run(
        self,
        state: State,
        chain: Chain | None,
        field: Field,
        noise: Noise,
        steps: int,
        recorded: range,
    ) -> tuple[State, Chain | None, Track]:
        """Advance every trajectory by some steps; keep the ``recorded`` ones, counted from 1."""
        ...

    def conserved(self, state: State, chain: Chain | None) -> Tensor:
        """Return what exact dynamics would conserve, shape ``[B]`` [eV]."""
        ...


class _Stepwise(ABC):
    """An integrator that returns to Python after each step."""

    def run(
        self,
        state: State,
        chain: Chain | None,
        field: Field,
        noise: Noise,
        steps: int,
        recorded: range,
    ) -> tuple[State, Chain | None, Track]:
        """Do one step after the other."""
        kept = []
        for number in range(1, steps + 1):
            state, chain = self.step(state, chain, field, noise)
            if number in recorded:
                kept.append(state)
        return state, chain, Track.of(kept, state)

    @abstractmethod
    def step(
        self, state: State, chain: Chain | None, field: Field, noise: Noise
    ) -> tuple[State, Chain | None]:
        """Advance every trajectory by one step."""


class _Plain(_Stepwise):
    """An integrator whose thermostat has no variables."""

    def begin(self, state: State) -> None:
        """Return ``None``: there are no thermostat variables."""

    def conserved(self, state: State, chain: Chain | None) -> Tensor:
        """See :func:`palirs.dynamics.total_energy`."""
        return total_energy(state)


@dataclass(frozen=True)
class Langevin(_Plain):
    """BAOAB with time step [fs], friction [ps⁻¹] (0: velocity Verlet), temperature ``[B]`` [K]."""

    timestep: float
    friction: float
    temperature: Tensor

    def step(
        self, state: State, chain: Chain | None, field: Field, noise: Noise
    ) -> tuple[State, None]:
        """See :func:`palirs.dynamics.langevin`."""
        return langevin(state, field, noise, self.timestep, self.friction, self.temperature), None

    def run(
        self,
        state: State,
        chain: Chain | None,
        field: Field,
        noise: Noise,
        steps: int,
        recorded: range,
    ) -> tuple[State, Chain | None, Track]:
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
        self, state: State, chain: Chain | None, field: Field, noise: Noise
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

    def begin(self, state: State) -> Chain:
        """Return thermostats at rest."""
        return chains.chain(state, self.temperature, self.frequency, self.length)

    def step(
        self, state: State, chain: Chain | None, field: Field, noise: Noise
    ) -> tuple[State, Chain]:
        """See :func:`palirs.dynamics.nose_hoover`."""
        assert chain is not None
        return chains.nose_hoover(state, chain, field, self.timestep)

    def conserved(self, state: State, chain: Chain | None) -> Tensor:
        """See :func:`palirs.dynamics.conserved`."""
        assert chain is not None
        return chains.conserved(state, chain)
