"""Production MD, driven by the committee or by the reference engine itself.

Both use the same integrator, thermostat and time step, so a difference between the spectra is a
difference between the forces and dipoles. Dipoles are written as they come, so a long trajectory
needs no more memory than a short one, and a trajectory that was killed continues from its last
checkpoint with the same numbers.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

from ase import Atoms
from tqdm import tqdm

from palirs import keys
from palirs.dynamics import CommitteeField, EngineField, Field
from palirs.dynamics.integrators import steps_at_once
from palirs.engines import Engine
from palirs.executors import shares
from palirs.mace.models.dipole import DipoleModel
from palirs.mace.models.files import load_committee, load_dipole_model
from palirs.mace.settings import Evaluation
from palirs.production.batch import Batch, Job, geometry_stride, steps_of
from palirs.production.ensemble import ConformerEnsemble
from palirs.production.results import Run, read
from palirs.randomness import stream
from palirs.settings import MD, Spectroscopy
from palirs.vibrations import Harmonic

CHECKPOINT_SECONDS = 20.0
"""Least time between checkpoints [s]: about what a kill costs."""

Source = tuple[Path, tuple[Path, ...]] | Engine
"""Where forces and dipoles come from: a directory with a committee (or the file of one member) and
the files of dipole models, or an engine. Without dipole models the recorded dipoles are NaN."""


def simulate(
    source: Source,
    optima: Sequence[Atoms | Harmonic | ConformerEnsemble],
    md: MD,
    settings: Spectroscopy,
    temperature: float,
    seed: int,
    executor: Executor,
    directory: Path,
    kind: str,
    evaluation: Evaluation,
) -> list[Run]:
    """Run or continue all replicas of all molecules on the workers of an executor.

    Each trajectory has its own random stream, so it depends neither on the number of workers nor on
    the other molecules. What was run before is not run again: a longer ``md.length`` or more
    replicas build on it.

    Parameters
    ----------
    source : Source
        Committee and dipole models, or engine.
    optima : sequence of Atoms, Harmonic or ConformerEnsemble
        Start geometries; the rates of normal modes are recorded for those with vibrations.
    md, settings
        Lengths, time step, intervals.
    temperature : float
        [K].
    seed : int
        Seed of the study.
    executor : Executor
        Runs the batches.
    directory : Path
        Parent of the directories of trajectories, one per molecule.
    kind : str
        Name of the source of forces, part of the directory's name.
    evaluation : Evaluation
        Backend and device of the committee.
    """
    jobs = jobs_of(source, optima, md, settings, temperature, seed, directory, kind)
    total = steps_of(md.thermalisation, settings) + steps_of(md.length, settings)
    parts = [
        part
        for group in _unfinished(jobs, total)
        for part in shares(group, executor, _cost(source))
    ]
    title = f"{_stream(source)} MD"
    futures = [
        executor.submit(_share, source, part, md, settings, temperature, title, number, evaluation)
        for number, part in enumerate(parts)
    ]
    for future in futures:
        future.result()
    groups = [jobs[first : first + md.replicas] for first in range(0, len(jobs), md.replicas)]
    weights = [
        start.populations if isinstance(start, ConformerEnsemble) and start.weighted else None
        for start in optima
    ]
    return [
        read(group, md, settings, weight) for group, weight in zip(groups, weights, strict=True)
    ]


def jobs_of(
    source: Source,
    optima: Sequence[Atoms | Harmonic | ConformerEnsemble],
    md: MD,
    settings: Spectroscopy,
    temperature: float,
    seed: int,
    directory: Path,
    kind: str,
) -> list[Job]:
    """Return the trajectories of :func:`simulate`, the replicas of one molecule after the other."""
    jobs = []
    for start in optima:
        optimum = start if isinstance(start, Atoms) else start.atoms
        name = optimum.info[keys.MOLECULE]
        made = fingerprint(md, settings, temperature, seed, optimum)
        folder = directory / f"{name}-{temperature:g}K-{kind}"
        ensemble = start if isinstance(start, ConformerEnsemble) else None
        conformers = [0] * md.replicas if ensemble is None else ensemble.conformer_of(md.replicas)
        for replica, number in enumerate(conformers):
            molecule, identity = optimum, made
            modes = start if isinstance(start, Harmonic) else None
            if ensemble is not None:
                molecule, identity = ensemble.conformers[number], f"{made} conformer={number}"
                modes = None if number else ensemble.optimum
            random_stream = stream(seed, _stream(source), name, temperature, replica)
            jobs.append(
                Job(molecule, folder / str(replica), identity, random_stream, modes, number)
            )
    return jobs


def _stream(source: Source) -> str:
    return "reference" if isinstance(source, Engine) else "production"


def steps_left(jobs: Sequence[Job], md: MD, settings: Spectroscopy) -> int:
    """Return how many steps these trajectories still have to do."""
    total = steps_of(md.thermalisation, settings) + steps_of(md.length, settings)
    ends = [job.recording.checkpoint(job.settings) for job in jobs]
    return sum(max(0, total - end.step) for end in ends if not end.ended)


def fingerprint(
    md: MD, settings: Spectroscopy, temperature: float, seed: int, molecule: Atoms
) -> str:
    """Return what a trajectory depends on besides the forces, as text; its length is not part."""
    masses = " ".join(map(str, molecule.arrays["masses"])) if molecule.has("masses") else ""
    return (
        f"thermalisation={md.thermalisation} timestep={settings.timestep} "
        f"thermostat={settings.thermostat} friction={settings.friction} stride={settings.stride} "
        f"geometries={geometry_stride(settings)} T={temperature} seed={seed}"
        + (f" masses={masses}" if masses else "")
    )


def _cost(source: Source) -> Callable[[Job], float]:
    """Return the rough cost of a step: per atom with a committee, per pair with an engine."""
    power = 2 if isinstance(source, Engine) else 1
    return lambda job: float(len(job.molecule)) ** power


def _unfinished(jobs: Sequence[Job], total: int) -> list[list[Job]]:
    """Return the unfinished trajectories, grouped by the step they have reached."""
    by_step: dict[int, list[Job]] = defaultdict(list)
    for job in jobs:
        checkpoint = job.recording.checkpoint(job.settings)
        if checkpoint.step < total and not checkpoint.ended:
            by_step[checkpoint.step].append(job)
    return [group for _, group in sorted(by_step.items())]


def _share(
    source: Source,
    jobs: Sequence[Job],
    md: MD,
    settings: Spectroscopy,
    temperature: float,
    title: str,
    number: int,
    evaluation: Evaluation,
) -> None:
    """Run some trajectories in a worker.

    An executor runs this again if the worker dies, perhaps between two checkpoints.
    """
    end = steps_of(md.thermalisation, settings) + steps_of(md.length, settings)
    for group in _unfinished(jobs, end):
        field, model = _open(source, [job.molecule for job in group], evaluation)
        batch = Batch(group, field, model, md, settings, temperature)
        bar = tqdm(
            desc=title,
            unit="step",
            position=number,
            leave=False,
            mininterval=2,
            initial=batch.step,
            total=end,
        )
        with bar:
            _run(batch, end, isinstance(source, Engine), bar)


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
    source: Source, molecules: Sequence[Atoms], evaluation: Evaluation
) -> tuple[Field, DipoleModel | None]:
    if isinstance(source, Engine):
        return EngineField(source, molecules), None
    path, dipoles = source
    committee = load_committee(path)
    field = CommitteeField(committee.evaluator([atoms.numbers for atoms in molecules], evaluation))
    return field, load_dipole_model(dipoles) if dipoles else None
