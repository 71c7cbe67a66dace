"""How trajectories are run: exploration by the committee, production and the engine's own MD."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from palirs.recipes import (
    Before,
    Count,
    Femtoseconds,
    Friction,
    InStudy,
    Kelvin,
    Picoseconds,
    recipe,
)


@recipe
class Sampler:
    """How the committee explores.

    Parameters
    ----------
    temperatures : tuple of float
        One group of trajectories per temperature [K].
    replicas : int
        Trajectories per molecule and temperature.
    nuclei : {"classical", "ring_polymer"}
        ``ring_polymer``: trajectories are those of ring polymers, as in production with
        ``spectrum.nuclei``, at ``beads`` times the cost; frames are single beads, and the error of
        the forces that decides is that along this MD. A study that was explored classically may go
        on so.
    beads : int
        Of each ring polymer; 16 reach nearly as far as those of a finer production.
    length : float
        Of each trajectory per iteration [ps].
    timestep : float
        Of the integrator [fs].
    friction : float
        [ps⁻¹]; 0.98 ps⁻¹ is ASE's friction of 0.01.
    interval : float
        Time between recorded frames [fs].
    relative_force_error : float
        A trajectory ends at once when the spread over (mean force + ``epsilon``) of any atom
        exceeds this.
    epsilon : float
        Regularisation of the relative error [eV/Å].
    """

    temperatures: Annotated[tuple[Kelvin, ...], Field(min_length=1), InStudy.GROWS] = (
        300.0,
        500.0,
        700.0,
    )
    replicas: Annotated[Count, InStudy.GROWS] = 1
    nuclei: Annotated[Literal["classical", "ring_polymer"], InStudy.GROWS, Before("classical")] = (
        "classical"
    )
    beads: Annotated[int, Field(ge=1, le=1024), InStudy.GROWS, Before(16)] = 16
    length: Picoseconds = 5.0
    timestep: Annotated[float, Field(gt=0, le=5, description="fs")] = 0.5
    friction: Friction = 0.98
    interval: Femtoseconds = 5.0
    relative_force_error: Annotated[float, Field(gt=0, le=1e9)] = 0.5
    epsilon: Annotated[float, Field(gt=0, le=100, description="eV/Å")] = 0.2

    def __post_init__(self):
        check_different("temperatures", self.temperatures, "replicas")
        check_interval("interval", self.interval, self.timestep, self.length)

    @property
    def ring_beads(self) -> int | None:
        """Beads of each ring polymer; ``None`` with classical nuclei."""
        return self.beads if self.nuclei == "ring_polymer" else None

    @property
    def in_rings(self) -> str:
        """What descriptions of an exploration by ring polymers say; empty without them."""
        return f", by ring polymers of {self.ring_beads} beads" if self.ring_beads else ""

    @property
    def kind_of_md(self) -> str:
        """What its MD is called where errors along it are given."""
        return kind_of_md(self.ring_beads)

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
    until : float or None
        Go on, up to ``longest``, until the relative standard error at the strong bands (those above
        half the highest) is below this.
    longest : float
        Recorded time of each trajectory at most, with ``until`` [ps].
    """

    replicas: Count = 3
    thermalisation: Annotated[float, Field(ge=0, le=1e6, description="ps")] = 5.0
    length: Picoseconds = 50.0
    until: Annotated[float, Field(gt=0, lt=1)] | None = None
    longest: Picoseconds = 1000.0

    def __post_init__(self):
        if self.until is not None and self.longest < self.length:
            raise ValueError(
                f"longest = {self.longest:g} ps: it should not be less than length, "
                f"{self.length:g} ps"
            )


def kind_of_md(beads: float | None) -> str:
    """Return what MD is called along which errors are given: by ring polymers of so many beads."""
    return "MD" if beads is None else f"ring-polymer MD of {beads:.0f} beads"


def check_different(key: str, temperatures: Sequence[float], more: str) -> None:
    """Raise :class:`ValueError` for a temperature [K] that is given twice."""
    twice = sorted({kelvin for kelvin in temperatures if temperatures.count(kelvin) > 1})
    if twice:
        what = f"{key} = {tuple(temperatures)}: {twice[0]:g} K is there twice"
        raise ValueError(f"{what}; for more trajectories raise {more}")


def check_interval(key: str, interval: float, timestep: float, length: float) -> None:
    """Raise :class:`ValueError` for an interval [fs] below a time step or above a length [ps]."""
    if interval < timestep * (1 - 1e-9):
        raise ValueError(
            f"{key} = {interval:g} fs: it should not be shorter than the time step, {timestep:g} fs"
        )
    if interval > length * 1e3 * (1 + 1e-9):
        raise ValueError(
            f"{key} = {interval:g} fs: it should not be longer than the trajectories, "
            f"{length * 1e3:g} fs"
        )
