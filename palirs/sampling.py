"""Exploration: MD driven by the committee, with the spread of its forces recorded along the way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from tqdm import tqdm

from palirs import keys
from palirs.dynamics import CommitteeField, Noise, State, initial_state, langevin
from palirs.mace.committee import Committee, force_spread, relative_force_error
from palirs.randomness import stream
from palirs.settings import Sampler


@dataclass(frozen=True)
class Walker:
    """One trajectory that goes on from iteration to iteration.

    Attributes
    ----------
    molecule : Atoms
        Elements and present positions; ``info['molecule']``.
    optimum : Atoms
        Where it starts again after it had to be stopped.
    temperature : float
        [K].
    replica : int
        Number among the trajectories of this molecule and temperature.
    velocities : numpy.ndarray or None
        Shape ``[atoms, 3]`` [Å/fs]; ``None`` before the first step and after a stop: they are drawn anew.
    """

    molecule: Atoms
    optimum: Atoms
    temperature: float
    replica: int
    velocities: np.ndarray | None = None

    @property
    def name(self) -> str:
        """Molecule, temperature and replica."""
        return f"{self.molecule.info[keys.MOLECULE]} {self.temperature:g} K #{self.replica}"


@dataclass(frozen=True)
class Trajectory:
    """What one walker recorded in one iteration.

    Attributes
    ----------
    walker : Walker
        As it stands at the end.
    times : numpy.ndarray
        Shape ``[F]`` [fs] since the start of the iteration.
    positions : numpy.ndarray
        Shape ``[F, atoms, 3]`` [Å].
    spread : numpy.ndarray
        Shape ``[F]`` [eV/Å]: largest force spread of any atom.
    stopped : str
        Why it ended early; empty if it did not.
    """

    walker: Walker
    times: np.ndarray
    positions: np.ndarray
    spread: np.ndarray
    stopped: str = ""

    def frame(self, index: int, iteration: int) -> Atoms:
        """Return one recorded frame with its origin in ``info``."""
        info = {
            keys.MOLECULE: self.walker.molecule.info[keys.MOLECULE],
            keys.ORIGIN: "exploration",
            keys.ITERATION: iteration,
            keys.TEMPERATURE: self.walker.temperature,
        }
        return Atoms(self.walker.molecule.numbers, positions=self.positions[index], info=info)


def walkers(optima: Sequence[Atoms], sampler: Sampler) -> list[Walker]:
    """Return fresh walkers at the optima: molecules × temperatures × replicas."""
    return [
        Walker(optimum, optimum, temperature, replica)
        for optimum in optima
        for temperature in sampler.temperatures
        for replica in range(sampler.replicas)
    ]


def explore(committee: Committee, group: Sequence[Walker], sampler: Sampler, seed: int, iteration: int) -> list[Trajectory]:
    """Run every walker for one iteration, all in one batch.

    Parameters
    ----------
    committee : Committee
        Its mean forces drive the MD, their spread is the uncertainty.
    group : sequence of Walker
        Where the trajectories stand.
    sampler : Sampler
        Settings.
    seed, iteration : int
        Name the random stream of each walker.
    """
    molecules = [walker.molecule for walker in group]
    noise = Noise(
        [stream(seed, "exploration", w.molecule.info[keys.MOLECULE], w.temperature, w.replica, iteration) for w in group],
        [len(atoms) for atoms in molecules],
    )
    temperature = torch.tensor([walker.temperature for walker in group], dtype=torch.float64)
    field = CommitteeField(committee, molecules)
    state = initial_state(molecules, field, temperature, noise, [walker.velocities for walker in group])
    recorder = _Recorder(state, sampler)
    bar = tqdm(range(1, sampler.steps + 1), desc=f"iteration {iteration} exploration", unit="step", leave=False, mininterval=2)
    for step in bar:
        state = recorder.hold(state, langevin(state, field, noise, sampler.timestep, sampler.friction, temperature))
        recorder.look(step, state)
        if not recorder.alive.any():
            break
    return [recorder.trajectory(number, walker, state) for number, walker in enumerate(group)]


class _Recorder:
    """Keeps frames and spreads, and ends trajectories that can no longer be trusted."""

    def __init__(self, state: State, sampler: Sampler):
        self.sampler = sampler
        self.alive = torch.ones(len(state.counts), dtype=torch.bool)
        self.reasons = [""] * len(state.counts)
        self._frames: list[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def hold(self, before: State, after: State) -> State:
        """Let stopped trajectories stay where they were."""
        if self.alive.all():
            return after
        moving = self.alive[after.system][:, None]
        return replace(
            after,
            positions=torch.where(moving, after.positions, before.positions),
            velocities=torch.where(moving, after.velocities, 0.0),
        )

    def look(self, step: int, state: State) -> None:
        """Check every trajectory; record at the interval."""
        members = state.members
        assert members is not None, "exploration needs the forces of every member"
        relative = largest(relative_force_error(members, self.sampler.epsilon), state)
        bad = self.alive & ~(relative <= self.sampler.relative_force_error)  # NaN is bad too
        for number in bad.nonzero()[:, 0].tolist():
            self.reasons[number] = f"relative force error {float(relative[number]):.2f} after {step * self.sampler.timestep:g} fs"
        self.alive = self.alive & ~bad
        if step % self.sampler.stride == 0:
            self._frames.append((step, state.positions.clone(), largest(force_spread(members), state), self.alive.clone()))

    def trajectory(self, number: int, walker: Walker, state: State) -> Trajectory:
        """Return what was recorded of one trajectory while it was alive."""
        kept = [
            (step, positions.split(state.counts)[number].numpy(), float(spread[number]))
            for step, positions, spread, alive in self._frames
            if alive[number]
        ]
        if self.reasons[number]:
            walker = replace(walker, molecule=walker.optimum, velocities=None)
        else:
            molecule = walker.molecule.copy()
            molecule.positions = state.positions.split(state.counts)[number].numpy()
            walker = replace(walker, molecule=molecule, velocities=state.velocities.split(state.counts)[number].numpy())
        return Trajectory(
            walker=walker,
            times=np.array([step * self.sampler.timestep for step, _, _ in kept]),
            positions=np.array([positions for _, positions, _ in kept]).reshape(-1, len(walker.molecule), 3),
            spread=np.array([spread for _, _, spread in kept]),
            stopped=self.reasons[number],
        )


def largest(per_atom: torch.Tensor, state: State) -> torch.Tensor:
    """Return the largest value of any atom of each trajectory, ``[B]``."""
    return per_atom.new_zeros(len(state.counts)).scatter_reduce(0, state.system, per_atom, "amax")
