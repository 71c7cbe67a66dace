"""How spectra are made, and what they are compared with."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from palirs.recipes import Before, Femtoseconds, Friction, PalirsError, Wavenumber, recipe
from palirs.settings.md import MD, check_interval
from palirs.spectra.lags import (
    MOST_FRICTION,
    Correction,
    Window,
    friction_of_width,
    lag_of_width,
    line_width,
    width_of_friction,
)
from palirs.spectra.spectrum import DIVIDED
from palirs.units import SPEED_OF_LIGHT

LONGEST_INTERVAL = 3.5
"""Between dipoles [fs]: 4766 cm⁻¹ can be told, and nothing vibrates faster than H2 (4401 cm⁻¹)."""
HIGHEST = 5000.0
"""Where computed spectra end [cm⁻¹]."""
SHORTEST_LAG = 50.0
"""Of the autocorrelation [fs]; bands are then 700 cm⁻¹ wide."""


@recipe
class Spectroscopy:
    """How spectra are made.

    Parameters
    ----------
    production : MD
        Trajectories driven by the committee.
    reference : MD or None
        Trajectories driven by the reference engine; ``None`` leaves them out.
    conformers : {"md", "boltzmann"} or None
        ``None``: every trajectory starts from the optimum. Otherwise they start from the conformers
        that the committee finds, in proportion to their populations at the temperature. ``md``:
        each counts alike, and the MD goes on to weigh, which is right where it crosses from one to
        another many times. ``boltzmann``: each counts with the population of the conformer it
        starts from, which is right where it does not. Populations are classical and harmonic with
        the engine's energies, one label per conformer; see :mod:`palirs.vibrations.conformers`.
    nuclei : {"classical", "ring_polymer"}
        Of the MD by the committee; the engine's own MD is always classical. ``ring_polymer``:
        thermostatted ring-polymer MD, with zero-point motion, at ``beads`` times the cost; see
        :mod:`palirs.dynamics.rings`.
    beads : int
        Of each ring polymer.
    timestep : float
        Of the integrator [fs].
    thermostat : {"langevin", "nose_hoover"}
        Of both kinds of MD. ``nose_hoover``: chains of three at 4000 cm⁻¹, after thermalisation by
        Berendsen's with 0.1 ps, as in the published reference MD; it leaves lines as narrow as they
        are, but a small molecule may keep energy in few of its modes.
    resolution : float or None
        Full width at half maximum of a sharp line [cm⁻¹]; friction and depth of the autocorrelation
        are chosen so that together they make it. ``None``: they are given.
    friction : float or None
        Of Langevin dynamics [ps⁻¹]. ``None``: what makes half of ``resolution``, at most 2.5.
    dipole_interval : float
        Time between dipoles [fs].
    geometry_interval : float
        Time between geometries that are kept [fs].
    max_lag : float or None
        Depth of the autocorrelation [fs]. ``None``: what ``resolution`` asks for.
    lag_window : {"hann", "blackman", "gaussian", "none"}
        Window of the autocorrelation, see :mod:`palirs.spectra.lags`.
    padding : int
        Zeros are appended to the autocorrelation up to at least so many times its length: points of
        the spectrum lie closer, lines stay as wide as they are.
    quantum_correction : {"harmonic", "standard", "schofield"}
        Of the intensities, see :func:`palirs.spectra.lags.correction`.
    method : {"physical", "schnetpack"}
        See :func:`palirs.spectra.infrared_spectrum`. ``schnetpack`` does in a study what SchNetPack
        does: dipoles of every time step, each trajectory on its own, the wavenumbers of the
        integrator.
    equipartition : bool
        Divide intensities by the kinetic energy that the modes happen to have had over what they
        have on average, see :mod:`palirs.spectra.density`: fundamentals are a third surer.
        Not where equipartition is not certain or the modes are not recorded: with Nosé-Hoover
        chains, by SchNetPack's recipe, and of trajectories that start from conformers.
    window : tuple of float
        Range that is compared and drawn [cm⁻¹].
    complete : float
        Share of a molecule's trajectories that must end well. Those that do not (the molecule falls
        apart, numbers are none, the engine fails) are left out; with fewer than this the task
        fails.
    experiment : str, dict or None
        A JCAMP-DX file or one with two columns of text, or one per molecule.
    frequency_scale : float or None
        Computed wavenumbers times this are compared with the experiment besides, at its resolution:
        what a functional is off by on the whole (Scott and Radom 1996, doi:10.1021/jp960976r) is
        then left out. It changes no spectrum. ``None``: they are not.
    leave_out_saturated : bool
        Leave out of comparisons where the instrument's range ended (transmittance up to 0.001, flat
        tops).
    """

    production: MD = Field(default_factory=MD)
    reference: MD | None = Field(default_factory=MD)
    conformers: Literal["md", "boltzmann"] | None = None
    nuclei: Annotated[Literal["classical", "ring_polymer"], Before("classical")] = "classical"
    beads: Annotated[int, Field(ge=1, le=1024), Before(32)] = 32
    timestep: Annotated[float, Field(gt=0, le=5, description="fs")] = 0.5
    thermostat: Literal["langevin", "nose_hoover"] = "langevin"
    resolution: Annotated[
        Annotated[float, Field(ge=0.5, le=500, description="cm⁻¹")] | None, Before(None)
    ] = None
    friction: Friction | None = 0.98
    dipole_interval: Femtoseconds = 1.0
    geometry_interval: Femtoseconds = 100.0
    max_lag: Femtoseconds | None = 1000.0
    lag_window: Window = "hann"
    padding: Annotated[int, Field(ge=1, le=64)] = 4
    quantum_correction: Correction = "harmonic"
    method: Literal["physical", "schnetpack"] = "physical"
    equipartition: Annotated[bool, Before(False)] = False
    window: tuple[Wavenumber, Wavenumber] = (500.0, 4000.0)
    complete: Annotated[float, Field(ge=0, le=1)] = 0.5
    experiment: str | dict[str, str] | None = None
    frequency_scale: Annotated[float, Field(ge=0.5, le=1.5)] | None = None
    leave_out_saturated: bool = False

    def __post_init__(self):
        low, high = self.window
        if high - low < 100:
            raise ValueError(
                f"window = {self.window}: the first wavenumber should lie at least 100 cm⁻¹ "
                "below the second"
            )
        actual = max(self.dipole_interval, self.stride * self.timestep)
        if actual > LONGEST_INTERVAL:
            nyquist = 0.5 / (actual * SPEED_OF_LIGHT)
            raise ValueError(
                f"dipole_interval = {self.dipole_interval:g} fs, {actual:g} fs in steps of "
                f"{self.timestep:g} fs: only {nyquist:.0f} cm⁻¹ "
                "can be told from it, and bands above would appear at wrong places below; at "
                f"most {LONGEST_INTERVAL:g} fs"
            )
        end = min(HIGHEST, 0.5 / (self.stride * self.timestep * SPEED_OF_LIGHT))
        if high > end:
            shorter = ", or a shorter dipole_interval" if end < HIGHEST else ""
            what = f"window = {self.window}: computed spectra end at {end:.0f} cm⁻¹"
            raise ValueError(f"{what}; give no more{shorter}")
        if self.nuclei == "ring_polymer":
            self._check_rings()
        if self.method == "schnetpack":
            self._check_schnetpack()
        self._check_resolution()
        if self.depth < SHORTEST_LAG:
            given = "" if self.resolution is None else f" (resolution = {self.resolution:g} cm⁻¹)"
            raise ValueError(
                f"max_lag = {self.depth:g} fs{given}: too short to tell bands apart; at least "
                f"{SHORTEST_LAG:g} fs, 1000 is usual"
            )
        for md in (self.production, self.reference):
            if md is None:
                continue
            check_interval("dipole_interval", self.dipole_interval, self.timestep, md.length)
            check_interval("geometry_interval", self.geometry_interval, self.timestep, md.length)
            if md.length * 1e3 < self.depth + 2 * self.dipole_interval:
                asked = "" if self.resolution is None else f" (resolution = {self.resolution:g})"
                raise ValueError(
                    f"max_lag = {self.depth:g} fs{asked}: it should be shorter than the "
                    f"trajectories ({md.length * 1e3:g} fs)"
                )
            if self.conformers == "boltzmann" and md.replicas == 1:
                kind = "production" if md is self.production else "reference"
                raise ValueError(
                    f"conformers = boltzmann, {kind}.replicas = 1: each conformer needs a "
                    "trajectory of its own, or it counts for nothing; give more replicas, or "
                    "conformers=null"
                )

    def _check_resolution(self) -> None:
        """Refuse a line width without what it leaves open, or that contradicts what is given."""
        if self.resolution is None:
            if self.max_lag is None or self.friction is None:
                missing = "max_lag" if self.max_lag is None else "friction"
                raise ValueError(
                    f"{missing} = null: give a number, or resolution, which chooses it"
                )
            return
        given = f"resolution = {self.resolution:g} cm⁻¹"
        if self.max_lag is not None:
            raise ValueError(
                f"{given}, max_lag = {self.max_lag:g} fs: the one chooses the other; give "
                "max_lag=null, or resolution=null and both max_lag and friction (ps⁻¹)"
            )
        if width_of_friction(self.damping_of_lines) >= 0.9 * self.resolution:
            alone = width_of_friction(self.damping)
            raise ValueError(
                f"{given}, friction = {self.damping:g} ps⁻¹: the friction alone makes lines "
                f"{alone:.3g} cm⁻¹ wide; give friction=null, which chooses it, or less"
            )

    def _check_rings(self) -> None:
        """Refuse what is not defined for ring polymers."""
        if self.thermostat != "langevin":
            raise ValueError(
                f"nuclei = ring_polymer, thermostat = {self.thermostat}: the modes of ring "
                "polymers have Langevin thermostats of their own; give thermostat=langevin, or "
                "nuclei=classical"
            )
        if self.method != "physical":
            raise ValueError(
                f"nuclei = ring_polymer, method = {self.method}: SchNetPack's recipe is one for "
                "classical MD; give method=physical, or nuclei=classical"
            )
        if self.quantum_correction != "harmonic":
            raise ValueError(
                f"nuclei = ring_polymer, quantum_correction = {self.quantum_correction}: the "
                "correlation of ring polymers is Kubo's, for which the harmonic factor is exact; "
                "give harmonic, or nuclei=classical"
            )

    @property
    def ring_beads(self) -> int | None:
        """Beads of each ring polymer; ``None`` with classical nuclei."""
        return self.beads if self.nuclei == "ring_polymer" else None

    def _check_schnetpack(self) -> None:
        """Refuse what SchNetPack's recipe does not know."""
        if self.stride != 1:
            raise ValueError(
                f"dipole_interval = {self.dipole_interval:g} fs: SchNetPack takes dipoles of every "
                f"time step; give {self.timestep:g}, or method=physical"
            )
        if (self.lag_window, self.quantum_correction, self.padding) != ("hann", "harmonic", 4):
            raise ValueError(
                f"lag_window = {self.lag_window}, quantum_correction = {self.quantum_correction}, "
                f"padding = {self.padding}: SchNetPack's recipe has a window and a padding of its "
                "own and no correction; leave them at hann, harmonic and 4, or method=physical"
            )
        if self.conformers == "boltzmann":
            raise ValueError(
                "conformers = boltzmann: SchNetPack's recipe knows no weights; give "
                "conformers=md, or method=physical"
            )
        for kind, md in (("production", self.production), ("reference", self.reference)):
            if md is not None and md.until is not None:
                raise ValueError(
                    f"{kind}.until = {md.until:g}: spectra by SchNetPack's recipe have no error "
                    "that could fall below it; give until=null and the length that is wanted, or "
                    "method=physical"
                )

    @property
    def made(self) -> str:
        """How dipoles become spectra, in words; those that differ in it are not compared."""
        started = "" if self.conformers is None else f", conformers by {self.conformers}"
        window = f"{self.lag_window} over {self.depth:g} fs"
        surer = DIVIDED if self.divides_by_energy else ""
        return f"{self.method}, {window}, {self.quantum_correction}{surer}{started}"

    @property
    def divides_by_energy(self) -> bool:
        """Whether intensities are divided by the kinetic energy of the modes."""
        certain = self.thermostat == "langevin" and self.method == "physical"
        return self.equipartition and certain and self.conformers is None

    @property
    def in_rings(self) -> str:
        """What labels and descriptions of spectra by ring polymers say; empty without them."""
        return f", ring polymers of {self.ring_beads} beads" if self.ring_beads else ""

    @property
    def damping(self) -> float:
        """Friction of Langevin dynamics [ps⁻¹], ``friction`` or by ``resolution``."""
        if self.friction is not None:
            return self.friction
        if self.thermostat != "langevin":
            return MOST_FRICTION  # unused; trajectories do not depend on the resolution then
        return friction_of_width(self.resolution or 0.0)

    @property
    def damping_of_lines(self) -> float:
        """Friction that widens the lines [ps⁻¹]: none without Langevin dynamics."""
        return self.damping if self.thermostat == "langevin" else 0.0

    @property
    def depth(self) -> float:
        """Depth of the autocorrelation [fs], ``max_lag`` or by ``resolution``."""
        if self.max_lag is not None:
            return self.max_lag
        return lag_of_width(self.resolution or 0.0, self.lag_window, self.damping_of_lines)

    @property
    def line_width(self) -> float:
        """How wide window and friction make a sharp line, at half of its height [cm⁻¹]."""
        return line_width(self.depth, self.lag_window, self.damping_of_lines)

    @property
    def expected_error(self) -> float:
        """About how sure the production MD makes strong bands, as a relative standard error.

        √((2/γ + 0.45 τ)/T), with the friction γ (a mode keeps its energy for 1/γ), the depth of the
        autocorrelation τ and the time T of all trajectories; 0.3/γ where the energy of the modes is
        divided out. Of methanol within a quarter of what four sets of trajectories had, with lines
        of 10 to 40 cm⁻¹ (docs/results/spectra.md). NaN without friction.
        """
        if not self.damping_of_lines:
            return float("nan")
        kept = 0.3 if self.divides_by_energy else 2.0
        time = self.production.replicas * self.production.length
        return float(((kept / self.damping + 0.45e-3 * self.depth) / time) ** 0.5)

    @property
    def stride(self) -> int:
        """Steps between dipoles."""
        return max(1, round(self.dipole_interval / self.timestep))

    def experiments(self, molecules: Sequence[str]) -> dict[str, str]:
        """Return the measured spectrum of each molecule that has one.

        Raises
        ------
        PalirsError
            If one file is given for several molecules, or a file for a molecule that is not in the
            study.
        """
        if self.experiment is None:
            return {}
        if isinstance(self.experiment, str):
            if len(molecules) > 1:
                raise PalirsError(
                    f"spectrum.experiment = {self.experiment!r}: one file for {len(molecules)} "
                    f"molecules; give {{name: file}} pairs"
                )
            return {molecules[0]: self.experiment}
        unknown = set(self.experiment) - set(molecules)
        if unknown:
            raise PalirsError(
                f"spectrum.experiment: {', '.join(sorted(unknown))} not among the molecules "
                f"{', '.join(molecules)}"
            )
        return dict(self.experiment)
