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
        Shape ``[atoms, 3]`` [Å/fs]; ``None`` before the first step and after a stop: they are drawn
        anew.
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
            keys.MOLECULE: self.walker.molecule.info[keys.MOLECULE],
            keys.ORIGIN: "exploration",
            keys.ITERATION: iteration,
            keys.TEMPERATURE: self.walker.temperature,
            keys.GROUP: f"{self.walker.name}, iteration {iteration}",
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


def explore(
    committee: Committee,
    group: Sequence[Walker],
    sampler: Sampler,
    seed: int,
    iteration: int,
    how: Evaluation | None = None,
) -> list[Trajectory]:
    """Run every walker for one iteration, all in one batch; one that has to be stopped leaves it.

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
    how : Evaluation, optional
        Backend and device of the committee.
    """
    molecules = [walker.molecule for walker in group]
    noise = Noise(
        [
            stream(
                seed,
                "exploration",
                w.molecule.info[keys.MOLECULE],
                w.temperature,
                w.replica,
                iteration,
            )
            for w in group
        ],
        [len(atoms) for atoms in molecules],
    )
    temperature = torch.tensor([walker.temperature for walker in group], dtype=torch.float64)
    field = CommitteeField(committee.evaluator([atoms.numbers for atoms in molecules], how))
    state = initial_state(
        molecules, field, AT_REST * temperature, noise, [walker.velocities for walker in group]
    )
    recorder, step = _Recorder(group, sampler), 0
    with tqdm(
        total=sampler.steps,
        desc=f"iteration {iteration} exploration",
        unit="step",
        leave=False,
        mininterval=2,
    ) as bar:
        while step < sampler.steps and recorder.present:
            count = min(steps_at_once(state, field), sampler.steps - step)
            moves = Langevin(sampler.timestep, sampler.friction, temperature)
            state, _, track = moves.run(state, None, field, noise, count, range(1, count + 1))
            stays = recorder.look(step, track, state)
            step += count
            bar.update(count)
            if any(stays) and not all(stays):
                rest = [place for place, stay in enumerate(stays) if stay]
                state, noise, temperature = state.only(rest), noise.only(rest), temperature[rest]
                field = field.only(rest)
    return recorder.trajectories(state)


class _Recorder:
    """Keeps frames and spreads, and ends trajectories that can no longer be trusted."""

    def __init__(self, group: Sequence[Walker], sampler: Sampler):
        self.group, self.sampler = group, sampler
        self.present = list(range(len(group)))
        self.integrity = Integrity([walker.optimum for walker in group])
        self.reasons = [""] * len(group)
        self._frames: list[list[tuple[float, np.ndarray, float, float]]] = [[] for _ in group]

    def look(self, before: int, track: Track, state: State) -> list[bool]:
        """Check the trajectories that are present at each of the steps after ``before``, record at the interval; return which stay."""
        assert track.members is not None, "exploration needs the forces of every member"
        relative = largest(relative_force_error(track.members, self.sampler.epsilon), state)
        good = relative <= self.sampler.relative_force_error  # not so for a number that is none
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
        stays = [not self.reasons[number] for number in self.present]
        if not all(stays):
            self.present = [
                number for number, stay in zip(self.present, stays, strict=True) if stay
            ]
            if self.present:
                self.integrity = Integrity([self.group[number].optimum for number in self.present])
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
        """Look at one moment; without ``spread`` nothing is recorded, and only trajectories whose forces are not good end."""
        broken = self.integrity.broken(positions)
        for place, (number, mine) in enumerate(
            zip(self.present, positions.split(counts), strict=True)
        ):
            if self.reasons[number] or (good[place] and spread is None):
                continue
            if place in broken:
                self.reasons[number] = f"{broken[place]}, after {time:g} fs"
            elif not good[place]:
                error = float(relative[place])
                what = f"relative force error {error:.2f}" if np.isfinite(error) else "not a number"
                self.reasons[number] = f"{what} after {time:g} fs"
            elif spread is not None:
                self._frames[number].append((time, mine.numpy().copy(), *spread[place].tolist()))

    def trajectories(self, state: State) -> list[Trajectory]:
        """Return what was recorded of each trajectory; ``state`` is that of those that are still there."""
        positions, velocities = (
            state.positions.split(state.counts),
            state.velocities.split(state.counts),
        )
        found = []
        for number, walker in enumerate(self.group):
            if self.reasons[number]:
                walker = replace(walker, molecule=walker.optimum, velocities=None)
            else:
                place, molecule = self.present.index(number), walker.molecule.copy()
                molecule.positions = positions[place].numpy()
                walker = replace(walker, molecule=molecule, velocities=velocities[place].numpy())
            times, frames, spread, mean = (
                zip(*self._frames[number], strict=True)
                if self._frames[number]
                else ((), (), (), ())
            )
            found.append(
                Trajectory(
                    walker,
                    np.array(times),
                    np.array(frames).reshape(-1, len(walker.molecule), 3),
                    np.array(spread),
                    np.array(mean),
                    self.reasons[number],
                )
            )
        return found
