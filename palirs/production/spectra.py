"""Production MD and its spectra, for every task that makes spectra."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from palirs import keys
from palirs.production.ensemble import ConformerEnsemble
from palirs.production.results import Run
from palirs.production.simulation import Simulation
from palirs.settings import Spectroscopy
from palirs.settings.spectroscopy import HIGHEST
from palirs.spectra import Spectrum, Strata, infrared_spectrum, undo_verlet_shift
from palirs.spectra.assignment import Modes, assigned_bands
from palirs.spectra.bands import band_error
from palirs.spectra.density import by_equipartition, mode_densities, mode_energies
from palirs.spectra.similarity import Comparison
from palirs.spectra.spectrum import without_division
from palirs.spectra.store import SpectrumStore
from palirs.vibrations import Harmonic
from palirs.vibrations.naming import characters

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Production(Simulation):
    """The MD of :class:`Simulation`, run until its bands are converged, and the spectra of it.

    Attributes
    ----------
    kind : str
        Kind of the spectra: ``predicted`` or ``reference``.
    label : str
        Name of the source in the labels of spectra.
    """

    kind: str
    label: str

    def run(self, starts: Sequence[Harmonic | ConformerEnsemble], executor: Executor) -> list[Run]:
        """Run or continue the trajectories.

        With ``md.until`` the trajectories of molecules whose bands are not converged are continued,
        up to ``md.longest``.
        """
        finished: dict[str, Run] = {}
        pending, length = list(starts), self.md.length
        while pending:
            longer = replace(self, md=replace(self.md, length=length))
            runs = longer.simulate(pending, executor)
            finished |= {run.molecule: run for run in runs}
            errors = self._unconverged(runs)
            if not errors:
                break
            names = ", ".join(f"{name} {error:.1%}" for name, error in errors.items())
            until = self.md.until or np.inf
            if length >= self.md.longest:
                log.warning(
                    "after %g ps the bands are not sure to %.1f %%: %s; raise longest to go on",
                    length,
                    100 * until,
                    names,
                )
                break
            ratio = max(errors.values()) / until
            length = min(self.md.longest, length * float(np.clip(ratio**2, 1.25, 2.0)))
            log.info(
                "bands not sure to %.1f %% yet: %s; going on to %.3g ps", 100 * until, names, length
            )
            pending = [start for start in pending if start.atoms.info[keys.MOLECULE] in errors]
        return [finished[start.atoms.info[keys.MOLECULE]] for start in starts]

    def _unconverged(self, runs: Sequence[Run]) -> dict[str, float]:
        """Return band errors not below ``md.until``, of molecules with enough trajectories."""
        if self.md.until is None:
            return {}
        errors = {
            run.molecule: band_error(self.spectrum(run), self.settings.window)
            for run in runs
            if run.enough(self.settings.complete)
        }
        return {name: error for name, error in errors.items() if not error < self.md.until}

    def spectrum(self, run: Run) -> Spectrum:
        """Return the spectrum of the trajectories of a molecule."""
        picoseconds = run.dipoles.shape[1] * self.settings.stride * self.settings.timestep * 1e-3
        label = (
            f"{self.label}, {self.temperature:g} K, {len(run.dipoles)} × {picoseconds:.3g} ps"
            + CONFORMERS[self.settings.conformers]
        )
        rings = self.settings.in_rings if self.beads else ""
        spectrum = spectrum_of(
            run.dipoles,
            self.settings,
            self.temperature,
            label,
            run.strata,
            run.rates,
            run.molecule,
        )
        return replace(spectrum, label=label + rings, made=spectrum.made + rings)

    def write_spectra(self, runs: Sequence[Run], store: SpectrumStore) -> dict[str, Spectrum]:
        """Write and return the spectrum of each molecule with enough complete trajectories.

        An older spectrum of the others is removed.
        """
        spectra = {}
        for run in runs:
            if not run.enough(self.settings.complete):
                store.remove(run.molecule, self.kind)
                continue
            spectra[run.molecule] = self.spectrum(run)
            densities = densities_of(run.rates, self.settings)
            store.write(run.molecule, self.kind, spectra[run.molecule], densities)
        return spectra


UNLIKELY = 8.0
"""Deviation of the energy of a mode from equipartition that chance does not explain, in standard
deviations of the energy of a harmonic oscillator by Langevin dynamics, √(2/(γT))."""
CONFORMERS = {
    None: "",
    "md": ", from conformers",
    "boltzmann": ", conformers by Boltzmann weights",
}
"""What the label of a spectrum says about its start geometries."""


def spectrum_of(
    dipoles: np.ndarray,
    settings: Spectroscopy,
    temperature: float,
    label: str,
    strata: Strata | None = None,
    rates: np.ndarray | None = None,
    molecule: str = "",
) -> Spectrum:
    """Return the spectrum of trajectories.

    Parameters
    ----------
    dipoles : numpy.ndarray
        Shape ``[replicas, frames, 3]`` [e·Å].
    settings : Spectroscopy
        How it is made.
    temperature : float
        [K].
    label : str
        Of the spectrum.
    strata : Strata, optional
        Kinds of the trajectories.
    rates : numpy.ndarray, optional
        Of the normal coordinates of these trajectories, ``[replicas, frames, modes]`` [eV^1/2], for
        ``settings.equipartition``.
    molecule : str
        For warnings.
    """
    interval = settings.stride * settings.timestep
    spectrum = infrared_spectrum(
        dipoles,
        interval,
        temperature=temperature,
        max_lag=settings.depth,
        window=settings.lag_window,
        padding=settings.padding,
        quantum_correction=settings.quantum_correction,
        method=settings.method,
        strata=strata,
    )
    if settings.method == "physical":
        spectrum = undo_verlet_shift(spectrum, settings.timestep, settings.thermostat)
    spectrum, made = spectrum.within(0.0, HIGHEST), settings.made
    if settings.divides_by_energy:
        divided = _divided(spectrum, rates, settings, temperature, molecule)
        made = without_division(made) if divided is None else made
        spectrum = divided or spectrum
    time = 1e-3 * interval * dipoles.shape[0] * dipoles.shape[1]
    return replace(spectrum, label=label, made=made, time=time)


def _divided(
    spectrum: Spectrum,
    rates: np.ndarray | None,
    settings: Spectroscopy,
    temperature: float,
    molecule: str,
) -> Spectrum | None:
    """Return a spectrum with intensities over the kinetic energy of the modes.

    ``None``, with a warning, without their rates, or if these are not those of equilibrium: a mode
    has more or less energy than chance explains.
    """
    densities = densities_of(rates, settings)
    if rates is None or densities is None:
        log.warning(
            "%s: trajectories began without the rates of the modes, so intensities are not divided "
            "by their kinetic energy (spectrum.equipartition)",
            molecule,
        )
        return None
    interval = settings.stride * settings.timestep
    energies = mode_energies(
        rates, densities, interval=interval, timestep=settings.timestep, temperature=temperature
    )
    excess = energies.mean(axis=0) - 1
    chance = (2 / (settings.damping * 1e-3 * interval * len(rates) * rates.shape[1])) ** 0.5
    if np.abs(excess).max() > UNLIKELY * chance:
        log.warning(
            "%s: mode %d has %.2f of the kinetic energy of equipartition, which chance does not "
            "explain, so intensities are not divided by it (spectrum.equipartition)",
            molecule,
            np.abs(excess).argmax() + 1,
            1 + excess[np.abs(excess).argmax()],
        )
        return None
    return by_equipartition(spectrum, energies, densities)


def densities_of(
    rates: np.ndarray | None, settings: Spectroscopy
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return wavenumbers [cm⁻¹] and densities of states [1/cm⁻¹] of the modes of trajectories.

    ``rates`` have shape ``[replicas, frames, modes]``; ``None`` if they were not recorded.
    """
    if rates is None:
        return None
    wavenumber, densities = mode_densities(
        rates,
        settings.stride * settings.timestep,
        max_lag=settings.depth,
        window=settings.lag_window,
    )
    spectra = [Spectrum(wavenumber, density) for density in densities]
    if settings.method == "physical":
        spectra = [
            undo_verlet_shift(spectrum, settings.timestep, settings.thermostat)
            for spectrum in spectra
        ]
    parts = [spectrum.within(0.0, HIGHEST) for spectrum in spectra]
    return parts[0].wavenumber, np.array([part.intensity / part.area for part in parts])


