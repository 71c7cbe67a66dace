"""Settings of a study that are right alone and wrong together, each in a recipe of its own."""

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from safetensors import SafetensorError, safe_open

from palirs import keys
from palirs.engines import Engine
from palirs.executors import Slurm
from palirs.geometry.electrons import Electrons
from palirs.mace.models.learnt import check_start
from palirs.mace.settings import Training
from palirs.mace.training.checks import MINIMUM_FRAMES
from palirs.recipes import PalirsError
from palirs.sampling import InitialSamples
from palirs.selection import Selector
from palirs.settings.learning import CommitteeSize, Learning, Pretraining, Trainings
from palirs.settings.md import Sampler
from palirs.settings.spectroscopy import Spectroscopy
from palirs.units import SPEED_OF_LIGHT

log = logging.getLogger(__name__)

HYDROGEN, LIGHT = 3000.0, 1.5
"""Atoms lighter than this [amu] stretch at about this wavenumber, or faster [cm⁻¹]."""


def check_committee(committee: CommitteeSize, selector: Selector, learning: Learning) -> None:
    """Raise :class:`ValueError` for a committee of one whose spread is asked for."""
    if committee.size > 1 or learning.iterations == 1:
        return
    if selector.needs_spread:
        raise ValueError(
            "committee.size = 1: one member has no spread, so no frame is more uncertain than "
            "another; give at least 2, selector=random, or learning.iterations=1"
        )
    if learning.anharmonic is not None:
        raise ValueError(
            "committee.size = 1: one member has no spread, so nothing tells how sure its "
            "anharmonic levels are; give at least 2, or learning.anharmonic=null"
        )
    if learning.forces_mae is not None:
        raise ValueError(
            "committee.size = 1: one member has no spread, so no error of its forces can be "
            "expected; give at least 2, or learning.forces_mae=null"
        )


def check_goals(
    engine: Engine, learning: Learning, spectrum: Spectroscopy, selector: Selector
) -> None:
    """Raise :class:`ValueError` for goals that an engine or a choice of frames cannot reach."""
    intensities, experiment = learning.intensities, spectrum.experiment
    for key, value in (("learning.intensities", intensities), ("spectrum.experiment", experiment)):
        if value is not None and not engine.gives_dipole:
            raise ValueError(f"{key} = {value}: {engine.name} declares no dipole; give null")
    least, goal = selector.least_error, learning.forces_mae
    if least is not None and goal is not None and least > goal:
        raise ValueError(
            f"selector.least_error = {least:g}, learning.forces_mae = {goal:g}: frames between the "
            f"two would get no labels, and are not good enough; give least_error={goal:g} at most"
        )


def check_pretraining(engine: Engine, pretraining: Pretraining, training: Trainings) -> None:
    """Raise :class:`ValueError` for a cheap engine that members cannot start from."""
    cheap = pretraining.engine
    if cheap is None:
        return
    if cheap.fingerprint == engine.fingerprint:
        raise ValueError(
            f"pretraining.engine is the reference engine, {engine.name}, itself; give "
            "pretraining=none or another one"
        )
    if engine.gives_dipole and not cheap.gives_dipole:
        raise ValueError(
            f"pretraining.engine, {cheap.name}, declares no dipole, and the dipole models of "
            f"{engine.name} would have nothing to start from; give another one, or pretraining=none"
        )
    for model in ("potential", "dipole"):
        if getattr(training, model).start not in ("scratch", "previous"):
            raise ValueError(
                f"training.{model}.start names a model and pretraining makes one; give "
                "pretraining=none, or start=scratch"
            )


def check_exploration(sampler: Sampler, selector: Selector, learning: Learning) -> None:
    """Raise :class:`ValueError` for trajectories too short for a frame of them to be chosen.

    And for ring polymers in a study that never explores.
    """
    if sampler.nuclei == "ring_polymer" and learning.iterations == 1:
        raise ValueError(
            "sampler.nuclei = ring_polymer, learning.iterations = 1: nothing is explored, so the "
            "beads of ring polymers would teach nothing; give at least 2, or "
            "sampler.nuclei=classical"
        )
    last = sampler.steps // sampler.stride * sampler.stride * sampler.timestep
    if selector.separation > last and learning.iterations > 1:
        raise ValueError(
            f"selector.separation = {selector.separation:g} fs: the last frame of an iteration is "
            f"at {last:g} fs, so a trajectory that goes on would never give one; give less, or a "
            "longer sampler.length"
        )


def check_workers(
    devices: Iterable[tuple[str, str, str]], executor: Any, memory: float | None
) -> None:
    """Raise :class:`ValueError` for Slurm jobs that lack a GPU, or workers that lack memory.

    Parameters
    ----------
    devices : iterable of tuple
        Key and value of a device, and the role of the executor where it is used.
    executor : Executors
        Where work runs.
    memory : float or None
        What the engine may use [GB], if it says.
    """
    for key, device, role in devices:
        workers = getattr(executor, role)
        if device != "cpu" and isinstance(workers, Slurm) and not workers.with_gpus:
            raise ValueError(
                f"{key} = {device}: the Slurm jobs of executor.{role} ask for no GPU; give "
                f"executor.{role}.gpus=1, or {key}=cpu"
            )
    available = getattr(executor.labels, "memory_of_worker", None)
    if memory is not None and available is not None and memory > available:
        raise ValueError(
            f"engine.memory = {memory:g} GB: a worker of executor.labels has {available:.3g} GB; "
            "give less, or more executor.labels.memory"
        )


