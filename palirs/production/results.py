"""What production found: trajectories read back from their files, and the spectrum of their dipoles."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from palirs import keys
from palirs.production.batch import Job, steps_of
from palirs.recipes import PalirsError
from palirs.settings import MD, Spectroscopy
from palirs.settings.spectroscopy import HIGHEST
from palirs.spectra import Spectrum, Strata, infrared_spectrum, undo_verlet_shift
from palirs.spectra.density import mode_densities

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """Recorded trajectories of one molecule.

    Attributes
    ----------
    molecule : str
        Its name.
    dipoles : numpy.ndarray
        Shape ``[whole, frames, 3]`` [e·Å], of the trajectories that ended well; so the next three.
    temperature : numpy.ndarray
        Shape ``[whole]`` [K], mean kinetic temperature.
    spread : numpy.ndarray
        Shape ``[whole]`` [eV/Å], largest force spread of the committee met on the way; zero for an
        engine.
    drift : numpy.ndarray
        Shape ``[whole]`` [eV/ps], change of the conserved quantity.
    broken : list of str
        Why each trajectory ended early; empty for those that did not.
    rates : numpy.ndarray or None
        Shape ``[recorded, frames, modes]`` [eV^1/2], of the normal coordinates (see
        :class:`palirs.vibrations.projection.Projection`), of the trajectories that start from the
        optimum; ``None`` if one of them did not record them.
    strata : Strata or None
        What conformer each whole trajectory starts from, where they count by it.
    """

    molecule: str
    dipoles: np.ndarray
    temperature: np.ndarray
    spread: np.ndarray
    drift: np.ndarray
    broken: list[str]
    rates: np.ndarray | None = None
    strata: Strata | None = None

    def enough(self, share: float) -> bool:
        """Tell whether at least one, and this share of the trajectories, ended well."""
        return len(self.dipoles) >= max(1, share * len(self.broken))


def read(
    jobs: Sequence[Job], md: MD, settings: Spectroscopy, shares: Sequence[float] | None = None
) -> Run:
    """Read the trajectories of one molecule; those that ended early are told, and left out.

    ``shares`` are those of its conformers.
    """
    frames = steps_of(md.length, settings) // settings.stride
    recordings = [job.recording for job in jobs]
    ends = [
        recording.checkpoint(job.settings) for recording, job in zip(recordings, jobs, strict=True)
    ]
    for job, end in zip(jobs, ends, strict=True):
        if end.broken:
            log.warning(
                "trajectory %s of %s ended early and is left out: %s",
                job.place.name,
                job.place.parent.name,
                end.broken,
            )
    whole = [
        (recording, end) for recording, end in zip(recordings, ends, strict=True) if not end.broken
    ]
    for recording, _ in whole:
        if len(recording.dipoles(frames)) < frames:
            raise PalirsError(
                f"{recording.dipole_file} has fewer than {frames} dipoles; remove {recording.checkpoint_file} to run it anew"
            )
    starts = [job.conformer for job, end in zip(jobs, ends, strict=True) if not end.broken]
    rates = [found for recording, _ in whole if (found := recording.rates(frames)) is not None]
    if shares is not None and len(set(starts)) < len({job.conformer for job in jobs}):
        log.warning(
            "%s: no trajectory of one of its conformers ended well; the others count for it",
            jobs[0].place.parent.name,
        )
    return Run(
        molecule=jobs[0].molecule.info[keys.MOLECULE],
        dipoles=np.array([recording.dipoles(frames) for recording, _ in whole]).reshape(
            -1, frames, 3
        ),
        temperature=np.array([float(end.values["heat"]) / end.frames for _, end in whole]),
        spread=np.array([float(end.values["spread"]) for _, end in whole]),
        drift=np.array([float(end.values["drift"]) for _, end in whole]),
        broken=[end.broken for end in ends],
        rates=np.array(rates) if rates and len(rates) == starts.count(0) else None,
        strata=None if shares is None or not starts else Strata(tuple(starts), tuple(shares)),
    )


def check_enough(runs: Sequence[Run], share: float) -> None:
    """Raise :class:`PalirsError` for molecules of which too few trajectories ended well."""
    short = [run for run in runs if not run.enough(share)]
    if short:
        lines = [
            f"{run.molecule}: {len(run.dipoles)} of {len(run.broken)} trajectories ended well; one that did not: "
            f"{next(filter(None, run.broken))}"
            for run in short
        ]
        raise PalirsError(
            "\n".join(lines)
            + f"\nToo few for a spectrum (spectrum.complete={share:g}): use a smaller spectrum.timestep, a lower "
            f"temperature or a better model. A trajectory begins anew when its .npz file is removed; one whose engine failed is gone on "
            f"with by the next run"
        )


def spectrum_of(
    dipoles: np.ndarray,
    settings: Spectroscopy,
    temperature: float,
    label: str,
    strata: Strata | None = None,
) -> Spectrum:
    """Spectrum with its standard error of trajectories ``[replicas, frames, 3]`` [e·Å] at a temperature [K]."""
    interval = settings.stride * settings.timestep
    found = infrared_spectrum(
        dipoles,
        interval,
        temperature=temperature,
        max_lag=settings.max_lag,
        window=settings.lag_window,
        padding=settings.padding,
        quantum_correction=settings.quantum_correction,
        method=settings.method,
        strata=strata,
    )
    if settings.method == "physical":
        found = undo_verlet_shift(found, settings.timestep, settings.thermostat)
    time = 1e-3 * interval * dipoles.shape[0] * dipoles.shape[1]
    return replace(found.within(0.0, HIGHEST), label=label, made=settings.made, time=time)


def densities_of(
    rates: np.ndarray | None, settings: Spectroscopy
) -> tuple[np.ndarray, np.ndarray] | None:
    """Wavenumbers [cm⁻¹] and densities [1/cm⁻¹] of the modes of trajectories ``[replicas, frames, modes]``; ``None`` without a record."""
    if rates is None:
        return None
    wavenumber, densities = mode_densities(
        rates,
        settings.stride * settings.timestep,
        max_lag=settings.max_lag,
        window=settings.lag_window,
    )
    spectra = [Spectrum(wavenumber, density) for density in densities]
    if settings.method == "physical":
        spectra = [
            undo_verlet_shift(one, settings.timestep, settings.thermostat) for one in spectra
        ]
    parts = [one.within(0.0, HIGHEST) for one in spectra]
    return parts[0].wavenumber, np.array([one.intensity / one.area for one in parts])
