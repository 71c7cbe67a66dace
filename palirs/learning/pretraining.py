"""Members that have learnt from a cheap engine, before they see a label of the reference engine."""

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace

from ase import Atoms

from palirs.geometry.rearrangement import rearrangement
from palirs.labels import Labeller
from palirs.learning.frequencies import displacement
from palirs.learning.iterations import complete_iterations, read_dataset
from palirs.learning.loop import learn
from palirs.learning.state import Plan, State
from palirs.mace.models.files import dipole_files
from palirs.mace.training.committees import train_dipoles
from palirs.randomness import integer
from palirs.sampling import InitialSamples, ThermalSamples
from palirs.selection import RandomFrames, Selector
from palirs.settings import Learning, Models, Pretraining
from palirs.vibrations import Harmonic

log = logging.getLogger(__name__)

ELSEWHERE = 0.5
"""A cheap optimum with an atom further than this from the start geometry [Å] is another conformer:
the start stays."""
TRUSTED = 10.0
"""Relative force error that ends a trajectory: what is wrong with a frame costs a millisecond to
find out."""
TEST = 0.05
"""Share of the cheap labels that only tests."""


def pretrain(
    plan: Plan, how: Pretraining, models: Models, dipoles: int, labeller: Labeller, trainers: Executor, movers: Executor,
    after: Callable[[State], None] = lambda state: None,
) -> None:  # fmt: skip
    """Learn the cheap engine: thermal samples, then exploration, which finds the conformers that thermal samples about one optimum lack.

    What is there, complete iterations and trained models, is taken as it is. Molecules that come
    later are learnt in as many iterations more.

    Parameters
    ----------
    plan : Plan
        Of the study, with the optima and vibrations of the cheap engine as references; everything
        goes into its directory.
    how : Pretraining
        Settings.
    models : Models
        Both architectures.
    dipoles : int
        Dipole models.
    labeller : Labeller
        Of the cheap engine.
    trainers, movers : Executor
        Where models are trained, and where trajectories run.
    after : callable
        Told of every iteration.
    """
    per_trajectory = max(1, how.frames // (len(how.temperatures) * plan.sampler.replicas))
    cheap = replace(
        plan,
        seed=integer(plan.seed, "pretraining"),
        learning=Learning(
            iterations=how.iterations, harmonic_mae=0.0, forces_mae=None, converge="together"
        ),
        training=replace(how.training, test_fraction=TEST),
        initial=InitialSamples(
            thermal=ThermalSamples(temperatures=how.temperatures, per_mode=1, least=how.frames)
        ),
        selector=Selector(
            choice=RandomFrames(), frames=per_trajectory, separation=plan.sampler.interval
        ),
        sampler=replace(plan.sampler, temperatures=how.temperatures, relative_force_error=TRUSTED),
        pretrained=None,
        dipoles=None,
    )
    log.info(
        "pretraining: %s, %d iterations of %d structures of each molecule",
        labeller.engine.name,
        how.iterations,
        how.frames,
    )
    learn(cheap, labeller, trainers, movers, after)
    if dipoles and labeller.engine.gives_dipole:
        last = complete_iterations(plan.directory)[-1]
        train_dipoles(
            dipole_files(last, dipoles),
            read_dataset(last),
            models.dipole,
            how.training,
            cheap.seed,
            trainers,
        )


def start_geometry(atoms: Atoms, cheap: Harmonic) -> Atoms:
    """Return the cheap engine's optimum, from where the reference engine has a short way; not if it is another conformer or molecule."""
    if displacement(cheap.atoms, atoms) > ELSEWHERE or rearrangement(atoms, cheap.atoms):
        return atoms
    moved = atoms.copy()
    moved.positions = cheap.atoms.positions
    return moved
