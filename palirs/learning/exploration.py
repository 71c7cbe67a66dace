"""Exploration: MD driven by the committee, with the spread of its forces recorded along the way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from torch import Tensor
from tqdm import tqdm

from palirs import keys
from palirs.dynamics import (
    CommitteeField,
    Integrity,
    Noise,
    State,
    Track,
    average,
    initial_state,
    largest,
)
from palirs.dynamics.integrators import Langevin, steps_at_once
from palirs.geometry.electrons import Electrons
from palirs.mace.models.committee import Committee, force_spread, relative_force_error
from palirs.mace.settings import Evaluation
from palirs.randomness import stream
from palirs.settings import Sampler

AT_REST = 2.0
"""A molecule at its optimum has no potential energy: its velocities are drawn at this many times
the temperature, half of which the potential has taken up after a vibration; friction alone would
need several picoseconds."""


@dataclass(frozen=True)
class Walker:
    """A trajectory that continues from iteration to iteration.

    Attributes
    ----------
    molecule : Atoms
        Elements and current positions; ``info['molecule']``.
    optimum : Atoms
        Where it restarts after it was stopped.
    temperature : float
        [K].
    replica : int
        Number among the trajectories of this molecule and temperature.
    velocities : numpy.ndarray or None
        Shape ``[atoms, 3]`` [Å/fs]; ``None`` before the first step and after a stop: new
        ones are drawn.
    """

    molecule: Atoms
    optimum: Atoms
    temperature: float
    replica: int
    velocities: np.ndarray | None = None

    @property
    def molecule_name(self) -> str:
        """Name of the molecule."""
        return str(self.molecule.info[keys.MOLECULE])

    @property
    def name(self) -> str:
        """Molecule, temperature and replica."""
        return f"{self.molecule_name} {self.temperature:g} K #{self.replica}"


@dataclass(frozen=True)
class Trajectory:
    """What was recorded of one walker in one iteration.

    Attributes
    ----------
    walker : Walker
        At the end.
    times : numpy.ndarray
        Shape ``[F]`` [fs] since the start of the iteration.
    positions : numpy.ndarray
        Shape ``[F, atoms, 3]`` [Å].
    spread : numpy.ndarray
        Shape ``[F]`` [eV/Å]: largest force spread of any atom.
    mean_spread : numpy.ndarray
        Shape ``[F]`` [eV/Å]: mean over the atoms.
    stopped : str
        Why it ended early; empty if it did not.
    """

    walker: Walker
    times: np.ndarray
    positions: np.ndarray
    spread: np.ndarray
    mean_spread: np.ndarray
    stopped: str = ""

    def frame(self, index: int, iteration: int) -> Atoms:
        """Return one recorded frame with its origin in ``info``."""
        info = {
            keys.MOLECULE: self.walker.molecule_name,
            **Electrons.of(self.walker.molecule).info,
            keys.ORIGIN: "exploration",
            keys.ITERATION: iteration,
            keys.TEMPERATURE: self.walker.temperature,
            keys.GROUP: f"{self.walker.name}, iteration {iteration}",
        }
        return Atoms(self.walker.molecule.numbers, positions=self.positions[index], info=info)


def new_walkers(optima: Sequence[Atoms], sampler: Sampler) -> list[Walker]:
    """Return walkers at the optima: molecules × temperatures × replicas."""
    return [
        Walker(optimum, optimum, temperature, replica)
        for optimum in optima
        for temperature in sampler.temperatures
        for replica in range(sampler.replicas)
    ]


def explore(
    committee: Committee,
    walkers: Sequence[Walker],
    sampler: Sampler,
    seed: int,
    iteration: int,
    evaluation: Evaluation | None = None,
) -> list[Trajectory]:
    """Run every walker for one iteration, all in one batch, which those that are stopped leave.

    Parameters
    ----------
    committee : Committee
        Its mean forces drive the MD, their spread is the uncertainty.
    walkers : sequence of Walker
        Before the iteration.
    sampler : Sampler
        Settings.
    seed, iteration : int
        Name the random stream of each walker.
    evaluation : Evaluation, optional
        Backend and device of the committee.
    """
    molecules = [walker.molecule for walker in walkers]
    streams = [
        stream(seed, "exploration", w.molecule_name, w.temperature, w.replica, iteration)
        for w in walkers
    ]
    noise = Noise(streams, [len(atoms) for atoms in molecules])
    temperature = torch.tensor([walker.temperature for walker in walkers], dtype=torch.float64)
    field = CommitteeField(committee.evaluator([atoms.numbers for atoms in molecules], evaluation))
    velocities = [walker.velocities for walker in walkers]
    state = initial_state(molecules, field, AT_REST * temperature, noise, velocities)
    recorder, step = _Recorder(walkers, sampler), 0
    with tqdm(
        total=sampler.steps,
        desc=f"iteration {iteration} exploration",
        unit="step",
        leave=False,
        mininterval=2,
    ) as bar:
        while step < sampler.steps and recorder.running:
            count = min(steps_at_once(state, field), sampler.steps - step)
            moves = Langevin(sampler.timestep, sampler.friction, temperature)
            state, _, track = moves.run(state, None, field, noise, count, range(1, count + 1))
            stays = recorder.look(step, track, state)
            step += count
            bar.update(count)
            if any(stays) and not all(stays):
                rest = [number for number, stay in enumerate(stays) if stay]
                state, noise, temperature = state.only(rest), noise.only(rest), temperature[rest]
                field = field.only(rest)
    return recorder.trajectories(state)


class _Recorder:
    """Records frames and spreads, and stops trajectories whose forces cannot be trusted."""

    def __init__(self, walkers: Sequence[Walker], sampler: Sampler):
        self.walkers, self.sampler = walkers, sampler
        self.running = list(range(len(walkers)))
        self.integrity = Integrity([walker.optimum for walker in walkers])
        self.reasons = [""] * len(walkers)
        self._frames: list[list[tuple[float, np.ndarray, float, float]]] = [[] for _ in walkers]

    def look(self, before: int, track: Track, state: State) -> list[bool]:
        """Check the running trajectories after a block of steps; return which of them go on."""
        assert track.members is not None, "exploration needs the forces of every member"
        relative = largest(relative_force_error(track.members, self.sampler.epsilon), state)
        good = relative <= self.sampler.relative_force_error  # False for NaN
        per_atom = force_spread(track.members)
        spread = torch.stack([largest(per_atom, state), average(per_atom, state)], dim=-1)
        for moment in range(len(track)):
            recorded = (before + moment + 1) % self.sampler.stride == 0
            if recorded or not bool(good[moment].all()):
                time = (before + moment + 1) * self.sampler.timestep
                noted = spread[moment] if recorded else None
                self._look(
                    time,
                    track.positions[moment],
                    state.counts,
                    relative[moment],
                    good[moment],
                    noted,
                )
        stays = [not self.reasons[number] for number in self.running]
        if not all(stays):
            self.running = [
                number for number, stay in zip(self.running, stays, strict=True) if stay
            ]
            if self.running:
                self.integrity = Integrity(
                    [self.walkers[number].optimum for number in self.running]
                )
        return stays

    def _look(
        self,
        time: float,
        positions: Tensor,
        counts: Sequence[int],
        relative: Tensor,
        good: Tensor,
        spread: Tensor | None,
    ) -> None:
        """Check one moment; without ``spread`` only the forces, and nothing is recorded."""
        broken = self.integrity.broken(positions)
        by_molecule = positions.split(counts)
        for place, (number, own) in enumerate(zip(self.running, by_molecule, strict=True)):
            if self.reasons[number] or (good[place] and spread is None):
                continue
            if place in broken:
                self.reasons[number] = f"{broken[place]}, after {time:g} fs"
            elif not good[place]:
                error = float(relative[place])
                what = f"relative force error {error:.2f}" if np.isfinite(error) else "not a number"
                self.reasons[number] = f"{what} after {time:g} fs"
            elif spread is not None:
                self._frames[number].append((time, own.numpy().copy(), *spread[place].tolist()))

    def trajectories(self, state: State) -> list[Trajectory]:
        """Return what was recorded of each trajectory; ``state`` is that of the running ones."""
        positions = state.positions.split(state.counts)
        velocities = state.velocities.split(state.counts)
        trajectories = []
        for number, walker in enumerate(self.walkers):
            if self.reasons[number]:
                walker = replace(walker, molecule=walker.optimum, velocities=None)
            else:
                place, molecule = self.running.index(number), walker.molecule.copy()
                molecule.positions = positions[place].numpy()
                walker = replace(walker, molecule=molecule, velocities=velocities[place].numpy())
            columns = zip(*self._frames[number], strict=True) if self._frames[number] else [()] * 4
            times, frames, spread, mean = columns
            trajectories.append(
                Trajectory(
                    walker,
                    np.array(times),
                    np.array(frames).reshape(-1, len(walker.molecule), 3),
                    np.array(spread),
                    np.array(mean),
                    self.reasons[number],
                )
            )
        return trajectories
