"""Production MD, driven by the committee or by the reference engine itself.

Both use the same integrator, thermostat and time step, so a difference between the spectra is a
difference between the forces and dipoles. Dipoles are written as they come, so a long trajectory
needs no more memory than a short one, and a trajectory that was killed continues from its last
checkpoint with the same numbers.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from ase import Atoms
from tqdm import tqdm

from palirs import keys
from palirs.dynamics import CommitteeField, EngineField, Field, RingField, kinetic_share
from palirs.dynamics.integrators import steps_at_once
from palirs.engines import Engine
from palirs.executors import shares
from palirs.mace.models.dipole import DipoleModel
from palirs.mace.models.files import load_committee, load_dipole_model
from palirs.mace.settings import Evaluation
from palirs.production.batch import Batch
from palirs.production.ensemble import ConformerEnsemble
from palirs.production.jobs import Job, geometry_stride, steps_of
from palirs.production.results import Run, read
from palirs.randomness import stream
from palirs.settings import MD, Spectroscopy
from palirs.vibrations import Harmonic

CHECKPOINT_SECONDS = 20.0
"""Least time between checkpoints [s]: about what a kill costs."""

Source = tuple[Path, tuple[Path, ...]] | Engine
"""Where forces and dipoles come from: a directory with a committee (or the file of one member) and
the files of dipole models, or an engine. Without dipole models the recorded dipoles are NaN."""
Start = Atoms | Harmonic | ConformerEnsemble
"""Start geometries of a molecule; with vibrations the rates of its normal modes are recorded."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """MD driven by one source of forces, all replicas of all molecules.

    Each trajectory has its own random stream, so it depends neither on the number of workers nor on
    the other molecules. What was run before is not run again: a longer ``md.length`` or more
    replicas build on it.

    Attributes
    ----------
    source : Source
        Committee and dipole models, or an engine.
    model : str
        Name of the source in the directories of trajectories.
    md : MD
        Replicas and lengths.
    settings : Spectroscopy
        Time step, intervals and so on.
    temperature : float
        [K].
    seed : int
        Seed of velocities and noise.
    directory : Path
        Parent of the directories of trajectories, one per molecule.
    evaluation : Evaluation
        Backend and device of the committee.
    """

    source: Source
    model: str
    md: MD
    settings: Spectroscopy
    temperature: float
    seed: int
    directory: Path
    evaluation: Evaluation = field(default_factory=Evaluation)

    def simulate(self, starts: Sequence[Start], executor: Executor) -> list[Run]:
        """Run or continue the trajectories on the workers of an executor; one run per molecule."""
        groups = [self.jobs(start) for start in starts]
        jobs = [job for group in groups for job in group]
        parts = [
            part
            for group in _unfinished(jobs, self.steps).values()
            for part in shares(group, executor, self._cost)
        ]
        futures = [executor.submit(_share, self, part, number) for number, part in enumerate(parts)]
        for future in futures:
            future.result()
        return [
            read(group, self.md, self.settings, _weights(start))
            for group, start in zip(groups, starts, strict=True)
        ]

    @property
    def steps(self) -> int:
        """Number of steps of each trajectory, with its thermalisation."""
        return sum(
            steps_of(time, self.settings) for time in (self.md.thermalisation, self.md.length)
        )

    def steps_left(self, starts: Sequence[Start]) -> int:
        """Return how many steps the trajectories still have to do."""
        groups = _unfinished([job for start in starts for job in self.jobs(start)], self.steps)
        return sum((self.steps - step) * len(group) for step, group in groups.items())

    def jobs(self, start: Start) -> list[Job]:
        """Return the trajectories of a molecule, one per replica."""
        optimum = start if isinstance(start, Atoms) else start.atoms
        name, fingerprint = optimum.info[keys.MOLECULE], self.fingerprint(optimum)
        folder = self.directory / folder_of(name, self.temperature, self.model, self.beads)
        ensemble = start if isinstance(start, ConformerEnsemble) else None
        replicas = self.md.replicas
        conformers = [0] * replicas if ensemble is None else ensemble.conformer_of(replicas)
        jobs = []
        for replica, number in enumerate(conformers):
            molecule, identity = optimum, fingerprint
            modes = start if isinstance(start, Harmonic) else None
            if ensemble is not None:
                molecule, identity = (
                    ensemble.conformers[number],
                    f"{fingerprint} conformer={number}",
                )
                modes = None if number else ensemble.optimum
            random_stream = stream(self.seed, self._stream, name, self.temperature, replica)
            jobs.append(
                Job(molecule, folder / str(replica), identity, random_stream, modes, number)
            )
        return jobs

    def fingerprint(self, molecule: Atoms) -> str:
        """Return what a trajectory depends on besides the forces; its length is not part."""
        masses = " ".join(map(str, molecule.arrays["masses"])) if molecule.has("masses") else ""
        s = self.settings
        return (
            f"thermalisation={self.md.thermalisation} timestep={s.timestep} "
            f"thermostat={s.thermostat} friction={s.damping} stride={s.stride} "
            f"geometries={geometry_stride(s)} T={self.temperature} seed={self.seed}"
            + (f" masses={masses}" if masses else "")
            + (f" nuclei=ring_polymer beads={self.beads}" if self.beads else "")
        )

    @property
    def beads(self) -> int | None:
        """Beads of each atom; ``None`` with classical nuclei, as they are in an engine's own MD."""
        return None if isinstance(self.source, Engine) else self.settings.ring_beads

    def kinetic_share(self, wavenumber: float) -> float | None:
        """Return the share of a vibration's quantum kinetic energy [cm⁻¹] that the beads have.

        ``None`` with classical nuclei.
        """
        if self.beads is None:
            return None
        return kinetic_share(self.beads, wavenumber, self.temperature)

    @property
    def _stream(self) -> str:
        return "reference" if isinstance(self.source, Engine) else "production"

    def _cost(self, job: Job) -> float:
        """Return the rough cost of a step: per atom with a committee, per pair with an engine."""
        return float(len(job.molecule)) ** (2 if isinstance(self.source, Engine) else 1)