def check_samples(
    molecules: Sequence[Atoms], initial: InitialSamples, learning: Learning, training: Training
) -> None:
    """Raise :class:`PalirsError` if the first samples are too few to learn and to test with."""
    count = sum(initial.count(max(1, 3 * len(atoms) - 5)) for atoms in molecules)  # at most
    if count - int(training.test_fraction * count) < MINIMUM_FRAMES:
        raise PalirsError(
            f"initial: {count} samples, of which training.potential.test_fraction = "
            f"{training.test_fraction:g} leaves less than {MINIMUM_FRAMES} to learn with; give "
            f"initial=thermal, more per_mode, or a smaller share"
        )
    diatomic = all(len(atoms) == 2 for atoms in molecules)
    if learning.split == "groups" and initial.thermal is None and diatomic:
        raise PalirsError(
            "initial, learning.split = groups: the images of the one mode of a diatomic "
            "molecule are all learnt, and none would be left to test with; give initial=thermal, "
            "or learning.split=frames"
        )


def check_atomic_energies(molecules: Sequence[Atoms], trainings: dict[str, Training]) -> None:
    """Raise :class:`PalirsError` if E0s are given, by key of the training, that lack an element."""
    present = sorted({symbol for atoms in molecules for symbol in atoms.symbols})
    for key, training in trainings.items():
        given = training.atomic_energies
        missing = [symbol for symbol in present if isinstance(given, dict) and symbol not in given]
        if missing:
            what = f"no energy of {', '.join(missing)}"
            raise PalirsError(f"{key}.atomic_energies: {what}; give it, or fitted")


def check_timestep(molecules: Sequence[Atoms], timestep: float) -> None:
    """Raise :class:`PalirsError` for a time step [fs] at which hydrogen flies away.

    Velocity Verlet and BAOAB are stable below 2/ω (Leimkuhler and Matthews 2013,
    doi:10.1063/1.4802990).
    """
    limit = 1 / (np.pi * SPEED_OF_LIGHT * HYDROGEN)
    light = [atoms.info[keys.MOLECULE] for atoms in molecules if min(atoms.get_masses()) < LIGHT]
    if timestep > limit and light:
        raise PalirsError(
            f"sampler.timestep = {timestep:g} fs: hydrogen in {light[0]} vibrates too fast for "
            f"more than {limit:.1f} fs, and every trajectory would end; 0.5 fs is usual"
        )


def check_started(molecules: Sequence[Atoms], trainings: Trainings) -> None:
    """Raise :class:`PalirsError` if a start model is of the wrong kind, or lacks what is needed.

    That is an element, or charge and multiplicity of a molecule.
    """
    wanted = {int(number) for atoms in molecules for number in atoms.numbers}
    for kind in ("potential", "dipole"):
        file = Path(getattr(trainings, kind).start)
        if not file.is_file():
            continue  # scratch or previous; or said to be missing when it is needed
        try:
            with safe_open(file, framework="numpy") as opened:
                about = json.loads(next(iter((opened.metadata() or {}).values()), "{}"))
        except (SafetensorError, ValueError):
            about = {}
        if about.get("kind") != kind:
            kind_of_file = (
                f"a {about['kind']} model" if "kind" in about else "no model file of palirs"
            )
            raise PalirsError(
                f"training.{kind}.start = {file}: that is {kind_of_file}; give a {kind} model"
            )
        missing = [chemical_symbols[number] for number in sorted(wanted - set(about["elements"]))]
        if missing:
            raise PalirsError(
                f"training.{kind}.start = {file}: its model does not know {', '.join(missing)}; "
                "give another one, or leave out the molecules"
            )
        says = check_start(f"training.{kind}.start = {file}", about, molecules)
        if not says and not all(Electrons.of(atoms).ordinary for atoms in molecules):
            log.warning(
                "training.%s.start = %s: its file does not say which charge and multiplicity it "
                "has learnt; it should be one of the molecules' own",
                kind,
                file,
            )


def check_conformers(molecules: Sequence[Atoms], conformers: str | None) -> None:
    """Raise :class:`PalirsError` if conformers are asked for that could not be found later."""
    if conformers is None:
        return
    from palirs.geometry.embedding import canonical_of  # RDKit, which takes a part of a second

    for atoms in molecules:
        smiles = canonical_of(atoms)
        if smiles is None or "." in smiles:
            why = "has bonds that cannot be perceived" if smiles is None else "is several molecules"
            raise PalirsError(
                f"spectrum.conformers = {conformers}: {atoms.info[keys.MOLECULE]} {why}, so its "
                f"conformers could not be found; give null, or leave it out"
            )
