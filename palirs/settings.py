"""Recipes of a study: what its configuration may say, with types, ranges and units.

Importing them needs neither torch nor mace, so a mistake in the configuration is found in a second.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from ase import Atoms
from pydantic import Field

from palirs import keys
from palirs.engines import Engine
from palirs.mace.settings import Architecture, Evaluation, Training
from palirs.molecules import Molecules
from palirs.recipes import Count, Femtoseconds, Friction, Kelvin, PalirsError, Picoseconds, Positive, Wavenumber, recipe
from palirs.spectra import read_jcamp


@recipe
class Sampler:
    """How the committee explores.

    Parameters
    ----------
    temperatures : tuple of float
        One group of trajectories per temperature [K].
    replicas : int
        Trajectories per molecule and temperature.
    length : float
        Of each trajectory per iteration [ps].
    timestep : float
        [fs].
    friction : float
        [ps⁻¹]; 0.98 ps⁻¹ is ASE's friction of 0.01.
    interval : float
        Time between recorded frames [fs].
    relative_force_error : float
        A trajectory ends at once when the spread over (mean force + ``epsilon``) of any atom exceeds this.
    epsilon : float
        Regularisation of the relative error [eV/Å].
    """

    temperatures: Annotated[tuple[Kelvin, ...], Field(min_length=1)] = (300.0, 500.0, 700.0)
    replicas: Count = 1
    length: Picoseconds = 5.0
    timestep: Annotated[float, Field(gt=0, le=5, description="fs")] = 0.5
    friction: Friction = 0.98
    interval: Femtoseconds = 5.0
    relative_force_error: Positive = 0.5
    epsilon: Positive = 0.2

    @property
    def steps(self) -> int:
        """Steps per iteration."""
        return max(1, round(self.length * 1e3 / self.timestep))

    @property
    def stride(self) -> int:
        """Steps between recorded frames."""
        return max(1, round(self.interval / self.timestep))


@recipe
class MD:
    """A set of independent trajectories of each molecule.

    Parameters
    ----------
    replicas : int
        Trajectories with different velocities and noise.
    thermalisation : float
        Time before recording starts [ps].
    length : float
        Recorded time of each trajectory [ps].
    """

    replicas: Count = 3
    thermalisation: Annotated[float, Field(ge=0, le=1e6, description="ps")] = 5.0
    length: Picoseconds = 50.0


@recipe
class Spectroscopy:
    """How spectra are made.

    Parameters
    ----------
    production : MD
        Trajectories driven by the committee.
    reference : MD or None
        Trajectories driven by the reference engine; ``None`` leaves them out.
    timestep : float
        [fs].
    thermostat : {"langevin", "nose_hoover"}
        Of both kinds of MD. ``nose_hoover``: chains of three at 4000 cm⁻¹, after thermalisation by Berendsen's with 0.1 ps, as in the
        published reference MD; it leaves lines as narrow as they are, but a small molecule may keep energy in few of its modes.
    friction : float
        Of Langevin dynamics [ps⁻¹].
    dipole_interval : float
        Time between dipoles [fs].
    geometry_interval : float
        Time between geometries that are kept [fs].
    max_lag : float
        Depth of the autocorrelation [fs].
    method : {"physical", "schnetpack"}
        See :func:`palirs.spectra.infrared_spectrum`.
    window : tuple of float
        Range that is compared and drawn [cm⁻¹].
    experiment : str, dict or None
        A JCAMP-DX file, or one per molecule.
    """

    production: MD = Field(default_factory=MD)
    reference: MD | None = Field(default_factory=MD)
    timestep: Annotated[float, Field(gt=0, le=5, description="fs")] = 0.5
    thermostat: Literal["langevin", "nose_hoover"] = "langevin"
    friction: Friction = 0.98
    dipole_interval: Femtoseconds = 1.0
    geometry_interval: Femtoseconds = 100.0
    max_lag: Femtoseconds = 1000.0
    method: Literal["physical", "schnetpack"] = "physical"
    window: tuple[Wavenumber, Wavenumber] = (500.0, 4000.0)
    experiment: str | dict[str, str] | None = None

    def __post_init__(self):
        if self.window[0] >= self.window[1]:
            raise ValueError(f"window = {self.window}: the first wavenumber should be below the second")
        for md in (self.production, self.reference):
            if md is not None and md.length * 1e3 < self.max_lag + 2 * self.dipole_interval:
                raise ValueError(f"max_lag = {self.max_lag:g} fs: it should be shorter than the trajectories ({md.length * 1e3:g} fs)")

    @property
    def stride(self) -> int:
        """Steps between dipoles."""
        return max(1, round(self.dipole_interval / self.timestep))

    def experiments(self, molecules: Sequence[str]) -> dict[str, str]:
        """Return the measured spectrum of each molecule that has one.

        Raises
        ------
        PalirsError
            If one file is given for several molecules, or a file for a molecule that is not in the study.
        """
        if self.experiment is None:
            return {}
        if isinstance(self.experiment, str):
            if len(molecules) > 1:
                raise PalirsError(
                    f"spectrum.experiment = {self.experiment!r}: one file for {len(molecules)} molecules; give {{name: file}} pairs"
                )
            return {molecules[0]: self.experiment}
        unknown = set(self.experiment) - set(molecules)
        if unknown:
            raise PalirsError(f"spectrum.experiment: {', '.join(sorted(unknown))} not among the molecules {', '.join(molecules)}")
        return dict(self.experiment)


@recipe
class Learning:
    """When active learning ends, and what it starts from.

    Parameters
    ----------
    iterations : int
        Trainings at most.
    harmonic_mae : float
        The loop ends when the mean absolute error of the harmonic frequencies is below this [cm⁻¹].
    mode_temperature : float
        Amplitude of the normal-mode samples [K].
    geometries_per_mode : int
        Of each mode, counting the optimum.
    """

    iterations: Count = 40
    harmonic_mae: Annotated[Wavenumber, Field(ge=0)] = 5.0
    mode_temperature: Kelvin = 300.0
    geometries_per_mode: Annotated[int, Field(ge=2, le=30)] = 10


@recipe
class CommitteeSize:
    """The committee.

    Parameters
    ----------
    size : int
        Members; they differ by seed only. One member has no spread, so nothing is uncertain: use at least two for active learning.
    dipoles : int
        Dipole models; the spectrum is that of their mean, their spread says how sure it is.
    """

    size: Annotated[int, Field(ge=1, le=64)] = 3
    dipoles: Annotated[int, Field(ge=1, le=64)] = 1


@recipe
class Models:
    """The two models of a study.

    Parameters
    ----------
    potential : Architecture
        Of every member of the committee.
    dipole : Architecture
        Of the dipole model.
    """

    potential: Architecture
    dipole: Architecture


@recipe
class Trainings:
    """How the two models are trained.

    Parameters
    ----------
    potential : Training
        Of every member of the committee.
    dipole : Training
        Of the dipole model; its weights of energy and forces are not used.
    """

    potential: Training
    dipole: Training

    def __post_init__(self):
        if self.dipole.start == "previous":
            raise ValueError("dipole.start = previous: the dipole model is trained once, at the end; give scratch or a model file")
        if self.dipole.atomic_energies != "fitted":
            raise ValueError("dipole.atomic_energies: the dipole model has no energies; give fitted")
        if self.dipole.test_fraction != self.potential.test_fraction:
            raise ValueError("dipole.test_fraction: test frames are set aside for both models at once; give potential.test_fraction")
        if self.dipole.second_stage is not None:
            raise ValueError("dipole.second_stage: the dipole model has one error, so nothing to weight; give null")


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
class Labels:
    """How labels are kept.

    Parameters
    ----------
    store : str or None
        The database; ``None`` for ``labels.db`` in the study directory. Studies may share one, also while they run.
    attempts : int
        Calculations of one structure at most, over all runs. One that failed as often is in quarantine: it is left out until this
        number is raised.
    """

    store: str | None = None
    attempts: Annotated[int, Field(ge=1, le=100)] = 2


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
