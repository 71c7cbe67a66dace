"""The work of a study, stage by stage: how much there is of it, and what its rate depends on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms

from palirs.executors import Slurm
from palirs.settings import MD, StudySettings
from palirs.vibrations import count_modes

RELAXATION = 12
"""Steps in which a start geometry relaxes, as a rule."""
DIPOLE_BYTES, MODE_BYTES = 24, 2
"""Of each recorded frame, and of each mode in it."""


@dataclass(frozen=True)
class Work:
    """Work of one kind.

    Attributes
    ----------
    stage : str
        What it is called.
    amount : str
        How much there is, in words.
    kind, what : str
        Of its rate, see :mod:`palirs.planning.rates`.
    units : dict
        Of the rate: how many for molecules of so many atoms.
    workers : int
        That share it; 0 where they are not on this machine.
    labels : int
        Reference calculations.
    disk : float
        Bytes.
    again : int
        How often it is done at most, each time as much.
    """

    stage: str
    amount: str
    kind: str
    what: str
    units: dict[float, float]
    workers: int
    labels: int = 0
    disk: float = 0.0
    again: int = 1


def digest(*parts: Any) -> str:
    """Return a name for settings that a rate depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=asdict).encode()).hexdigest()[
        :12
    ]


def rate_names(study: StudySettings) -> dict[str, str]:
    """Return what the rates of a study depend on, by kind of work."""
    models, fit, early = study.model, study.training, study.pretraining.training
    return {
        "label": study.engine.fingerprint,
        "training": digest(
            models.potential, fit.potential.batch_size, fit.potential.backend, fit.potential.device
        ),
        "pretraining": digest(models.potential, early.batch_size, early.backend, early.device),
        "dipole": digest(
            models.dipole, fit.dipole.batch_size, fit.dipole.backend, fit.dipole.device
        ),
        "md": digest(models.potential, study.committee.size, study.evaluation),
        "report": "report",
    }


def workers(recipe: Any) -> int:
    """Return how many calls a recipe of workers runs at a time, 0 if they are Slurm jobs."""
    return 0 if isinstance(recipe, Slurm) else getattr(recipe, "count", 1)


def work(study: StudySettings, molecules: Sequence[Atoms]) -> list[Work]:
    """Return the stages of a study with a spectrum, in order."""
    s, names = study, rate_names(study)
    sizes = [len(atoms) for atoms in molecules]
    modes = [count_modes(atoms) for atoms in molecules]
    label, train, move = (
        workers(one) for one in (s.executor.labels, s.executor.training, s.executor.md)
    )
    mean, stored = float(np.mean(sizes)), 200.0 + 110.0 * float(np.mean(sizes))
    vibrations = dict.fromkeys(map(float, sizes), 0.0)
    for size, count in zip(sizes, modes, strict=True):
        vibrations[size] += 2 * count + RELAXATION
    first = sum(s.initial.count(count) for count in modes)
    walkers = len(s.sampler.temperatures) * s.sampler.replicas
    later = s.selector.count(len(molecules), walkers * len(molecules))
    beads = s.sampler.ring_beads
    again, updates = s.learning.iterations - 1, s.training.potential.updates
    trained = f"{s.committee.size} × {updates:,} updates" + (
        " at most" if s.training.potential.schedule == "doubling" else ""
    )
    explored, hessians = (
        f"{len(molecules) * walkers} × {s.sampler.steps:,} steps" + _of_beads(beads),
        sum(2 * count for count in modes),
    )

    def paid(stage: str, amount: str, units: dict[float, float], again: int = 1) -> Work:
        count = sum(units.values())
        return Work(
            stage,
            amount,
            "label",
            names["label"],
            units,
            label,
            round(count),
            stored * count,
            again,
        )

    def taught(stage: str, again: int = 1) -> Work:
        share = min(train, s.committee.size)  # a member is trained by one worker at a time
        return Work(
            stage,
            trained,
            "training",
            names["training"],
            {mean: s.committee.size * updates},
            share,
            again=again,
        )

    found = [
        *_pretraining(s, names["pretraining"], train, mean),
        *_early_rings(s, names["md"], move, sizes),
        paid("reference vibrations", f"{hessians} displacements, relaxation", vibrations),
        paid("first labels", f"{first} samples about the optima", {mean: first}),
        taught("first training"),
        Work(
            "exploration",
            explored,
            "md",
            names["md"],
            _each(sizes, walkers * s.sampler.steps * (beads or 1)),
            min(move, walkers * len(sizes)),
            again=again,
        ),
        paid("more labels", f"{later} at most", {mean: later}, again),
        taught("more training", again),
    ]
    measures = s.learning.forces_mae is not None and s.learning.split == "groups"
    confirm = s.learning.confirm * len(molecules) if measures else 0
    found.append(paid("confirmation", f"{confirm} frames of MD", {mean: confirm}))
    found += _spectra(s, molecules, names, (label, train, move))
    return [one for one in found if one.again and sum(one.units.values())]


