"""Trajectories that move together in one worker: their steps, what is recorded of them, and their checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from palirs.dynamics import (
    Chain,
    Field,
    Integrator,
    Noise,
    State,
    Track,
    initial_state,
    kinetic_temperature,
    largest,
)
from palirs.dynamics.integrators import Berendsen, Langevin, NoseHoover
from palirs.dynamics.integrity import Integrity
from palirs.mace.models.committee import force_spread
from palirs.mace.models.dipole import DipoleModel
from palirs.production.trajectories import Checkpoint, Recording, geometry_lines
from palirs.settings import MD, Spectroscopy
from palirs.vibrations import Harmonic
from palirs.vibrations.projection import Projection

THERMALISATION_FRICTION = 10.0
"""Friction before recording starts [ps⁻¹]: a molecule that starts at rest in its optimum is warm
after a few tenths of a picosecond, where production friction would need five."""
BLOCK = 128
"""Recorded frames that are kept in memory; their dipoles are then evaluated together and
written."""
BERENDSEN_RELAXATION = 100.0
"""Of the thermalisation before Nosé-Hoover dynamics [fs]."""


@dataclass(frozen=True)
class Job:
    """A trajectory to be run, or to be gone on with.

    Attributes
    ----------
    molecule : Atoms
        Start geometry.
    place : Path
        Of its files.
    settings : str
        What it depends on.
    seed : numpy.random.SeedSequence
        Of its random stream.
    vibrations : Harmonic or None
        Normal modes whose rates are recorded.
    conformer : int
        Which one it starts from.
    """

    molecule: Atoms
    place: Path
    settings: str
    seed: np.random.SeedSequence
    vibrations: Harmonic | None = None
    conformer: int = 0

    @property
    def recording(self) -> Recording:
        """Its files."""
        return Recording(
            self.place, 0 if self.vibrations is None else len(self.vibrations.frequencies)
        )


def steps_of(picoseconds: float, settings: Spectroscopy) -> int:
    """Return how many steps a time takes."""
    return round(picoseconds * 1e3 / settings.timestep)


def geometry_stride(settings: Spectroscopy) -> int:
    """Return how many recorded frames lie between geometries that are kept."""
    return max(1, round(settings.geometry_interval / (settings.stride * settings.timestep)))


class Batch:
    """Trajectories of one worker that move together, and what was recorded of them since it was last written.

    One that breaks, that has numbers that are none or whose engine fails is ended at the next
    writing; the others go on as if it had never been there.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        field: Field,
        model: DipoleModel | None,
        md: MD,
        settings: Spectroscopy,
        temperature: float,
    ):
        self.jobs, self.field, self.model, self.settings = list(jobs), field, model, settings
        self.before = steps_of(md.thermalisation, settings)
        self.recordings = [job.recording for job in jobs]
        self.temperature = temperature
        self._set_up()
        checkpoints = [
            recording.checkpoint(job.settings)
            for recording, job in zip(self.recordings, jobs, strict=True)
        ]
        for recording, checkpoint in zip(self.recordings, checkpoints, strict=True):
            recording.resume(checkpoint)
        self.step, self.frames = checkpoints[0].step, checkpoints[0].frames
        self.chain: Chain | None = None
        if self.step == 0:
            self.noise = Noise([job.seed for job in jobs], self.counts)
            self.state = initial_state(self.molecules, field, self._target, self.noise)
            self.heat, self.spread, self.conserved = (
                torch.zeros(len(jobs)).double() for _ in range(3)
            )
        else:
            self._resume(checkpoints)
        self.times: list[int] = []
        self._positions: list[Tensor] = []
        self._velocities: list[Tensor] = []
        self._energies: list[Tensor] = []
        self._dipoles: list[Tensor] = []

    def _set_up(self) -> None:
        """Prepare what depends on which trajectories there are."""
        self.molecules = [job.molecule for job in self.jobs]
        self.counts = [len(atoms) for atoms in self.molecules]
        self.projections = [
            None if job.vibrations is None else Projection(job.vibrations) for job in self.jobs
        ]
        self.integrity = Integrity(self.molecules)
        self._target = torch.full((len(self.jobs),), self.temperature, dtype=torch.float64)
        self.thermaliser, self.integrator = _integrators(self.settings, self._target)

    def advance(self, steps: int = 1) -> None:
        """Do at most so many steps, and record those whose turn it is: to the end of the thermalisation, or of a block, and not beyond."""
        stride, since = self.settings.stride, self.step - self.before
        if since == 0:
            self.chain = self.integrator.begin(self.state)
            self.conserved = self.integrator.conserved(self.state, self.chain)
        mover, recorded = self.thermaliser, range(0)
        if since < 0:
            steps = min(steps, -since)
        else:
            steps = min(
                steps, stride * (BLOCK - (self.frames + len(self.times)) % BLOCK) - since % stride
            )
            mover, recorded = self.integrator, range(stride - since % stride, steps + 1, stride)
        self.state, self.chain, track = mover.run(
            self.state, self.chain, self.field, self.noise, steps, recorded
        )
        self.times += [self.step + place for place in recorded]
        self.step += steps
        if len(track):
            self._record(track)

    def _record(self, track: Track) -> None:
        self._positions.append(track.positions)
        self._velocities.append(track.velocities)
        self._energies.append(track.energy)
        for temperature in kinetic_temperature(self.state, track.velocities):
            self.heat = self.heat + temperature
        if track.dipole is not None:
            self._dipoles.append(track.dipole)
        if track.members is not None:
            self.spread = torch.maximum(
                self.spread, largest(force_spread(track.members), self.state).amax(dim=0)
            )

    @property
    def full(self) -> bool:
        """Whether a block of recorded frames, counted from the start of the trajectory, has just come to its end."""
        return bool(self.times) and (self.frames + len(self.times)) % BLOCK == 0

    def write(self, look: bool = True) -> None:
        """End the trajectories that are broken; evaluate the dipoles of what was recorded of the others, and write it.

        ``look`` at the molecules at moments that do not depend on the clock only: what is found
        must be found again after a kill.
        """
        self._end_broken(look)
        if self.jobs and self.times:
            self._write()
        self.frames += len(self.times)
        self.times, self._positions, self._velocities, self._energies, self._dipoles = (
            [],
            [],
            [],
            [],
            [],
        )

    def _end_broken(self, look: bool) -> None:
        broken = {
            **(self.integrity.broken(self.state.positions) if look else {}),
            **self.field.failures,
        }
        if not broken:
            return
        when = f"by {(self.step - self.before) * self.settings.timestep * 1e-3:g} ps"
        again = set(self.field.failures) - self.field.hopeless
        for number, reason in broken.items():
            self.recordings[number].end(
                self.jobs[number].settings, f"{reason} {when}", retry=number in again
            )
        self._keep([number for number in range(len(self.jobs)) if number not in broken])

    def _keep(self, rest: list[int]) -> None:
        """Go on with some of the trajectories."""
        atoms = (
            torch.cat(
                [torch.arange(start, end) for start, end in (_bounds(self.counts)[i] for i in rest)]
            )
            if rest
            else torch.arange(0)
        )
        self._positions = [positions[:, atoms] for positions in self._positions]
        self._velocities = [velocities[:, atoms] for velocities in self._velocities]
        self._energies = [energies[:, rest] for energies in self._energies]
        self._dipoles = [dipoles[:, rest] for dipoles in self._dipoles]
        self.jobs, self.recordings = (
            [self.jobs[i] for i in rest],
            [self.recordings[i] for i in rest],
        )
        if not rest:
            return
        self.heat, self.spread, self.conserved = (
            self.heat[rest],
            self.spread[rest],
            self.conserved[rest],
        )
        self.state, self.noise, self.field = (
            self.state.only(rest),
            self.noise.only(rest),
            self.field.only(rest),
        )
        self.chain = None if self.chain is None else self.chain.only(rest)
        self._set_up()

    def _write(self) -> None:
        positions, velocities = (
            np.split(torch.cat(parts).numpy(), np.cumsum(self.counts)[:-1], axis=1)
            for parts in (self._positions, self._velocities)
        )
        energies = torch.cat(self._energies).numpy()
        given = torch.cat(self._dipoles).numpy() if self._dipoles else None
        stride = geometry_stride(self.settings)
        for number, (atoms, recording, x, v) in enumerate(
            zip(self.molecules, self.recordings, positions, velocities, strict=True)
        ):
            projection = self.projections[number]
            dipoles = given[:, number] if given is not None else _dipoles(self.model, atoms, x)
            kept = [
                geometry_lines(
                    atoms,
                    x[i],
                    time_fs=(t - self.before) * self.settings.timestep,
                    energy=energies[i, number],
                )
                for i, t in enumerate(self.times)
                if (self.frames + i) % stride == 0
            ]
            recording.append(
                dipoles, "".join(kept), None if projection is None else projection.rates(x, v)
            )

    def save(self) -> None:
        """Write a checkpoint of every trajectory; everything recorded must have been written."""
        state = self.state
        elapsed = max(self.step - self.before, 1) * self.settings.timestep * 1e-3
        mover = self.thermaliser if self.step <= self.before else self.integrator
        drift = (mover.conserved(state, self.chain) - self.conserved) / elapsed
        for number, ((start, end), job, recording) in enumerate(
            zip(_bounds(self.counts), self.jobs, self.recordings, strict=True)
        ):
            values = {
                "positions": state.positions[start:end].numpy(),
                "velocities": state.velocities[start:end].numpy(),
                "forces": state.forces[start:end].numpy(),
                "energy": state.energy[number].numpy(),
                "given": state.heat[number].numpy(),
                "noise": self.noise.position(number),
                "heat": self.heat[number].numpy(),
                "spread": self.spread[number].numpy(),
                "conserved": self.conserved[number].numpy(),
                "drift": drift[number].numpy(),
                **{f"field_{name}": value for name, value in self.field.memory(number).items()},
            }
            if self.chain is not None:
                values |= {
                    "chain_positions": self.chain.positions[number].numpy(),
                    "chain_velocities": self.chain.velocities[number].numpy(),
                }
            recording.save(job.settings, self.step, values)

    def _resume(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Take everything from the checkpoints, so that what follows is what would have followed."""

        def gathered(name: str) -> Tensor:
            return torch.tensor(np.array([point.values[name] for point in checkpoints]))

        def joined(name: str) -> Tensor:
            return torch.tensor(np.concatenate([point.values[name] for point in checkpoints]))

        system = torch.repeat_interleave(torch.arange(len(self.counts)), torch.tensor(self.counts))
        masses = torch.tensor(np.concatenate([atoms.get_masses() for atoms in self.molecules]))[
            :, None
        ]
        self.state = State(
            joined("positions"), joined("velocities"), joined("forces"), gathered("energy"), None, None, gathered("given"), masses, system,
            tuple(self.counts),
        )  # fmt: skip
        self.noise = Noise.resumed(
            [str(point.values["noise"]) for point in checkpoints], self.counts
        )
        self.heat, self.spread, self.conserved = (
            gathered("heat"),
            gathered("spread"),
            gathered("conserved"),
        )
        for number, point in enumerate(checkpoints):
            mine = {
                name.removeprefix("field_"): value
                for name, value in point.values.items()
                if name.startswith("field_")
            }
            self.field.remember(number, mine)
        if "chain_positions" in checkpoints[0].values:
            fresh = self.integrator.begin(self.state)
            assert fresh is not None
            self.chain = replace(
                fresh,
                positions=gathered("chain_positions"),
                velocities=gathered("chain_velocities"),
            )


def _integrators(settings: Spectroscopy, target: Tensor) -> tuple[Integrator, Integrator]:
    """Return what thermalises and what records."""
    if settings.thermostat == "nose_hoover":
        return Berendsen(settings.timestep, BERENDSEN_RELAXATION, target), NoseHoover(
            settings.timestep, target
        )
    return Langevin(settings.timestep, THERMALISATION_FRICTION, target), Langevin(
        settings.timestep, settings.friction, target
    )


def _bounds(counts: Sequence[int]) -> list[tuple[int, int]]:
    ends = np.cumsum(counts).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _dipoles(model: DipoleModel | None, atoms: Atoms, positions: np.ndarray) -> np.ndarray:
    if model is None:
        return np.full((len(positions), 3), np.nan)  # nobody knows them
    return model.of_positions([atoms.numbers] * len(positions), list(positions)).mean(axis=0)