def folder_of(molecule: str, temperature: float, model: str, beads: int | None = None) -> str:
    """Return the name of the directory of a molecule's trajectories."""
    return f"{molecule}-{temperature:g}K-{model}" + (f"-{beads}beads" if beads else "")


def _weights(start: Start) -> tuple[float, ...] | None:
    """Return the populations by which the trajectories of a molecule are weighted, if they are."""
    return start.populations if isinstance(start, ConformerEnsemble) and start.weighted else None


def _unfinished(jobs: Sequence[Job], total: int) -> dict[int, list[Job]]:
    """Return the unfinished trajectories by the step they have reached, in ascending order."""
    by_step: dict[int, list[Job]] = defaultdict(list)
    for job in jobs:
        checkpoint = job.recording.checkpoint(job.settings)
        if checkpoint.step < total and not checkpoint.ended:
            by_step[checkpoint.step].append(job)
    return dict(sorted(by_step.items()))


def _share(simulation: Simulation, jobs: Sequence[Job], number: int) -> None:
    """Run some trajectories in a worker; its progress bar is on line ``number``.

    An executor runs this again if the worker dies, perhaps between two checkpoints.
    """
    s = simulation
    for step, group in _unfinished(jobs, s.steps).items():
        forces, model = _open(s.source, [job.molecule for job in group], s.evaluation, s.beads)
        batch = Batch(group, forces, model, s.md, s.settings, s.temperature)
        bar = tqdm(
            desc=f"{s._stream} MD",
            unit="step",
            position=number,
            leave=False,
            mininterval=2,
            initial=step,
            total=s.steps,
        )
        with bar:
            _run(batch, s.steps, isinstance(s.source, Engine), bar)


def _run(batch: Batch, end: int, expensive: bool, bar: tqdm) -> None:
    """Thermalise, record and write until every trajectory is at its end.

    Steps that are ``expensive`` are written at every checkpoint, before a block is complete.
    """
    started, first, saved = time.monotonic(), batch.step, time.monotonic()
    while batch.step < end:
        batch.advance(min(steps_at_once(batch.state, batch.field), end - batch.step))
        bar.update(batch.step - bar.n)
        now = time.monotonic()
        late = now - saved > CHECKPOINT_SECONDS
        full = batch.full or batch.step == end
        # a block of dipoles from a model is evaluated as a whole: it must not depend on the clock
        if not full and not (late and (expensive or not batch.times)):
            continue
        batch.write(check=full)
        if not batch.jobs:
            return
        if late or batch.step == end:
            batch.save()
            saved = now
        simulated = (batch.step - first) * batch.settings.timestep * len(batch.jobs) * 1e-6
        bar.set_postfix_str(
            f"{simulated / (now - started) * 86400:.3g} ns/day, {len(batch.jobs)} trajectories",
            refresh=False,
        )


def _open(
    source: Source, molecules: Sequence[Atoms], evaluation: Evaluation, beads: int | None
) -> tuple[Field, DipoleModel | None]:
    if isinstance(source, Engine):
        return EngineField(source, molecules), None
    path, dipoles = source
    committee = load_committee(path)
    numbers = [atoms.numbers for atoms in molecules]
    evaluator = committee.evaluator(numbers * (beads or 1), evaluation)
    field = (
        CommitteeField(evaluator) if beads is None else RingField(evaluator, beads, len(numbers))
    )
    return field, load_dipole_model(dipoles) if dipoles else None
