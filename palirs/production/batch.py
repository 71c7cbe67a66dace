"""A batch of trajectories in one worker: their steps, recorded frames and checkpoints."""

from collections.abc import Sequence
from dataclasses import replace

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
from palirs.production.jobs import Job, geometry_stride, steps_of
from palirs.production.trajectories import Checkpoint, geometry_lines
from palirs.settings import MD, Spectroscopy
from palirs.vibrations.projection import Projection

THERMALISATION_FRICTION = 10.0
"""Friction before recording starts [ps⁻¹]: it heats a molecule at rest in its optimum within a few
tenths of a picosecond, where production friction would need five."""
BLOCK = 128
"""Recorded frames that are kept in memory until their dipoles are evaluated together and
written."""
BERENDSEN_RELAXATION = 100.0
"""Relaxation time of the thermalisation before Nosé-Hoover dynamics [fs]."""


class Batch:
    """Trajectories that one worker advances together, and their frames not yet written.

    A trajectory that dissociates, becomes NaN or whose engine fails is ended at the next writing;
    the others continue as if it had never been there.
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
        self.thermalisation_steps = steps_of(md.thermalisation, settings)
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
            zeros = torch.zeros(len(jobs), dtype=torch.float64)
            self.temperature_sum = self.spread = self.conserved = zeros
        else:
            self._resume(checkpoints)
        self.times: list[int] = []
        self._positions: list[Tensor] = []
        self._velocities: list[Tensor] = []
        self._energies: list[Tensor] = []
        self._dipoles: list[Tensor] = []

    def _set_up(self) -> None:
        """Derive what depends on which trajectories are in the batch."""
        self.molecules = [job.molecule for job in self.jobs]
        self.counts = [len(atoms) for atoms in self.molecules]
        self.projections = [
            None if job.vibrations is None else Projection(job.vibrations) for job in self.jobs
        ]
        self.integrity = Integrity(self.molecules)
        self._target = torch.full((len(self.jobs),), self.temperature, dtype=torch.float64)
        self.thermaliser, self.integrator = _integrators(self.settings, self._target)

    def advance(self, steps: int = 1) -> None:
        """Advance and record at most ``steps``, to the end of thermalisation or of a block."""
        stride, since = self.settings.stride, self.step - self.thermalisation_steps
        if since == 0:
            self.chain = self.integrator.begin(self.state)
            self.conserved = self.integrator.conserved(self.state, self.chain)
        integrator, recorded = self.thermaliser, range(0)
        if since < 0:
            steps = min(steps, -since)
        else:
            frames = BLOCK - (self.frames + len(self.times)) % BLOCK
            steps = min(steps, stride * frames - since % stride)
            integrator = self.integrator
            recorded = range(stride - since % stride, steps + 1, stride)
        self.state, self.chain, track = integrator.run(
            self.state, self.chain, self.field, self.noise, steps, recorded
        )
        self.times += [self.step + number for number in recorded]
        self.step += steps
        if len(track):
            self._record(track)

    def _record(self, track: Track) -> None:
        self._positions.append(track.positions)
        self._velocities.append(track.velocities)
        self._energies.append(track.energy)
        for temperatures in kinetic_temperature(self.state, track.velocities):
            self.temperature_sum = self.temperature_sum + temperatures
        if track.dipole is not None:
            self._dipoles.append(track.dipole)
        if track.members is not None:
            spread = largest(force_spread(track.members), self.state).amax(dim=0)
            self.spread = torch.maximum(self.spread, spread)

    @property
    def full(self) -> bool:
        """Whether a block of recorded frames, counted from the first frame, is complete."""
        return bool(self.times) and (self.frames + len(self.times)) % BLOCK == 0

    def write(self, check: bool = True) -> None:
        """End the broken trajectories; evaluate the dipoles of the others and write their frames.

        ``check`` decides whether the molecules are checked. Do so only at steps that do not depend
        on the clock: after a kill the same trajectories must be found broken.
        """
        self._end_broken(check)
        if self.jobs and self.times:
            self._write()
        self.frames += len(self.times)
        self.times.clear()
        for frames in (self._positions, self._velocities, self._energies, self._dipoles):
            frames.clear()

    def _end_broken(self, check: bool) -> None:
        broken = self.integrity.broken(self.state.positions) if check else {}
        broken |= self.field.failures
        if not broken:
            return
        when = f"by {(self.step - self.thermalisation_steps) * self.settings.timestep * 1e-3:g} ps"
        retried = set(self.field.failures) - self.field.failed_permanently
        for number, reason in broken.items():
            self.recordings[number].end(
                self.jobs[number].settings, f"{reason} {when}", retry=number in retried
            )
        self._keep([number for number in range(len(self.jobs)) if number not in broken])

    def _keep(self, kept: list[int]) -> None:
        """Continue with some of the trajectories."""
        bounds = _bounds(self.counts)
        atoms = torch.tensor([a for i in kept for a in range(*bounds[i])], dtype=torch.long)
        self._positions = [positions[:, atoms] for positions in self._positions]
        self._velocities = [velocities[:, atoms] for velocities in self._velocities]
        self._energies = [energies[:, kept] for energies in self._energies]
        self._dipoles = [dipoles[:, kept] for dipoles in self._dipoles]
        self.jobs = [self.jobs[i] for i in kept]
        self.recordings = [self.recordings[i] for i in kept]
        if not kept:
            return
        self.temperature_sum, self.spread = self.temperature_sum[kept], self.spread[kept]
        self.conserved = self.conserved[kept]
        self.state, self.noise = self.state.only(kept), self.noise.only(kept)
        self.field = self.field.only(kept)
        self.chain = None if self.chain is None else self.chain.only(kept)
        self._set_up()

    def _write(self) -> None:
        positions, velocities = (
            np.split(torch.cat(parts).numpy(), np.cumsum(self.counts)[:-1], axis=1)
            for parts in (self._positions, self._velocities)
        )
        energies = torch.cat(self._energies).numpy()
        from_field = torch.cat(self._dipoles).numpy() if self._dipoles else None
        stride = geometry_stride(self.settings)
        for number, (atoms, recording, x, v) in enumerate(
            zip(self.molecules, self.recordings, positions, velocities, strict=True)
        ):
            projection = self.projections[number]
            dipoles = (
                _dipoles(self.model, atoms, x) if from_field is None else from_field[:, number]
            )
            geometries = [
                geometry_lines(
                    atoms,
                    x[i],
                    time_fs=(t - self.thermalisation_steps) * self.settings.timestep,
                    energy=energies[i, number],
                )
                for i, t in enumerate(self.times)
                if (self.frames + i) % stride == 0
            ]
            rates = None if projection is None else projection.rates(x, v)
            recording.append(dipoles, "".join(geometries), rates)

    def save(self) -> None:
        """Write a checkpoint of every trajectory; its frames must have been written before."""
        state = self.state
        elapsed = max(self.step - self.thermalisation_steps, 1) * self.settings.timestep * 1e-3
        integrator = self.thermaliser if self.step <= self.thermalisation_steps else self.integrator
        drift = (integrator.conserved(state, self.chain) - self.conserved) / elapsed
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
                "heat": self.temperature_sum[number].numpy(),
                "spread": self.spread[number].numpy(),
                "conserved": self.conserved[number].numpy(),
                "drift": drift[number].numpy(),
                **{
                    f"field_{name}": value
                    for name, value in self.field.carried_state(number).items()
                },
            }
            if self.chain is not None:
                values |= {
                    "chain_positions": self.chain.positions[number].numpy(),
                    "chain_velocities": self.chain.velocities[number].numpy(),
                }
            recording.save(job.settings, self.step, values)

    def _resume(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Restore the state from checkpoints, so that the trajectories continue unchanged."""

        def gathered(name: str) -> Tensor:
            return torch.tensor(np.array([point.values[name] for point in checkpoints]))

        def joined(name: str) -> Tensor:
            return torch.tensor(np.concatenate([point.values[name] for point in checkpoints]))

        system = torch.repeat_interleave(torch.arange(len(self.counts)), torch.tensor(self.counts))
        masses = torch.tensor(np.concatenate([atoms.get_masses() for atoms in self.molecules]))
        self.state = State(
            positions=joined("positions"),
            velocities=joined("velocities"),
            forces=joined("forces"),
            energy=gathered("energy"),
            members=None,
            dipole=None,
            heat=gathered("given"),
            masses=masses[:, None],
            system=system,
            counts=tuple(self.counts),
        )
        self.noise = Noise.resumed(
            [str(point.values["noise"]) for point in checkpoints], self.counts
        )
        self.temperature_sum, self.spread = gathered("heat"), gathered("spread")
        self.conserved = gathered("conserved")
        for number, point in enumerate(checkpoints):
            carried = {
                name.removeprefix("field_"): value
                for name, value in point.values.items()
                if name.startswith("field_")
            }
            self.field.restore(number, carried)
        if "chain_positions" in checkpoints[0].values:
            initial = self.integrator.begin(self.state)
            assert initial is not None
            self.chain = replace(
                initial,
                positions=gathered("chain_positions"),
                velocities=gathered("chain_velocities"),
            )


def _integrators(settings: Spectroscopy, target: Tensor) -> tuple[Integrator, Integrator]:
    """Return the integrators of the thermalisation and of the recorded trajectory."""
    timestep = settings.timestep
    if settings.thermostat == "nose_hoover":
        return Berendsen(timestep, BERENDSEN_RELAXATION, target), NoseHoover(timestep, target)
    thermaliser = Langevin(timestep, THERMALISATION_FRICTION, target)
    return thermaliser, Langevin(timestep, settings.friction, target)


def _bounds(counts: Sequence[int]) -> list[tuple[int, int]]:
    ends = np.cumsum(counts).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _dipoles(model: DipoleModel | None, atoms: Atoms, positions: np.ndarray) -> np.ndarray:
    if model is None:
        return np.full((len(positions), 3), np.nan)  # there is no dipole model
    return model.of_positions([atoms.numbers] * len(positions), list(positions)).mean(axis=0)
