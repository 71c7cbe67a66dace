"""What is learnt, from which labels, and when it is enough."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from palirs.engines import Engine
from palirs.mace.settings import Architecture, Training, check_weights
from palirs.recipes import Before, Count, InStudy, Kelvin, Wavenumber, recipe
from palirs.settings.md import check_different


def current_split(value: object) -> object:
    """Return the present name of a split: ``groups`` was called ``stretches``."""
    return "groups" if value == "stretches" else value


@recipe
class Learning:
    """When active learning ends, and how its data are split.

    Parameters
    ----------
    iterations : int
        Trainings at most.
    harmonic_mae : float
        The loop ends when the mean absolute error of the harmonic frequencies is below this [cm⁻¹],
    forces_mae : float or None
        and that of the forces is expected to be below this too [meV/Å], from the spread of the
        committee along the exploration at (or next to) the temperature of the study, calibrated on
        test frames. ``None``: the frequencies alone decide, as published.
    confirm : int
        Frames of MD of a molecule that have been labelled and never learnt, by which its expected
        error is measured before learning ends: that error then decides. Those that test already
        count. 0: the expected error decides; also with ``split=frames``.
    intensities : float or None
        and that harmonic intensities of modes above 5 km/mol are off by less than this share on
        average. The dipole model is then trained in every iteration. ``None``: once, at the end,
        and its intensities decide nothing.
    anharmonic : float or None
        and that the members' anharmonic fundamentals (GVPT2) differ by less than this standard
        deviation on average [cm⁻¹]. Half of the frames that are learnt in each iteration are then
        chosen from the quantum harmonic distribution at the temperature of the study instead of
        from MD, and some test. ``None``: they decide nothing.
    converge : {"each", "together"}
        ``each``: a molecule that meets all gets no more labels while it does, and the loop ends
        when all do. ``together``: averages over the molecules decide, and until then all get
        labels, as published.
    split : {"groups", "frames"}
        ``groups``: correlated frames (the images of a mode, one trajectory in one iteration) are
        all for training, all for validation or all for testing, and stay so. ``frames``: frames at
        random, split anew whenever the data set grows, as published; neighbours and earlier
        training frames are then among those that test.
    budget : int or None
        Labels in all, those of relaxations and Hessians counted, which are paid for in any case: no
        more structures are labelled to learn from. ``None``: as many as it takes.
    patience : int or None
        The loop ends when so many iterations have not made any error better by 5 % that misses its
        goal (of frequencies and intensities of a molecule, or of the forces on average): training
        or model are then what limits. ``None``: it goes on, as published.
    """

    iterations: Count = 6
    harmonic_mae: Annotated[Wavenumber, Field(ge=0)] = 5.0
    forces_mae: Annotated[float, Field(gt=0, le=1e5, description="meV/Å")] | None = 10.0
    confirm: Annotated[int, Field(ge=0, le=10**4), Before(0)] = 6
    intensities: Annotated[float, Field(gt=0, le=100, description="a share")] | None = None
    anharmonic: Annotated[float, Field(gt=0, le=1e4, description="cm⁻¹")] | None = None
    converge: Literal["each", "together"] = "each"
    split: Annotated[
        Literal["groups", "frames"],
        BeforeValidator(current_split),
        InStudy.IDENTITY,
        Before("frames"),
    ] = "groups"
    budget: Annotated[int, Field(ge=1, le=10**9)] | None = None
    patience: Annotated[Count | None, Before(None)] = 3


@recipe
class CommitteeSize:
    """The committee.

    Parameters
    ----------
    size : int
        Members; they differ by seed only. One member has no spread, so nothing is uncertain: use at
        least two for active learning.
    dipoles : int
        Dipole models; the spectrum is that of their mean, their spread says how sure it is.
    """

    size: Annotated[int, Field(ge=1, le=64)] = 3
    dipoles: Annotated[int, Field(ge=1, le=64)] = 1


@recipe
class Labels:
    """How labels are kept.

    Parameters
    ----------
    store : str or None
        The database; ``None`` for ``labels.db`` in the study directory. Studies may share one, also
        while they run.
    attempts : int
        Calculations of one structure at most, over all runs. One that failed as often is in
        quarantine: it is left out until this number is raised.
    """

    store: str | None = None
    attempts: Annotated[int, Field(ge=1, le=100)] = 2


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
class Pretraining:
    """Pretraining on labels of a cheap engine, before the first label of the reference engine.

    Transfer learning between levels of theory (Smith et al. 2019, doi:10.1038/s41467-019-10827-4).
    The first geometries are the cheap engine's optima too.

    Parameters
    ----------
    engine : Engine or None
        The cheap engine; ``None``: no pretraining.
    frames : int
        Structures of each molecule and iteration: first samples of the harmonic distribution about
        its optimum, then frames of its exploration at random.
    distribution : {"mixed", "classical", "quantum"}
        Of the first samples; mixed: classical and quantum ones in turn.
    temperatures : tuple of float
        Of both [K]. A wider range than that of the labels that follow leaves harmonic frequencies
        with half the error.
    iterations : int
        Trainings. One knows the surroundings of the optimum only; a second also the other
        conformers.
    training : Training
        Of the potentials and dipole models on its labels.
    """

    engine: Engine | None = None
    frames: Annotated[int, Field(ge=20, le=10**6)] = 600
    distribution: Annotated[Literal["mixed", "classical", "quantum"], Before("classical")] = "mixed"
    temperatures: Annotated[tuple[Kelvin, ...], Field(min_length=1)] = (300.0, 500.0, 700.0, 1000.0)
    iterations: Count = 2
    training: Training = Field(default_factory=Training)

    def __post_init__(self):
        if self.training.start != "scratch":
            raise ValueError(
                f"training.start = {self.training.start}: pretraining starts from scratch"
            )
        check_different("temperatures", self.temperatures, "frames")
        check_weights(self.training, "training.")


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
        check_weights(self.potential, "potential.")
        if self.dipole.start == "previous":
            raise ValueError(
                "dipole.start = previous: the dipole model is trained once, at the end; give "
                "scratch or a model file"
            )
        if self.dipole.atomic_energies != "fitted":
            raise ValueError(
                "dipole.atomic_energies: the dipole model has no energies; give fitted"
            )
        if self.dipole.test_fraction != self.potential.test_fraction:
            raise ValueError(
                "dipole.test_fraction: test frames are set aside for both models at once; give "
                "potential.test_fraction"
            )
        if self.dipole.second_stage is not None:
            raise ValueError(
                "dipole.second_stage: the dipole model has one error, so nothing to weight; give "
                "null"
            )
