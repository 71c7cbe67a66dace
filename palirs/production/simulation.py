"""Production: long MD whose dipoles become spectra, driven by the committee or by the reference engine itself.

Both use the same integrator, thermostat and time step, so a difference between the spectra is a
difference between the forces and dipoles. Dipoles go to the disk as they come, so the length of a
trajectory costs no memory, and a trajectory that was killed goes on from its last checkpoint, as if
nothing had happened.
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
"""Least time between checkpoints: what a kill can cost."""

Source = tuple[Path, tuple[Path, ...]] | Engine
"""Where forces and dipoles come from: a directory with a committee (or the file of one member) and
the files of dipole models, or an engine. Without dipole models the recorded dipoles are not
numbers."""


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
    how: Evaluation,
) -> list[Run]:
    """Run all replicas of all molecules, shared out over the workers of the executor; what was run before is not run again.

    Each trajectory has its own random stream, so what it does depends neither on the workers nor on
    the molecules beside it. A longer ``md.length``, or more replicas, go on with what there is.

    Parameters
    ----------
    source : Source
        Committee and dipole model, or engine.
    optima : sequence of Atoms, Harmonic or ConformerEnsemble
        Start geometries; those with their vibrations get the rates of their modes recorded.
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
    jobs = jobs_of(source, optima, md, settings, temperature, seed, directory, kind)
    total = steps_of(md.thermalisation, settings) + steps_of(md.length, settings)
    parts = [
        part
        for group in _unfinished(jobs, total)
        for part in shares(group, executor, _cost(source))
    ]
    running = [
        executor.submit(
            _share, source, part, md, settings, temperature, f"{_stream(source)} MD", number, how
        )
        for number, part in enumerate(parts)
    ]
    for share in running:
        share.result()
    groups = [jobs[first : first + md.replicas] for first in range(0, len(jobs), md.replicas)]
    weights = [
        one.populations if isinstance(one, ConformerEnsemble) and one.weighted else None
        for one in optima
    ]
    return [read(group, md, settings, own) for group, own in zip(groups, weights, strict=True)]


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
    """Return the trajectories of :func:`simulate`: molecule after molecule, its replicas in order."""
    jobs = []
    for one in optima:
        optimum = one if isinstance(one, Atoms) else one.atoms
        name, made = (
            optimum.info[keys.MOLECULE],
            fingerprint(md, settings, temperature, seed, optimum),
        )
        places = [
            directory / f"{name}-{temperature:g}K-{kind}" / str(replica)
            for replica in range(md.replicas)
        ]
        streams = [
            stream(seed, _stream(source), name, temperature, replica)
            for replica in range(md.replicas)
        ]
        if not isinstance(one, ConformerEnsemble):
            modes = None if isinstance(one, Atoms) else one
            jobs += [
                Job(optimum, place, made, own, modes)
                for place, own in zip(places, streams, strict=True)
            ]
            continue
        for place, own, number in zip(places, streams, one.conformer_of(md.replicas), strict=True):
            modes = None if number else one.optimum
            jobs.append(
                Job(one.conformers[number], place, f"{made} conformer={number}", own, modes, number)
            )
    return jobs


def _stream(source: Source) -> str:
    return "reference" if isinstance(source, Engine) else "production"


def steps_left(jobs: Sequence[Job], md: MD, settings: Spectroscopy) -> int:
    """Return how many steps these trajectories have before them."""
    total = steps_of(md.thermalisation, settings) + steps_of(md.length, settings)
    ends = [job.recording.checkpoint(job.settings) for job in jobs]
    return sum(max(0, total - end.step) for end in ends if not end.ended)


def fingerprint(
    md: MD, settings: Spectroscopy, temperature: float, seed: int, molecule: Atoms
) -> str:
    """Return what a trajectory depends on, besides forces; not its length."""
    masses = " ".join(map(str, molecule.arrays["masses"])) if molecule.has("masses") else ""
    return (
        f"thermalisation={md.thermalisation} timestep={settings.timestep} thermostat={settings.thermostat} friction={settings.friction} "
        f"stride={settings.stride} geometries={geometry_stride(settings)} T={temperature} seed={seed}"
        + (f" masses={masses}" if masses else "")
    )


def _cost(source: Source) -> Callable[[Job], float]:
    """Return what a step of a trajectory costs, roughly: of a committee so much for each atom, of an engine so much for each pair."""
    power = 2 if isinstance(source, Engine) else 1
    return lambda job: float(len(job.molecule)) ** power


def _unfinished(jobs: Sequence[Job], total: int) -> list[list[Job]]:
    """Return the trajectories that are not at their end, those that stand at the same step together."""
    standing: dict[int, list[Job]] = defaultdict(list)
    for job in jobs:
        at = job.recording.checkpoint(job.settings)
        if at.step < total and not at.ended:
            standing[at.step].append(job)
    return [group for _, group in sorted(standing.items())]


def _share(
    source: Source,
    jobs: Sequence[Job],
    md: MD,
    settings: Spectroscopy,
    temperature: float,
    title: str,
    number: int,
    how: Evaluation,
) -> None:
    """Run in the worker: an executor runs this again whose worker died, perhaps between two checkpoints."""
    end = steps_of(md.thermalisation, settings) + steps_of(md.length, settings)
    for group in _unfinished(jobs, end):
        field, model = _open(source, [job.molecule for job in group], how)
        # a step of an engine is expensive, so what there is is written soon
        _run(
            Batch(group, field, model, md, settings, temperature),
            end,
            isinstance(source, Engine),
            title,
            number,
        )


def _run(batch: Batch, end: int, patient: bool, title: str, position: int) -> None:
    """Thermalise, record, write; until every trajectory is at its end."""
    with tqdm(
        desc=title,
        unit="step",
        position=position,
        leave=False,
        mininterval=2,
        initial=batch.step,
        total=end,
    ) as bar:
        _drive(batch, end, patient, bar)


def _drive(batch: Batch, end: int, patient: bool, bar: tqdm) -> None:
    started, first, saved = time.monotonic(), batch.step, time.monotonic()
    while batch.step < end:
        batch.advance(min(steps_at_once(batch.state, batch.field), end - batch.step))
        bar.update(batch.step - bar.n)
        now = time.monotonic()
        late = now - saved > CHECKPOINT_SECONDS
        full = batch.full or batch.step == end
        if not full and not (
            late and (patient or not batch.times)
        ):  # a block of dipoles must not depend on the moment
            continue
        batch.write(look=full)
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
    source: Source, molecules: Sequence[Atoms], how: Evaluation
) -> tuple[Field, DipoleModel | None]:
    if isinstance(source, Engine):
        return EngineField(source, molecules), None
    place, dipoles = source
    committee = load_committee(place)
    field = CommitteeField(committee.evaluator([atoms.numbers for atoms in molecules], how))
    return field, load_dipole_model(dipoles) if dipoles else None
