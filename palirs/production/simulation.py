"""Production: long MD whose dipoles become spectra, driven by the committee or by the reference engine itself.

Both use the same integrator, thermostat and time step, so a difference between the spectra is a difference between the forces and
dipoles. Dipoles go to the disk as they come, so the length of a trajectory costs no memory, and a trajectory that was killed goes on
from its last checkpoint, as if nothing had happened.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from torch import Tensor
from tqdm import tqdm

from palirs import keys
from palirs.dynamics import Chain, CommitteeField, EngineField, Field, Integrator, Noise, State, initial_state, kinetic_temperature
from palirs.dynamics.integrators import Berendsen, Langevin, NoseHoover
from palirs.dynamics.integrity import Integrity
from palirs.engines import Engine
from palirs.executors import shares
from palirs.learning.exploration import largest
from palirs.mace.models.committee import Committee, force_spread
from palirs.mace.models.dipole import DipoleModel
from palirs.mace.models.files import load, load_dipoles
from palirs.mace.settings import Evaluation
from palirs.production.trajectories import Checkpoint, Recording, geometry_lines
from palirs.randomness import stream
from palirs.recipes import PalirsError
from palirs.settings import MD, Spectroscopy
from palirs.spectra import Spectrum, infrared_spectrum, mean_spectrum, undo_verlet_shift

log = logging.getLogger(__name__)

THERMALISATION_FRICTION = 10.0
"""Friction before recording starts [ps⁻¹]: a molecule that starts at rest in its optimum is warm after a few tenths of a picosecond,
where production friction would need five."""
BERENDSEN_RELAXATION = 100.0
"""Of the thermalisation before Nosé-Hoover dynamics [fs]."""
BLOCK = 128
"""Recorded frames that are kept in memory; their dipoles are then evaluated together and written."""
CHECKPOINT_SECONDS = 20.0
"""Least time between checkpoints: what a kill can cost."""


@dataclass(frozen=True)
class Run:
    """Recorded trajectories of one molecule.

    Attributes
    ----------
    dipoles : numpy.ndarray
        Shape ``[replicas, frames, 3]`` [e·Å].
    temperature : numpy.ndarray
        Shape ``[replicas]`` [K], mean kinetic temperature.
    spread : numpy.ndarray
        Shape ``[replicas]`` [eV/Å], largest force spread of the committee met on the way; zero for an engine.
    drift : numpy.ndarray
        Shape ``[replicas]`` [eV/ps], change of the conserved quantity.
    broken : list of str
        What went wrong with each replica; empty if nothing did.
    """

    dipoles: np.ndarray
    temperature: np.ndarray
    spread: np.ndarray
    drift: np.ndarray
    broken: list[str]


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
    """

    molecule: Atoms
    place: Path
    settings: str
    seed: np.random.SeedSequence


Source = tuple[Path, tuple[Path, ...]] | Engine
"""Where forces and dipoles come from: a directory with a committee and the files of dipole models, or an engine."""


def simulate(
    source: Source,
    optima: Sequence[Atoms],
    md: MD,
    settings: Spectroscopy,
    temperature: float,
    seed: int,
    executor: Executor,
    directory: Path,
    kind: str,
    how: Evaluation,
) -> list[Run]:
    """Run all replicas of all molecules, shared out over the workers of the executor; what was run before is not run again.

    Each trajectory has its own random stream, so what it does depends neither on the workers nor on the molecules beside it. A longer
    ``md.length``, or more replicas, go on with what there is.

    Parameters
    ----------
    source : Source
        Committee and dipole model, or engine.
    optima : sequence of Atoms
        Start geometries.
    md, settings
        Lengths, time step, intervals.
    temperature : float
        [K].
    seed : int
        Of the study.
    executor : Executor
        Runs the shares.
    directory : Path
        Where each molecule gets a directory for its trajectories.
    kind : str
        What the forces come from, part of the directory's name.
    how : Evaluation
        Backend and device of the committee.
    """
    wanted = fingerprint(md, settings, temperature, seed)
    stream_name = "reference" if isinstance(source, Engine) else "production"
    jobs = [
        Job(
            atoms,
            directory / f"{atoms.info[keys.MOLECULE]}-{temperature:g}K-{kind}" / str(replica),
            wanted,
            stream(seed, stream_name, atoms.info[keys.MOLECULE], temperature, replica),
        )
        for atoms in optima
        for replica in range(md.replicas)
    ]
    standing: dict[int, list[Job]] = defaultdict(list)
    for job in jobs:
        standing[Recording(job.place).checkpoint(wanted).step].append(job)
    total = _steps(md.thermalisation, settings) + _steps(md.length, settings)
    parts = [part for step, group in sorted(standing.items()) if step < total for part in shares(group, executor)]
    running = [
        executor.submit(_share, source, part, md, settings, temperature, f"{stream_name} MD", number, how)
        for number, part in enumerate(parts)
    ]
    for share in running:
        share.result()
    return [_read(jobs[first : first + md.replicas], md, settings) for first in range(0, len(jobs), md.replicas)]


