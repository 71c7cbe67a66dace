"""The whole configuration of a study."""

from typing import Annotated, Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from pydantic import Field

from palirs import keys
from palirs.engines import Engine
from palirs.executors import Slurm
from palirs.mace.settings import Evaluation
from palirs.molecules import Molecules
from palirs.recipes import Kelvin, PalirsError, recipe
from palirs.sampling import InitialSamples
from palirs.selection import Selector
from palirs.settings.learning import CommitteeSize, Labels, Learning, Models, Pretraining, Trainings
from palirs.settings.md import Sampler
from palirs.settings.spectroscopy import Spectroscopy
from palirs.spectra.baseline import measured

BOND = 1.3
"""Atoms nearer than this times the sum of their covalent radii are bonded."""


@recipe
class Executors:
    """Where each kind of work runs.

    Parameters
    ----------
    labels : recipe
        Reference calculations.
    training : recipe
        Training of the models.
    md : recipe
        MD of the committee and of the engine.

    Equal recipes share their workers.
    """

    labels: Any
    training: Any
    md: Any


@recipe
class Study:
    """The whole configuration, built and checked.

    Parameters
    ----------
    molecules, engine, model, training, pretraining, initial, sampler, selector, spectrum, executor, tracker
        The recipes of the configuration groups.
    committee : CommitteeSize
        Size of the committee.
    evaluation : Evaluation
        How the committee is evaluated in MD.
    labels : Labels
        Store and retries of reference calculations.
    learning : Learning
        Start and end of active learning.
    temperature : float
        Of production and reference MD [K].
    seed : int
        Every random draw follows from it.
    """

    molecules: Molecules
    engine: Engine
    model: Models
    training: Trainings
    pretraining: Pretraining
    initial: InitialSamples
    sampler: Sampler
    selector: Selector
    spectrum: Spectroscopy
    executor: Executors
    tracker: Any
    labels: Labels
    committee: CommitteeSize
    evaluation: Evaluation
    learning: Learning
    temperature: Kelvin
    seed: Annotated[int, Field(ge=0, lt=2**63)]

    def __post_init__(self):
        if self.committee.size == 1 and self.selector.needs_spread and self.learning.iterations > 1:
            raise ValueError(
                "committee.size = 1: one member has no spread, so no frame is more uncertain than another; give at least 2, "
                "selector=random, or learning.iterations=1"
            )
        if self.committee.size == 1 and self.learning.forces_mae is not None and self.learning.iterations > 1:
            raise ValueError(
                "committee.size = 1: one member has no spread, so no error of its forces can be expected; give at least 2, or "
                "learning.forces_mae=null"
            )
        if self.learning.intensities is not None and not self.engine.gives_dipole:
            raise ValueError(f"learning.intensities = {self.learning.intensities:g}: {self.engine.name} declares no dipole; give null")
        cheap = self.pretraining.engine
        if cheap is not None and cheap.fingerprint == self.engine.fingerprint:
            raise ValueError(
                f"pretraining.engine is the reference engine, {self.engine.name}, itself; give pretraining=none or another one"
            )
        started = [name for name in ("potential", "dipole") if getattr(self.training, name).start not in ("scratch", "previous")]
        if cheap is not None and started:
            raise ValueError(
                f"training.{started[0]}.start names a model and pretraining makes one; give pretraining=none, or start=scratch"
            )

    def check_devices(self) -> None:
        """See that the devices are there, unless Slurm jobs will look for theirs.

        Raises
        ------
        PalirsError
            If one is not.
        """
        asked = [
            ("evaluation.device", self.evaluation.device, self.executor.md),
            ("training.potential.device", self.training.potential.device, self.executor.training),
            ("training.dipole.device", self.training.dipole.device, self.executor.training),
        ]
        for key, device, workers in asked:
            if device != "cpu" and not isinstance(workers, Slurm):
                from palirs.mace.forces.devices import check_device  # torch, which takes seconds

                check_device(key, device)

    def checked_molecules(self, calculating: bool = True) -> list[Atoms]:
        """Load the molecules, and see that the engine can treat them and that measured spectra can be read.

        Parameters
        ----------
        calculating : bool
            Also see that the engine can be started; not for a task that will not, on settings that somebody else may have written.

        Raises
        ------
        PalirsError
            For the first mistake; nothing has been computed by then.
        """
        molecules = self.molecules.load()
        if calculating and not isinstance(self.executor.labels, Slurm):  # it may be made on the nodes only
            for engine in (self.engine, self.pretraining.engine):
                if engine is not None:
                    engine.prepare()
        for atoms in molecules:
            for engine in (self.engine, self.pretraining.engine):
                if engine is not None:
                    engine.check(atoms)
            for kind, architecture in (("potential", self.model.potential), ("dipole", self.model.dipole)):
                _check_cutoff(atoms, f"model.{kind}.cutoff", architecture.cutoff)
        names = [atoms.info[keys.MOLECULE] for atoms in molecules]
        for path in self.spectrum.experiments(names).values():
            try:
                measured(path, self.spectrum.window)
            except ValueError as error:
                raise PalirsError(f"spectrum.experiment: {error}") from error
        return molecules


def _check_cutoff(atoms: Atoms, key: str, cutoff: float) -> None:
    """Raise :class:`PalirsError` if a model would not see a bond of a molecule."""
    radii = covalent_radii[atoms.numbers]
    lengths = np.triu(atoms.get_all_distances())
    bonded = (lengths > 0) & (lengths < BOND * (radii[:, None] + radii[None]))
    if (lengths[bonded] >= cutoff).any():
        i, j = np.unravel_index(np.where(bonded, lengths, 0).argmax(), lengths.shape)
        raise PalirsError(
            f"{key} = {cutoff:g} Å: shorter than the bond {atoms.symbols[i]}{i}-{atoms.symbols[j]}{j} of {atoms.info[keys.MOLECULE]} "
            f"({lengths[i, j]:.2f} Å), which the model would not see; 3 to 6 Å are usual"
        )
