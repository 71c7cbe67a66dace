"""Pretraining: the models learn a cheap engine before the reference engine."""

import logging
from concurrent.futures import Executor
from dataclasses import replace

from ase import Atoms

from palirs.geometry.rearrangement import rearrangement
from palirs.labels import Labeller
from palirs.learning.completed import complete_iterations, read_dataset
from palirs.learning.loop import learn
from palirs.learning.modes import learnt_derivatives
from palirs.learning.state import LearningSetup
from palirs.mace.models.files import dipole_files
from palirs.mace.training.committees import train_dipoles
from palirs.randomness import integer
from palirs.sampling import InitialSamples, ThermalSamples
from palirs.selection import RandomFrames, Selector
from palirs.settings import Learning, Models, Pretraining
from palirs.vibrations import Harmonic
from palirs.vibrations.matching import displacement

log = logging.getLogger(__name__)

ELSEWHERE = 0.5
"""A cheap optimum with an atom further than this from the start geometry [Å] is another conformer:
the start stays."""
TRUSTED = 10.0
"""Relative force error that ends a trajectory: a bad frame costs no more than a millisecond of the
cheap engine."""
TEST = 0.05
"""Test fraction of the cheap labels."""


def pretrain(
    setup: LearningSetup,
    settings: Pretraining,
    models: Models,
    dipoles: int,
    labeller: Labeller,
    training_executor: Executor,
    md_executor: Executor,
) -> None:
    """Learn the cheap engine: thermal samples, then exploration, which finds the other conformers.

    Complete iterations and trained models that exist are kept. Molecules that are added later are
    learnt in as many iterations more.

    Parameters
    ----------
    setup : LearningSetup
        Of the study, with the optima and vibrations of the cheap engine as references; everything
        goes into its directory.
    settings : Pretraining
        Settings.
    models : Models
        Both architectures.
    dipoles : int
        Dipole models.
    labeller : Labeller
        Of the cheap engine.
    training_executor, md_executor : Executor
        Where models are trained, and where trajectories run.
    """
    temperatures = settings.temperatures
    per_trajectory = max(1, settings.frames // (len(temperatures) * setup.sampler.replicas))
    thermal = ThermalSamples(
        settings.distribution, temperatures=temperatures, per_mode=1, least=settings.frames
    )
    cheap = replace(
        setup,
        seed=integer(setup.seed, "pretraining"),
        learning=Learning(
            iterations=settings.iterations,
            harmonic_mae=0.0,
            forces_mae=None,
            converge="together",
            patience=None,
        ),
        training=replace(settings.training, test_fraction=TEST),
        initial=InitialSamples(thermal=thermal),
        selector=Selector(
            choice=RandomFrames(), frames=per_trajectory, separation=setup.sampler.interval
        ),
        sampler=replace(setup.sampler, temperatures=temperatures, relative_force_error=TRUSTED),
        pretrained=None,
        dipoles=None,
    )
    log.info(
        "pretraining: %s, %d iterations of %d structures of each molecule",
        labeller.engine.name,
        settings.iterations,
        settings.frames,
    )
    learn(cheap, labeller, training_executor, md_executor)
    if dipoles and labeller.engine.gives_dipole:
        last = complete_iterations(setup.directory)[-1]
        files, dataset = dipole_files(last, dipoles), read_dataset(last)
        train_dipoles(
            files,
            dataset,
            models.dipole,
            settings.training,
            cheap.seed,
            training_executor,
            derivatives=learnt_derivatives(setup.references),
        )


def start_geometry(atoms: Atoms, cheap: Harmonic) -> Atoms:
    """Return the cheap engine's optimum, or the start if that is another conformer or molecule."""
    if displacement(cheap.atoms, atoms) > ELSEWHERE or rearrangement(atoms, cheap.atoms):
        return atoms
    moved = atoms.copy()
    moved.positions = cheap.atoms.positions
    return moved