def spectrum_of(dipoles: np.ndarray, settings: Spectroscopy, temperature: float, label: str) -> Spectrum:
    """Mean spectrum, with its standard deviation, of trajectories ``[replicas, frames, 3]`` [e·Å] at a temperature [K]."""
    interval = settings.stride * settings.timestep
    spectra = [
        infrared_spectrum(dipole, interval, temperature=temperature, max_lag=settings.max_lag, method=settings.method) for dipole in dipoles
    ]
    return mean_spectrum([undo_verlet_shift(spectrum, settings.timestep).within(0.0, 5000.0) for spectrum in spectra], label)


def fingerprint(md: MD, settings: Spectroscopy, temperature: float, seed: int) -> str:
    """Return what a trajectory depends on, besides forces; not its length."""
    return (
        f"thermalisation={md.thermalisation} timestep={settings.timestep} thermostat={settings.thermostat} friction={settings.friction} "
        f"stride={settings.stride} geometries={_geometry_stride(settings)} T={temperature} seed={seed}"
    )


def _steps(picoseconds: float, settings: Spectroscopy) -> int:
    return round(picoseconds * 1e3 / settings.timestep)


def _geometry_stride(settings: Spectroscopy) -> int:
    """Return how many recorded frames lie between geometries that are kept."""
    return max(1, round(settings.geometry_interval / (settings.stride * settings.timestep)))


def _read(jobs: Sequence[Job], md: MD, settings: Spectroscopy) -> Run:
    frames = _steps(md.length, settings) // settings.stride
    recordings = [Recording(job.place) for job in jobs]
    ends = [recording.checkpoint(job.settings) for recording, job in zip(recordings, jobs, strict=True)]
    for job, end in zip(jobs, ends, strict=True):
        if str(end.values["broken"]):
            name = f"{job.molecule.info[keys.MOLECULE]} #{job.place.name}"
            log.warning(
                "trajectory %s (%s): %s; its spectrum is not that of the molecule", name, job.place.parent.name, end.values["broken"]
            )
    return Run(
        dipoles=np.array([recording.dipoles(frames) for recording in recordings]),
        temperature=np.array([float(end.values["heat"]) / end.frames for end in ends]),
        spread=np.array([float(end.values["spread"]) for end in ends]),
        drift=np.array([float(end.values["drift"]) for end in ends]),
        broken=[str(end.values["broken"]) for end in ends],
    )


