"""Exploration: MD driven by the committee, with the spread of its forces recorded along the way."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from palirs.dynamics import (
    CommitteeField,
    Integrity,
    Noise,
    Ring,
    RingField,
    State,
    Track,
    average,
    initial_rings,
    initial_state,
    largest,
)
from palirs.dynamics.integrators import Integrator, Langevin, RingPolymer, steps_at_once
from palirs.learning.walkers import Trajectory, Walker
from palirs.mace.models.committee import Committee, force_spread, relative_force_error
from palirs.mace.settings import Evaluation
from palirs.randomness import stream
from palirs.settings import Sampler

AT_REST = 2.0
"""A molecule at its optimum has no potential energy: its velocities are drawn at this many times
the temperature, half of which the potential has taken up after a vibration; friction alone would
need several picoseconds. The internal modes of a ring polymer have thermostats that need
femtoseconds."""


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
    beads = sampler.ring_beads
    noise = Noise(
        [_stream(seed, "exploration", walker, iteration) for walker in walkers],
        [(beads or 1) * len(walker.molecule) for walker in walkers],
    )
    draws = [_stream(seed, "beads", walker, iteration) for walker in walkers]
    temperature = torch.tensor([walker.temperature for walker in walkers], dtype=torch.float64)
    numbers = [walker.molecule.numbers for walker in walkers]
    evaluator = committee.evaluator(numbers * (beads or 1), evaluation)
    field = RingField(evaluator, beads, len(walkers)) if beads else CommitteeField(evaluator)
    state, ring = _begin(walkers, field, temperature, noise)
    recorder, step = _Recorder(walkers, sampler, draws), 0
    with tqdm(
        total=sampler.steps,
        desc=f"iteration {iteration} exploration",
        unit="step",
        leave=False,
        mininterval=2,
    ) as bar:
        while step < sampler.steps and recorder.running:
            count = min(steps_at_once(state, field), sampler.steps - step)
            moves = _integrator(sampler, temperature)
            state, ring, track = moves.run(state, ring, field, noise, count, range(1, count + 1))
            stays = recorder.look(step, track, state)
            step += count
            bar.update(count)
            if any(stays) and not all(stays):
                rest = [number for number, stay in enumerate(stays) if stay]
                state, noise, temperature = state.only(rest), noise.only(rest), temperature[rest]
                field = field.only(rest)
                ring = None if ring is None else ring.only(rest)
    return recorder.trajectories(state, ring)


def _stream(seed: int, what: str, walker: Walker, iteration: int) -> np.random.SeedSequence:
    name = walker.molecule_name, walker.temperature, walker.replica
    return stream(seed, what, *name, iteration)


def _begin(
    walkers: Sequence[Walker],
    field: CommitteeField | RingField,
    temperature: Tensor,
    noise: Noise,
) -> tuple[State, Ring | None]:
    """Return the state, and the rings of ring polymers, that the walkers go on from."""
    molecules, warm = [walker.molecule for walker in walkers], AT_REST * temperature
    if isinstance(field, RingField):
        before = [(walker.modes, walker.velocities) for walker in walkers]
        return initial_rings(molecules, field, temperature, noise, warm, before)
    velocities = [walker.velocities for walker in walkers]
    return initial_state(molecules, field, warm, noise, velocities), None


def _integrator(sampler: Sampler, temperature: Tensor) -> Integrator:
    moves = Langevin if sampler.ring_beads is None else RingPolymer
    return moves(sampler.timestep, sampler.friction, temperature)


class _Recorder:
    """Records frames and spreads, and stops trajectories whose forces cannot be trusted.

    Each bead of a ring polymer is looked at, and one that cannot be trusted stops it; a classical
    trajectory has one bead.
    """

    def __init__(
        self,
        walkers: Sequence[Walker],
        sampler: Sampler,
        draws: Sequence[np.random.SeedSequence],
    ):
        self.walkers, self.sampler = walkers, sampler
        self.running = list(range(len(walkers)))
        self.integrity = Integrity([walker.optimum for walker in walkers])
        self.reasons = [""] * len(walkers)
        self._draws = [np.random.default_rng(seed) for seed in draws]
        self._frames: list[list[tuple[float, np.ndarray, float, float, bool]]] = [
            [] for _ in walkers
        ]

    def look(self, before: int, track: Track, state: State) -> list[bool]:
        """Check the running trajectories after a block of steps; return which of them go on."""
        assert track.members is not None, "exploration needs the forces of every member"
        rings = track.beads is not None
        members = track.members if rings else track.members[:, None]
        beads = track.beads if track.beads is not None else track.positions[:, None]
        relative = largest(relative_force_error(members, self.sampler.epsilon), state).amax(dim=1)
        good = relative <= self.sampler.relative_force_error  # False for NaN
        per_atom = force_spread(members)
        spread = torch.stack([largest(per_atom, state), average(per_atom, state)], dim=-1)
        for moment in range(len(track)):
            recorded = (before + moment + 1) % self.sampler.stride == 0
            if recorded or not bool(good[moment].all()):
                time = (before + moment + 1) * self.sampler.timestep
                noted = spread[moment] if recorded else None
                self._look(time, beads[moment], state.counts, relative[moment], good[moment], noted)
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
        beads: Tensor,
        counts: Sequence[int],
        relative: Tensor,
        good: Tensor,
        spread: Tensor | None,
    ) -> None:
        """Check one moment; without ``spread`` only the forces, and nothing is recorded.

        Positions ``[beads, N, 3]``, largest relative errors and what is trusted ``[B]``, spreads
        ``[beads, B, 2]``.
        """
        broken: dict[int, str] = {}
        for positions in beads:
            broken = self.integrity.broken(positions) | broken
        pieces = beads.split(tuple(counts), dim=1)
        for place, (number, own) in enumerate(zip(self.running, pieces, strict=True)):
            if self.reasons[number] or (good[place] and spread is None):
                continue
            if place in broken:
                self.reasons[number] = f"{broken[place]}, after {time:g} fs"
            elif not good[place]:
                error = float(relative[place])
                what = f"relative force error {error:.2f}" if np.isfinite(error) else "not a number"
                self.reasons[number] = f"{what} after {time:g} fs"
            elif spread is not None:
                for bead, drawn in self._kept(number, spread[:, place, 0]):
                    both = spread[bead, place].tolist()
                    self._frames[number].append((time, own[bead].numpy().copy(), *both, drawn))

    def _kept(self, number: int, spread: Tensor) -> list[tuple[int, bool]]:
        """Return the beads of a trajectory that become frames, and which of them is drawn."""
        if len(spread) == 1:
            return [(0, True)]
        drawn, worst = int(self._draws[number].integers(len(spread))), int(spread.argmax())
        return [(drawn, True)] if drawn == worst else [(drawn, True), (worst, False)]

    def trajectories(self, state: State, ring: Ring | None) -> list[Trajectory]:
        """Return what was recorded of each; ``state`` and ``ring`` are those of the running."""
        ended = self._ends(state, ring)
        trajectories = []
        for number, walker in enumerate(self.walkers):
            frames = self._frames[number]
            times, positions, spread, mean, drawn = (
                zip(*frames, strict=True) if frames else [()] * 5
            )
            trajectories.append(
                Trajectory(
                    ended.get(number)
                    or replace(walker, molecule=walker.optimum, velocities=None, modes=None),
                    np.array(times),
                    np.array(positions).reshape(-1, len(walker.molecule), 3),
                    np.array(spread),
                    np.array(mean),
                    self.reasons[number],
                    None if ring is None else np.array(drawn, dtype=bool),
                    None if ring is None else len(ring.positions),
                )
            )
        return trajectories

    def _ends(self, state: State, ring: Ring | None) -> dict[int, Walker]:
        """Return the walkers that run to the end, where they are then, by number."""
        positions, velocities = state.positions.split(state.counts), state.velocities
        if ring is not None:
            modes, velocities = ring.positions.split(ring.counts, dim=1), ring.velocities
        moving, ended = velocities.split(state.counts, dim=-2), {}
        for place, number in enumerate(self.running):
            walker, molecule = self.walkers[number], self.walkers[number].molecule.copy()
            molecule.positions = positions[place].numpy()
            own = None if ring is None else modes[place].numpy()
            ended[number] = replace(
                walker, molecule=molecule, velocities=moving[place].numpy(), modes=own
            )
        return ended
