"""A batch of trajectories in one worker: their steps, recorded frames and checkpoints."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from palirs.dynamics import (
    Field,
    Integrator,
    Noise,
    RingField,
    State,
    Track,
    initial_rings,
    initial_state,
    kinetic_temperature,
    largest,
)
from palirs.dynamics.integrators import Berendsen, Langevin, NoseHoover, RingPolymer, Variables
from palirs.dynamics.integrity import Integrity
from palirs.geometry.electrons import about_centre_of_mass
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
        self.beads = field.beads if isinstance(field, RingField) else 1
        self._set_up()
        checkpoints = [
            recording.checkpoint(job.settings)
            for recording, job in zip(self.recordings, jobs, strict=True)
        ]
        for recording, checkpoint in zip(self.recordings, checkpoints, strict=True):
            recording.resume(checkpoint)
        self.step, self.frames = checkpoints[0].step, checkpoints[0].frames
        self.chain: Variables | None = None
        if self.step == 0:
            self._begin()
        else:
            self._resume(checkpoints)
        self.times: list[int] = []
        self._tracks: list[Track] = []

    def _set_up(self) -> None:
        """Derive what depends on which trajectories are in the batch."""
        self.molecules = [job.molecule for job in self.jobs]
        self.counts = [len(atoms) for atoms in self.molecules]
        self.projections = [
            None if job.vibrations is None else Projection(job.vibrations) for job in self.jobs
        ]
        self.integrity = Integrity(self.molecules)
        self._target = torch.full((len(self.jobs),), self.temperature, dtype=torch.float64)
        self.thermaliser, self.integrator = _integrators(
            self.settings, self._target, isinstance(self.field, RingField)
        )

    def _begin(self) -> None:
        """Start the trajectories."""
        self.noise = Noise([job.seed for job in self.jobs], self._drawn)
        if isinstance(self.field, RingField):
            self.state, self.chain = initial_rings(
                self.molecules, self.field, self._target, self.noise
            )
        else:
            self.state = initial_state(self.molecules, self.field, self._target, self.noise)
        zeros = torch.zeros(len(self.jobs), dtype=torch.float64)
        self.temperature_sum = self.kinetic_sum = self.spread = self.conserved = zeros

    @property
    def _drawn(self) -> list[int]:
        """How many atoms of each trajectory noise is drawn for."""
        return [self.beads * count for count in self.counts]

    def advance(self, steps: int = 1) -> None:
        """Advance and record at most ``steps``, to the end of thermalisation or of a block."""
        stride, since = self.settings.stride, self.step - self.thermalisation_steps
        if since == 0:
            self.chain = self.integrator.begin(self.state, self.chain)
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
        self._tracks.append(replace(track, members=None))
        for temperatures in kinetic_temperature(self.state, track.velocities):
            self.temperature_sum = self.temperature_sum + temperatures
        if track.kinetic is not None:
            for energies in track.kinetic:
                self.kinetic_sum = self.kinetic_sum + energies
        if track.members is not None:
            spread = largest(force_spread(track.members), self.state)
            spread = spread.reshape(-1, len(self.jobs)).amax(dim=0)
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
        self._tracks.clear()

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
        self._tracks = [track.only(atoms, kept) for track in self._tracks]
        self.jobs = [self.jobs[i] for i in kept]
        self.recordings = [self.recordings[i] for i in kept]
        if not kept:
            return
        self.temperature_sum, self.spread = self.temperature_sum[kept], self.spread[kept]
        self.conserved, self.kinetic_sum = self.conserved[kept], self.kinetic_sum[kept]
        self.state, self.noise = self.state.only(kept), self.noise.only(kept)
        self.field = self.field.only(kept)
        self.chain = None if self.chain is None else self.chain.only(kept)
        self._set_up()

    def _write(self) -> None:
        track = Track.join(self._tracks)
        positions, velocities = (
            np.split(part.numpy(), np.cumsum(self.counts)[:-1], axis=1)
            for part in (track.positions, track.velocities)
        )
        energies = track.energy.numpy()
        stride = geometry_stride(self.settings)
        for number, (atoms, recording, x, v) in enumerate(
            zip(self.molecules, self.recordings, positions, velocities, strict=True)
        ):
            projection = self.projections[number]
            if track.dipole is not None:
                dipoles = about_centre_of_mass(atoms, x, track.dipole[:, number].numpy())
            elif track.beads is not None:
                beads = track.beads.split(self.counts, dim=2)[number]
                dipoles = _dipoles(self.model, atoms, beads.flatten(0, 1).numpy())
                dipoles = dipoles.reshape(len(x), -1, 3).mean(axis=1)
            else:
                dipoles = _dipoles(self.model, atoms, x)
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
                values |= self.chain.values(number)
            if isinstance(self.field, RingField):
                values["kinetic"] = self.kinetic_sum[number].numpy()
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
            [str(point.values["noise"]) for point in checkpoints], self._drawn
        )
        self.temperature_sum, self.spread = gathered("heat"), gathered("spread")
        self.conserved = gathered("conserved")
        is_ring = isinstance(self.field, RingField)
        self.kinetic_sum = gathered("kinetic") if is_ring else torch.zeros_like(self.conserved)
        for number, point in enumerate(checkpoints):
            carried = {
                name.removeprefix("field_"): value
                for name, value in point.values.items()
                if name.startswith("field_")
            }
            self.field.restore(number, carried)
        self.chain = self.integrator.restored(self.state, [point.values for point in checkpoints])


def _integrators(
    settings: Spectroscopy, target: Tensor, rings: bool
) -> tuple[Integrator, Integrator]:
    """Return the integrators of the thermalisation and of the recorded trajectory."""
    timestep = settings.timestep
    if rings:
        thermaliser = RingPolymer(timestep, THERMALISATION_FRICTION, target)
        return thermaliser, RingPolymer(timestep, settings.damping, target)
    if settings.thermostat == "nose_hoover":
        return Berendsen(timestep, BERENDSEN_RELAXATION, target), NoseHoover(timestep, target)
    thermaliser = Langevin(timestep, THERMALISATION_FRICTION, target)
    return thermaliser, Langevin(timestep, settings.damping, target)


def _bounds(counts: Sequence[int]) -> list[tuple[int, int]]:
    ends = np.cumsum(counts).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _dipoles(model: DipoleModel | None, atoms: Atoms, positions: np.ndarray) -> np.ndarray:
    if model is None:
        return np.full((len(positions), 3), np.nan)  # there is no dipole model
    dipoles = model.of_positions([atoms.numbers] * len(positions), list(positions)).mean(axis=0)
    return about_centre_of_mass(atoms, positions, dipoles)