def _share(
    source: Source, jobs: Sequence[Job], md: MD, settings: Spectroscopy, temperature: float, title: str, number: int, how: Evaluation
):
    """Run in the worker: thermalise, record, write."""
    standing: dict[int, list[Job]] = defaultdict(list)
    for job in jobs:
        standing[Recording(job.place).checkpoint(job.settings).step].append(job)
    if len(standing) > 1:  # an executor runs this again whose worker died between two checkpoints
        total = _steps(md.thermalisation, settings) + _steps(md.length, settings)
        for group in (group for step, group in standing.items() if step < total):
            _share(source, group, md, settings, temperature, title, number, how)
        return
    field, model = _open(source, [job.molecule for job in jobs], how)
    batch = _Batch(jobs, field, model, md, settings, temperature)
    patient = isinstance(source, Engine)  # a step is expensive, so what there is is written soon
    steps = range(batch.step, batch.before + _steps(md.length, settings))
    bar = tqdm(steps, desc=title, unit="step", position=number, leave=False, mininterval=2, initial=batch.step, total=steps.stop)
    started, first, saved = time.monotonic(), batch.step, time.monotonic()
    for _ in bar:
        batch.advance()
        now = time.monotonic()
        if len(batch.times) == BLOCK or batch.step == steps.stop or (patient and now - saved > CHECKPOINT_SECONDS):
            batch.write()
            if now - saved > CHECKPOINT_SECONDS or batch.step == steps.stop:
                batch.save()
                saved = now
            simulated = (batch.step - first) * settings.timestep * len(jobs) * 1e-6
            bar.set_postfix_str(f"{simulated / (now - started) * 86400:.3g} ns/day, {len(jobs)} trajectories", refresh=False)


