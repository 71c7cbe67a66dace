"""The whole configuration of a study."""

from typing import Annotated, Any

from ase import Atoms
from pydantic import Field

from palirs import keys
from palirs.engines import Engine
from palirs.mace.settings import Evaluation
from palirs.molecules import Molecules
from palirs.recipes import Kelvin, PalirsError, recipe
from palirs.settings.learning import CommitteeSize, Labels, Learning, Models, Trainings
from palirs.settings.md import Sampler
from palirs.settings.spectroscopy import Spectroscopy
from palirs.spectra import read_jcamp


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
    molecules, engine, model, training, sampler, selector, spectrum, executor, tracker
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
    sampler: Sampler
    selector: Any
    spectrum: Spectroscopy
    executor: Executors
    tracker: Any
    labels: Labels
    committee: CommitteeSize
    evaluation: Evaluation
    learning: Learning
    temperature: Kelvin
    seed: Annotated[int, Field(ge=0, lt=2**63)]

    def checked_molecules(self) -> list[Atoms]:
        """Load the molecules, and see that the engine can treat them and that measured spectra can be read.

        Raises
        ------
        PalirsError
            For the first mistake; nothing has been computed by then.
        """
        molecules = self.molecules.load()
        for atoms in molecules:
            self.engine.check(atoms)
        names = [atoms.info[keys.MOLECULE] for atoms in molecules]
        for path in self.spectrum.experiments(names).values():
            try:
                read_jcamp(path)
            except ValueError as error:
                raise PalirsError(f"spectrum.experiment: {error}") from error
        return molecules