def assign(
    spectra: Mapping[str, Spectrum],
    window: tuple[float, float],
    reference: Harmonic,
    predicted: Harmonic | None,
    densities: tuple[np.ndarray, np.ndarray] | None,
) -> list[dict[str, float | str]]:
    """Return the bands of spectra with the normal modes they come from, by :func:`assigned_bands`.

    ``reference`` are the vibrations by the engine, ``predicted`` those by the committee in the same
    order; without them the engine's are used. The list is empty without intensities.
    """
    if predicted is None or predicted.intensities is None:
        predicted = reference
    if predicted.intensities is None:
        return []
    names = [str(character) for character in characters(reference)]
    modes = Modes(names, predicted.frequencies, predicted.intensities, reference.frequencies)
    return assigned_bands(spectra, window, modes, densities)


def comparison_of(settings: Spectroscopy) -> Comparison:
    """Return how spectra made with these settings are compared."""
    return Comparison(
        window=settings.window,
        without_saturated=settings.leave_out_saturated,
        frequency_scale=settings.frequency_scale,
        max_lag=settings.depth,
        lag_window=settings.lag_window,
        friction=settings.damping_of_lines,
        made=settings.made,
        nuclei=settings.in_rings,
    )


def spectrum_store(
    directory: Path, settings: Spectroscopy, temperature: float, molecules: Sequence[str]
) -> SpectrumStore:
    """Return the spectra of a study directory at a temperature [K]."""
    return SpectrumStore(
        directory=directory,
        molecules=molecules,
        temperature=temperature,
        comparison=comparison_of(settings),
        experiments=settings.experiments(molecules),
    )
