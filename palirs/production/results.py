"""Trajectories read back from their files."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palirs import keys
from palirs.production.batch import Job, steps_of
from palirs.recipes import PalirsError
from palirs.settings import MD, Spectroscopy
from palirs.spectra import Strata

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """Recorded trajectories of one molecule.

    Attributes
    ----------
    molecule : str
        Its name.
    dipoles : numpy.ndarray
        Shape ``[complete, frames, 3]`` [e·Å], of the trajectories that reached their end.
    temperature : numpy.ndarray
        Shape ``[complete]`` [K], mean kinetic temperature.
    spread : numpy.ndarray
        Shape ``[complete]`` [eV/Å], largest force spread of the committee along the trajectory;
        zero for an engine.
    drift : numpy.ndarray
        Shape ``[complete]`` [eV/ps], of the conserved quantity.
    broken : list of str
        Why each trajectory ended early; empty for those that did not.
    rates : numpy.ndarray or None
        Shape ``[recorded, frames, modes]`` [eV^1/2], of the normal coordinates (see
        :class:`palirs.vibrations.projection.Projection`), of the trajectories that start from the
        optimum; ``None`` if one of them did not record them.
    strata : Strata or None
        The conformer each complete trajectory starts from, where trajectories count by it.
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
        """Whether at least one trajectory, and this share of them, reached its end."""
        return len(self.dipoles) >= max(1, share * len(self.broken))


def read(
    jobs: Sequence[Job], md: MD, settings: Spectroscopy, shares: Sequence[float] | None = None
) -> Run:
    """Read the trajectories of one molecule; those that ended early are left out, with a warning.

    ``shares`` are the populations of its conformers, where trajectories count by them.
    """
    frames = steps_of(md.length, settings) // settings.stride
    ends = [job.recording.checkpoint(job.settings) for job in jobs]
    for job, end in zip(jobs, ends, strict=True):
        if end.broken:
            log.warning(
                "trajectory %s of %s ended early and is left out: %s",
                job.place.name,
                job.place.parent.name,
                end.broken,
            )
    complete = [job for job, end in zip(jobs, ends, strict=True) if not end.broken]
    values = [end.values for end in ends if not end.broken]
    recordings = [job.recording for job in complete]
    for recording in recordings:
        if len(recording.dipoles(frames)) < frames:
            raise PalirsError(
                f"{recording.dipole_file} has fewer than {frames} dipoles; "
                f"remove {recording.checkpoint_file} to run it anew"
            )
    conformers = [job.conformer for job in complete]
    if shares is not None and len(set(conformers)) < len({job.conformer for job in jobs}):
        log.warning(
            "%s: no trajectory of one of its conformers ended well; the others count for it",
            jobs[0].place.parent.name,
        )
    rates = [recording.rates(frames) for recording in recordings]
    recorded = [rate for rate in rates if rate is not None]
    elapsed = [end.frames for end in ends if not end.broken]
    heats = [float(value["heat"]) for value in values]
    return Run(
        molecule=jobs[0].molecule.info[keys.MOLECULE],
        dipoles=np.array([recording.dipoles(frames) for recording in recordings]).reshape(
            -1, frames, 3
        ),
        temperature=np.array([heat / count for heat, count in zip(heats, elapsed, strict=True)]),
        spread=np.array([float(value["spread"]) for value in values]),
        drift=np.array([float(value["drift"]) for value in values]),
        broken=[end.broken for end in ends],
        rates=np.array(recorded) if recorded and len(recorded) == conformers.count(0) else None,
        strata=Strata(tuple(conformers), tuple(shares))
        if shares is not None and complete
        else None,
    )


def check_enough(runs: Sequence[Run], share: float) -> None:
    """Raise :class:`PalirsError` for molecules of which too few trajectories reached their end."""
    lines = [
        f"{run.molecule}: {len(run.dipoles)} of {len(run.broken)} trajectories ended well; "
        f"one that did not: {next(filter(None, run.broken))}"
        for run in runs
        if not run.enough(share)
    ]
    if lines:
        lines.append(
            f"Too few for a spectrum (spectrum.complete={share:g}): use a smaller "
            "spectrum.timestep, a lower temperature or a better model. A trajectory begins anew "
            "when its .npz file is removed; one whose engine failed is continued by the next run"
        )
        raise PalirsError("\n".join(lines))