def _spectra(
    s: StudySettings, molecules: Sequence[Atoms], names: dict[str, str], where: tuple[int, int, int]
) -> list[Work]:
    """Return what comes after active learning; nothing without dipoles."""
    (_, train, move), mean, found = (
        where,
        float(np.mean([len(atoms) for atoms in molecules])),
        list[Work](),
    )
    if s.engine.gives_dipole:
        count = s.committee.dipoles * s.training.dipole.updates
        times = (
            1 if s.learning.intensities is None else s.learning.iterations
        )  # then each iteration trains its own
        share = min(train, s.committee.dipoles)
        found.append(
            Work(
                "dipole model",
                f"{count:,} updates",
                "dipole",
                names["dipole"],
                {mean: count},
                share,
                again=times,
            )
        )
        found.append(
            _md("production", s.spectrum.production, s, molecules, "md", names["md"], move)
        )
        found.append(
            Work(
                "report",
                f"{len(molecules)} spectra",
                "report",
                names["report"],
                {mean: len(molecules)},
                1,
                disk=6e6,
            )
        )
    if s.engine.gives_dipole and s.spectrum.reference is not None:
        found.append(
            _md("reference MD", s.spectrum.reference, s, molecules, "label", names["label"], move)
        )
    return found


def _pretraining(study: StudySettings, what: str, workers: int, atoms: float) -> list[Work]:
    """Return the trainings on labels of the cheap engine, which cost next to nothing."""
    early = study.pretraining
    if early.engine is None:
        return []
    updates = early.iterations * study.committee.size * early.training.updates
    amount = f"{early.iterations} × {study.committee.size} × {early.training.updates:,} updates"
    share = min(workers, study.committee.size)
    return [Work("pretraining", amount, "training", what, {atoms: updates}, share)]


def _early_rings(study: StudySettings, what: str, move: int, sizes: list[int]) -> list[Work]:
    """Return the explorations of pretraining by ring polymers; classical ones cost little."""
    early, sampler = study.pretraining, study.sampler
    if early.engine is None or sampler.ring_beads is None:
        return []
    walkers = len(early.temperatures) * sampler.replicas
    steps, again = walkers * sampler.steps, early.iterations - 1
    amount = f"{len(sizes) * walkers} × {sampler.steps:,} steps" + _of_beads(sampler.ring_beads)
    units = _each(sizes, steps * sampler.ring_beads)
    share = min(move, walkers * len(sizes))
    return [Work("early exploration", amount, "md", what, units, share, again=again)]


def _of_beads(beads: int | None) -> str:
    return f" of {beads} beads" if beads else ""


def _each(sizes: Sequence[int], units: float) -> dict[float, float]:
    """Return so many units for each molecule, by size."""
    return {float(size): units * sizes.count(size) for size in dict.fromkeys(sizes)}


def _md(
    stage: str,
    md: MD,
    study: StudySettings,
    molecules: Sequence[Atoms],
    kind: str,
    what: str,
    move: int,
) -> Work:
    settings, sizes = study.spectrum, [len(atoms) for atoms in molecules]
    beads = settings.ring_beads if kind == "md" else None
    steps = md.replicas * round((md.thermalisation + md.length) * 1e3 / settings.timestep)
    frames = md.replicas * md.length * 1e3 / (settings.stride * settings.timestep)
    kept = md.replicas * md.length * 1e3 / settings.geometry_interval
    disk = sum(
        frames * (DIPOLE_BYTES + MODE_BYTES * count_modes(atoms)) + kept * (80 + 50 * len(atoms))
        for atoms in molecules
    )
    amount = (
        f"{len(molecules) * md.replicas} × {md.length:g} ps, {steps * len(molecules):,} steps"
        + (" or more" if md.until else "")
        + _of_beads(beads)
    )
    return Work(
        stage,
        amount,
        kind,
        what,
        _each(sizes, steps * (beads or 1)),
        min(move, md.replicas * len(molecules)),
        disk=disk,
    )