class _Batch:
    """Trajectories of one worker that move together, and what was recorded of them since it was last written."""

    def __init__(self, jobs: Sequence[Job], field: Field, model: DipoleModel | None, md: MD, settings: Spectroscopy, temperature: float):
        self.jobs, self.field, self.model, self.settings = jobs, field, model, settings
        self.molecules = [job.molecule for job in jobs]
        self.counts = [len(atoms) for atoms in self.molecules]
        self.before = _steps(md.thermalisation, settings)
        self.recordings = [Recording(job.place) for job in jobs]
        self.integrity = Integrity(self.molecules)
        target = torch.full((len(jobs),), temperature, dtype=torch.float64)
        self.thermaliser, self.integrator = _integrators(settings, target)
        checkpoints = [recording.checkpoint(job.settings) for recording, job in zip(self.recordings, jobs, strict=True)]
        for recording, checkpoint in zip(self.recordings, checkpoints, strict=True):
            recording.resume(checkpoint)
        self.step, self.frames = checkpoints[0].step, checkpoints[0].frames
        self.chain: Chain | None = None
        if self.step == 0:
            self.noise = Noise([job.seed for job in jobs], self.counts)
            self.state = initial_state(self.molecules, field, target, self.noise)
            self.heat, self.spread = torch.zeros(len(jobs)).double(), torch.zeros(len(jobs)).double()
            self.conserved, self.broken = torch.zeros(len(jobs)).double(), [""] * len(jobs)
        else:
            self._resume(checkpoints, target)
        self.times: list[int] = []
        self._positions: list[Tensor] = []
        self._energies: list[Tensor] = []
        self._dipoles: list[Tensor] = []

    def advance(self) -> None:
        """Do one step, and record it if it is its turn."""
        if self.step == self.before:
            self.chain = self.integrator.begin(self.state)
            self.conserved = self.integrator.conserved(self.state, self.chain)
        mover = self.thermaliser if self.step < self.before else self.integrator
        self.state, self.chain = mover.step(self.state, self.chain, self.field, self.noise)
        self.step += 1
        if self.step <= self.before or (self.step - self.before) % self.settings.stride:
            return
        self.times.append(self.step)
        self._positions.append(self.state.positions)
        self._energies.append(self.state.energy)
        self.heat = self.heat + kinetic_temperature(self.state)
        if self.state.dipole is not None:
            self._dipoles.append(self.state.dipole)
        if self.state.members is not None:
            self.spread = torch.maximum(self.spread, largest(force_spread(self.state.members), self.state))

    def write(self) -> None:
        """Evaluate the dipoles of what was recorded and write it.

        Raises
        ------
        PalirsError
            If a trajectory has numbers that are none.
        """
        if not self.times:
            return
        for number, reason in self.integrity.broken(self._positions[-1]).items():
            when = f"{reason} by {(self.step - self.before) * self.settings.timestep * 1e-3:g} ps"
            if reason == "not a number":
                name = self.molecules[number].info[keys.MOLECULE]
                raise PalirsError(
                    f"MD of {name} #{self.jobs[number].place.name}: {when}; use a smaller spectrum.timestep or a better model"
                )
            self.broken[number] = self.broken[number] or when
        positions = np.split(torch.stack(self._positions).numpy(), np.cumsum(self.counts)[:-1], axis=1)
        energies = torch.stack(self._energies).numpy()
        given = torch.stack(self._dipoles).numpy() if self._dipoles else None
        stride = _geometry_stride(self.settings)
        for number, (atoms, recording, x) in enumerate(zip(self.molecules, self.recordings, positions, strict=True)):
            dipoles = given[:, number] if given is not None else _dipoles(self.model, atoms, x)
            kept = [
                geometry_lines(atoms, x[i], time_fs=(t - self.before) * self.settings.timestep, energy=energies[i, number])
                for i, t in enumerate(self.times)
                if (self.frames + i) % stride == 0
            ]
            recording.append(dipoles, "".join(kept))
        self.frames += len(self.times)
        self.times, self._positions, self._energies, self._dipoles = [], [], [], []

    def save(self) -> None:
        """Write a checkpoint of every trajectory."""
        state = self.state
        elapsed = max(self.step - self.before, 1) * self.settings.timestep * 1e-3
        mover = self.thermaliser if self.step <= self.before else self.integrator
        now = mover.conserved(state, self.chain)
        for number, ((start, end), job, recording) in enumerate(zip(_bounds(self.counts), self.jobs, self.recordings, strict=True)):
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
                "drift": ((now - self.conserved) / elapsed)[number].numpy(),
                "broken": self.broken[number],
            }
            if self.chain is not None:
                values |= {
                    "chain_positions": self.chain.positions[number].numpy(),
                    "chain_velocities": self.chain.velocities[number].numpy(),
                }
            recording.save(job.settings, self.step, values)

    def _resume(self, checkpoints: Sequence[Checkpoint], target: Tensor) -> None:
        """Take everything from the checkpoints, so that what follows is what would have followed."""

        def gathered(name: str) -> Tensor:
            return torch.tensor(np.array([point.values[name] for point in checkpoints]))

        def joined(name: str) -> Tensor:
            return torch.tensor(np.concatenate([point.values[name] for point in checkpoints]))

        system = torch.repeat_interleave(torch.arange(len(self.counts)), torch.tensor(self.counts))
        masses = torch.tensor(np.concatenate([atoms.get_masses() for atoms in self.molecules]))[:, None]
        self.state = State(
            joined("positions"), joined("velocities"), joined("forces"), gathered("energy"), None, None, gathered("given"), masses, system,
            tuple(self.counts),
        )  # fmt: skip
        self.noise = Noise.resumed([str(point.values["noise"]) for point in checkpoints], self.counts)
        self.heat, self.spread, self.conserved = gathered("heat"), gathered("spread"), gathered("conserved")
        self.broken = [str(point.values["broken"]) for point in checkpoints]
        if "chain_positions" in checkpoints[0].values:
            fresh = self.integrator.begin(self.state)
            assert fresh is not None
            self.chain = replace(fresh, positions=gathered("chain_positions"), velocities=gathered("chain_velocities"))


def _integrators(settings: Spectroscopy, target: Tensor) -> tuple[Integrator, Integrator]:
    """Return what thermalises and what records."""
    if settings.thermostat == "nose_hoover":
        return Berendsen(settings.timestep, BERENDSEN_RELAXATION, target), NoseHoover(settings.timestep, target)
    return Langevin(settings.timestep, THERMALISATION_FRICTION, target), Langevin(settings.timestep, settings.friction, target)


def _bounds(counts: Sequence[int]) -> list[tuple[int, int]]:
    ends = np.cumsum(counts).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _open(source: Source, molecules: Sequence[Atoms], how: Evaluation) -> tuple[Field, DipoleModel | None]:
    if isinstance(source, Engine):
        return EngineField(source, molecules), None
    place, dipoles = source
    committee = load(place)
    assert isinstance(committee, Committee)
    return CommitteeField(committee.evaluator([atoms.numbers for atoms in molecules], how)), load_dipoles(dipoles)


def _dipoles(model: DipoleModel | None, atoms: Atoms, positions: np.ndarray) -> np.ndarray:
    assert model is not None, "the field gives no dipoles and there is no dipole model"
    return model.of_positions([atoms.numbers] * len(positions), list(positions)).mean(axis=0)
