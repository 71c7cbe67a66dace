"""Rates of this machine from the stages of studies that run on it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from palirs.learning.completed import complete_iterations
from palirs.molecules import read_frames
from palirs.planning import rates
from palirs.planning.work import rate_names, workers
from palirs.settings import StudySettings

MIN_STAGE = 5.0
"""Seconds that a stage must have taken for its rate to be kept: the start of the workers is then
negligible."""
MIN_LABEL = 0.5
"""Seconds that a label must have taken on average, for the same reason."""
MIN_UPDATES = 150
"""Updates of a training whose rate is kept."""


@dataclass(frozen=True)
class RateRecorder:
    """Keeps how long labels, updates and steps took: listens to :class:`palirs.journal.Journal`.

    Attributes
    ----------
    study : StudySettings
        The settings.
    molecules : sequence of Atoms
        Start geometries.
    directory : Path
        Of the study.
    """

    study: StudySettings
    molecules: Sequence[Atoms]
    directory: Path

    def __call__(self, stage: str, done: Mapping[str, float]) -> None:
        """Keep the rates of a stage that has ended: its seconds, memory [MiB] and counts."""
        last = complete_iterations(self.directory)[-1:]
        if stage == "pretraining":
            last = complete_iterations(self.directory / "pretraining")[-1:]
            self._trainings(stage, last, "potential-*.jsonl", done)
        elif stage == "active_learning":
            self._trainings("training", last, "potential-*.jsonl", done)
        elif stage == "dipole":
            self._trainings(stage, last, "dipole-*.jsonl", done)
        elif stage == "production" and self.study.spectrum.production.until is None:
            note_md(self.study, self.molecules, done)
        elif stage == "reference_md":
            note_reference_md(self.study, self.molecules, done)
        elif stage == "report":
            per_molecule = done["seconds"] / len(self.molecules)
            rates.note(stage, stage, mean_size(self.molecules), per_molecule)
        if done.get("labels") and "label_seconds" in done:
            note_labels(self.study, self.molecules, done)

    def _trainings(
        self, which: str, iteration: Sequence[Path], pattern: str, done: Mapping[str, float]
    ) -> None:
        for directory in iteration:
            beside = pattern.replace("*", f"{directory.name}*")
            logs = sorted(directory.glob(pattern)) or sorted(self.directory.glob(beside))
            note_training(
                self.study, which, logs, mean_size(read_frames(directory / "train.xyz")), done
            )


def mean_size(molecules: Sequence[Atoms]) -> float:
    """Return the number of atoms of molecules on average."""
    return float(np.mean([len(atoms) for atoms in molecules]))


def note_training(
    study: StudySettings, which: str, logs: Sequence[Path], atoms: float, done: Mapping[str, float]
) -> None:
    """Keep how long an update took, from the logs of trainings, and the memory of the stage.

    Nothing is kept of a stage that found its models trained; they may come from another machine.

    Parameters
    ----------
    study : StudySettings
        The settings.
    which : str
        ``training``, ``pretraining`` or ``dipole``.
    logs : sequence of Path
        ``potential-K.jsonl`` or ``dipole-K.jsonl``.
    atoms : float
        Size of the structures, on average.
    done : mapping
        ``seconds`` and ``memory_MiB`` of the stage.
    """
    if done["seconds"] < MIN_STAGE or not workers(study.executor.training):  # on other machines
        return
    last_epochs = [
        json.loads(log.read_text().splitlines()[-1])
        for log in logs
        if log.exists() and log.stat().st_size
    ]
    per_update = [
        epoch["seconds"] / epoch["updates"]
        for epoch in last_epochs
        if epoch.get("updates", 0) >= MIN_UPDATES
    ]
    if per_update:
        kind, what = "dipole" if which == "dipole" else "training", rate_names(study)[which]
        rates.note(kind, what, atoms, float(np.mean(per_update)))
        rates.note("memory", f"{kind} {what}", atoms, done["memory_MiB"])


def note_md(
    study: StudySettings,
    molecules: Sequence[Atoms],
    done: Mapping[str, float],
    least: float = MIN_STAGE,
) -> None:
    """Keep how long one worker took for a step of one trajectory, and the memory of the stage.

    Parameters
    ----------
    study, molecules
        The settings, start geometries.
    done : mapping
        ``seconds``, ``memory_MiB`` and ``steps`` of the stage, of all trajectories together.
    least : float
        Seconds that it must have taken.
    """
    count = min(workers(study.executor.md), study.spectrum.production.replicas * len(molecules))
    if done["steps"] and done["seconds"] >= least and count:
        what, atoms = rate_names(study)["md"], mean_size(molecules)
        rates.note("md", what, atoms, done["seconds"] * count / done["steps"])
        rates.note("memory", f"md {what}", atoms, done["memory_MiB"])


def note_reference_md(
    study: StudySettings, molecules: Sequence[Atoms], done: Mapping[str, float]
) -> None:
    """Keep how long a step of the engine's own MD took, which is a label."""
    md = study.spectrum.reference
    count = min(workers(study.executor.md), md.replicas * len(molecules)) if md else 0
    if done["steps"] and done["seconds"] >= MIN_STAGE and count:
        per_step = done["seconds"] * count / done["steps"]
        rates.note("label", rate_names(study)["label"], mean_size(molecules), per_step)


def note_labels(
    study: StudySettings, molecules: Sequence[Atoms], done: Mapping[str, float]
) -> None:
    """Keep how long a label took, from ``labels`` and ``label_seconds`` of a stage."""
    count, seconds = workers(study.executor.labels), done["label_seconds"] / done["labels"]
    if count and seconds > MIN_LABEL:
        rates.note("label", rate_names(study)["label"], mean_size(molecules), seconds * count)
