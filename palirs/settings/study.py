"""The whole configuration of a study."""

import logging
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
from palirs.molecules.checks import check_states
from palirs.recipes import InStudy, Kelvin, PalirsError, recipe
from palirs.sampling import InitialSamples
from palirs.selection import Selector
from palirs.settings.learning import CommitteeSize, Labels, Learning, Models, Pretraining, Trainings
from palirs.settings.md import Sampler
from palirs.settings.pairs import (
    check_atomic_energies,
    check_committee,
    check_conformers,
    check_exploration,
    check_goals,
    check_pretraining,
    check_samples,
    check_started,
    check_timestep,
    check_workers,
)
from palirs.settings.spectroscopy import Spectroscopy
from palirs.spectra.measured.baseline import measured

log = logging.getLogger(__name__)

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
class StudySettings:
    """The whole configuration, built and checked.

    Parameters
    ----------
    molecules, engine, model, training, pretraining, initial, sampler, selector, spectrum, executor,
    tracker
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

    molecules: Annotated[Molecules, InStudy.MAY_CHANGE]
    """Its geometries are part of the identity, whatever they are read from."""
    engine: Annotated[Engine, InStudy.IDENTITY]
    model: Annotated[Models, InStudy.IDENTITY]
    training: Annotated[Trainings, InStudy.IDENTITY]
    pretraining: Annotated[Pretraining, InStudy.IDENTITY]
    initial: Annotated[InitialSamples, InStudy.IDENTITY]
    sampler: Annotated[Sampler, InStudy.IDENTITY]
    selector: Annotated[Selector, InStudy.IDENTITY]
    spectrum: Annotated[Spectroscopy, InStudy.MAY_CHANGE]
    executor: Annotated[Executors, InStudy.EACH_RUN]
    tracker: Annotated[Any, InStudy.EACH_RUN]
    labels: Annotated[Labels, InStudy.MAY_CHANGE]
    committee: Annotated[CommitteeSize, InStudy.IDENTITY]
    evaluation: Annotated[Evaluation, InStudy.EACH_RUN]
    learning: Annotated[Learning, InStudy.MAY_CHANGE]
    temperature: Annotated[Kelvin, InStudy.EACH_RUN]
    seed: Annotated[int, Field(ge=0, lt=2**63), InStudy.IDENTITY]

    def __post_init__(self):
        check_committee(self.committee, self.selector, self.learning)
        check_goals(self.engine, self.learning, self.spectrum, self.selector)
        check_pretraining(self.engine, self.pretraining, self.training)
        check_exploration(self.sampler, self.selector, self.learning)
        of_engine = ("engine.device", getattr(self.engine, "device", "cpu"), "labels")
        memory = getattr(self.engine, "memory", None)
        check_workers([*self._devices, of_engine], self.executor, memory)

    @property
    def _devices(self) -> list[tuple[str, str, str]]:
        """Keys and values of the devices of the models, and whose executor uses each."""
        return [
            ("evaluation.device", self.evaluation.device, "md"),
            ("training.potential.device", self.training.potential.device, "training"),
            ("training.dipole.device", self.training.dipole.device, "training"),
        ]

    def check_devices(self) -> None:
        """See that the devices are there, unless Slurm jobs will look for theirs.

        Raises
        ------
        PalirsError
            If one is not.
        """
        for key, device, role in self._devices:
            if device != "cpu" and not isinstance(getattr(self.executor, role), Slurm):
                from palirs.mace.forces.devices import check_device  # torch, which takes seconds

                check_device(key, device)

    def checked_molecules(self, calculating: bool = True) -> list[Atoms]:
        """Load the molecules; check that engines can treat them and measured spectra can be read.

        Parameters
        ----------
        calculating : bool
            Also see that the engine can be started; not for a task that will not, on settings that
            somebody else may have written.

        Raises
        ------
        PalirsError
            For the first mistake; nothing has been computed by then.
        """
        molecules = self.molecules.load()
        if calculating and not isinstance(
            self.executor.labels, Slurm
        ):  # it may be made on the nodes only
            for engine in (self.engine, self.pretraining.engine):
                if engine is not None:
                    engine.prepare()
        for atoms in molecules:
            for engine in (self.engine, self.pretraining.engine):
                if engine is not None:
                    engine.check(atoms)
            for kind, architecture in (
                ("potential", self.model.potential),
                ("dipole", self.model.dipole),
            ):
                _check_cutoff(atoms, f"model.{kind}.cutoff", architecture.cutoff)
        trainings = {"training.potential": self.training.potential}
        if self.pretraining.engine is not None:
            trainings["pretraining.training"] = self.pretraining.training
        check_atomic_energies(molecules, trainings)
        check_samples(molecules, self.initial, self.learning, self.training.potential)
        check_timestep(molecules, self.sampler.timestep)
        check_started(molecules, self.training)
        check_conformers(molecules, self.spectrum.conformers)
        check_states(molecules)
        names = [atoms.info[keys.MOLECULE] for atoms in molecules]
        for name, path in self.spectrum.experiments(names).items():
            try:
                spectrum = measured(path, self.spectrum.window)
            except ValueError as error:
                raise PalirsError(f"spectrum.experiment: {error}") from error
            log.info("experiment of %s: %s, read as %s", name, path, spectrum.read_as)
            if spectrum.doubt:
                log.warning("experiment of %s: %s: %s", name, path, spectrum.doubt)
        return molecules


def _check_cutoff(atoms: Atoms, key: str, cutoff: float) -> None:
    """Raise :class:`PalirsError` if a model would not see a bond of a molecule."""
    radii = covalent_radii[atoms.numbers]
    lengths = np.triu(atoms.get_all_distances())
    bonded = (lengths > 0) & (lengths < BOND * (radii[:, None] + radii[None]))
    if (lengths[bonded] >= cutoff).any():
        i, j = np.unravel_index(np.where(bonded, lengths, 0).argmax(), lengths.shape)
        raise PalirsError(
            f"{key} = {cutoff:g} Å: shorter than the bond "
            f"{atoms.symbols[i]}{i}-{atoms.symbols[j]}{j} of {atoms.info[keys.MOLECULE]} "
            f"({lengths[i, j]:.2f} Å), which the model would not see; 3 to 6 Å are usual"
        )
