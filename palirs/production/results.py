"""Trajectories of a molecule, read back from their files."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palirs import keys
from palirs.production.jobs import Job, steps_of
from palirs.production.trajectories import Checkpoint
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
        Why each trajectory ended early; an empty string for those that did not.
    rates : numpy.ndarray or None
        Shape ``[recorded, frames, modes]`` [eV^1/2], of the normal coordinates (see
        :class:`palirs.vibrations.projection.Projection`), of the trajectories that start from the
        optimum; ``None`` if one of them did not record them.
    strata : Strata or None
        The conformer each complete trajectory starts from, where they are weighted by it.
    kinetic : numpy.ndarray or None
        Shape ``[complete]`` [eV], mean kinetic energy of the nuclei of ring polymers, by the
        centroid virial estimator.
    atoms : int
        How many the molecule has.
    """

    molecule: str
    dipoles: np.ndarray
    temperature: np.ndarray
    spread: np.ndarray
    drift: np.ndarray
    broken: list[str]
    rates: np.ndarray | None = None
    strata: Strata | None = None
    kinetic: np.ndarray | None = None
    atoms: int = 0

    def enough(self, share: float) -> bool:
        """Whether at least one trajectory, and this share of them, reached its end."""
        return len(self.dipoles) >= max(1, share * len(self.broken))


def read(
    jobs: Sequence[Job], md: MD, settings: Spectroscopy, shares: Sequence[float] | None = None
) -> Run:
    """Read the trajectories of one molecule; those that ended early are left out, with a warning.

    ``shares`` are the populations of its conformers, where trajectories are weighted by them.
    """
    frames = steps_of(md.length, settings) // settings.stride
    ends = [job.recording.checkpoint(job.settings) for job in jobs]
    complete, checkpoints = [], []
    for job, end in zip(jobs, ends, strict=True):
        if not end.broken:
            complete.append(job)
            checkpoints.append(end)
        else:
            log.warning(
                "trajectory %s of %s ended early and is left out: %s",
                job.place.name,
                job.place.parent.name,
                end.broken,
            )
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
            "%s: no trajectory of one of its conformers ended well; the others stand in for it",
            jobs[0].place.parent.name,
        )
    rates = [recording.rates(frames) for recording in recordings]
    recorded = [rate for rate in rates if rate is not None]
    dipoles = np.array([recording.dipoles(frames) for recording in recordings])
    strata = None
    if shares is not None and complete:
        strata = Strata(tuple(conformers), tuple(shares))
    return Run(
        molecule=jobs[0].molecule.info[keys.MOLECULE],
        dipoles=dipoles.reshape(-1, frames, 3),
        temperature=np.array([float(end.values["heat"]) / end.frames for end in checkpoints]),
        spread=np.array([float(end.values["spread"]) for end in checkpoints]),
        drift=np.array([float(end.values["drift"]) for end in checkpoints]),
        broken=[end.broken for end in ends],
        rates=np.array(recorded) if recorded and len(recorded) == conformers.count(0) else None,
        strata=strata,
        kinetic=_kinetic(checkpoints),
        atoms=len(jobs[0].molecule),
    )


def _kinetic(ends: Sequence[Checkpoint]) -> np.ndarray | None:
    """Return the mean kinetic energies of ring polymers [eV], if these are some."""
    if not ends or "kinetic" not in ends[0].values:
        return None
    return np.array([float(end.values["kinetic"]) / end.frames for end in ends])


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
