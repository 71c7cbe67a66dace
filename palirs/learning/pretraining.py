"""Members that have learnt from a cheap engine, before they see a label of the reference engine."""

import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs import keys
from palirs.labels import Labeller
from palirs.learning.frequencies import displacement
from palirs.learning.sides import settle
from palirs.mace.training.committees import train_committee, train_dipoles
from palirs.randomness import integer, stream
from palirs.sampling import InitialSamples, ThermalSamples
from palirs.settings import Models, Pretraining
from palirs.vibrations import Harmonic

log = logging.getLogger(__name__)

ELSEWHERE = 0.5
"""A cheap optimum with an atom further than this from the start geometry [Å] is another conformer: the start stays."""
VALIDATION = 0.05
"""Share of the cheap labels that decides on the weights that are kept."""


def pretrain(
    directory: Path,
    known: Sequence[Harmonic],
    how: Pretraining,
    models: Models,
    sizes: tuple[int, int],
    seed: int,
    labeller: Labeller,
    trainers: Executor,
) -> None:
    """Train a committee and dipole models on labels of the cheap engine, into ``directory``; those that are there are taken as they are.

    Parameters
    ----------
    directory : Path
        For ``potential-K.safetensors`` and ``dipole-K.safetensors``.
    known : sequence of Harmonic
        Optima and vibrations by the cheap engine.
    how : Pretraining
        Settings.
    models : Models
        Both architectures.
    sizes : tuple of int
        Members of the committee, and dipole models.
    seed : int
        Of the study.
    labeller : Labeller
        Of the cheap engine.
    trainers : Executor
        Where models are trained.
    """
    dipoles = [directory / f"dipole-{member}.safetensors" for member in range(sizes[1] if labeller.engine.gives_dipole else 0)]
    files = [*(directory / f"potential-{member}.safetensors" for member in range(sizes[0])), *dipoles]
    if all(file.exists() for file in files):
        return
    directory.mkdir(parents=True, exist_ok=True)
    samples = InitialSamples(thermal=ThermalSamples(temperatures=how.temperatures, per_mode=1, least=how.frames))
    frames = [
        atoms
        for one in known
        for atoms in samples.sample(one, np.random.default_rng(stream(seed, "pretraining", one.atoms.info[keys.MOLECULE])))
    ]
    labelled = settle(labeller.label(frames, f"{labeller.engine.name} labels"), [], 0.0, VALIDATION)
    log.info("pretraining on %d labels of %s", len(labelled), labeller.engine.name)
    train_committee(directory, labelled, sizes[0], models.potential, how.training, integer(seed, "pretraining"), 0, trainers)
    if dipoles:
        train_dipoles(dipoles, labelled, models.dipole, how.training, integer(seed, "pretraining"), trainers)


def start_geometry(atoms: Atoms, cheap: Harmonic) -> Atoms:
    """Return the cheap engine's optimum, from where the reference engine has a short way; not if it is another conformer."""
    if displacement(cheap.atoms, atoms) > ELSEWHERE:
        return atoms
    moved = atoms.copy()
    moved.positions = cheap.atoms.positions
    return moved
