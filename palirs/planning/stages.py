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
    """Keeps how long labels, updates and steps took: listens to :class:`palirs.journal.Journal`."""

    study: StudySettings
    molecules: Sequence[Atoms]
    directory: Path

    def __call__(self, stage: str, done: Mapping[str, float]) -> None:
        """Keep the rates of a stage that has ended: its seconds, memory [MiB] and counts."""
        last = complete_iterations(self.directory)[::-1]
        if stage == "pretraining":
            last = complete_iterations(self.directory / "pretraining")[::-1]
            self._trainings(stage, last, "potential-*.jsonl", done)
        elif stage == "active_learning":
            self._trainings("training", last, "potential-*.jsonl", done)
        elif stage == "dipole":
            self._trainings(stage, last, "dipole-*.jsonl", done)
        elif stage == "production" and self.study.spectrum.production.until is None:
            note_md(self.study, self.molecules, done)
        elif stage == "reference_md":
            self._reference_md(done)
        elif stage == "report":
            per_molecule = done["seconds"] / len(self.molecules)
            rates.note(stage, stage, mean_size(self.molecules), per_molecule)
        if done.get("labels") and "label_seconds" in done:
            per_label = done["label_seconds"] / done["labels"]
            self._label(per_label, workers(self.study.executor.labels), MIN_LABEL)

    def _trainings(
        self, which: str, iterations: Sequence[Path], pattern: str, done: Mapping[str, float]
    ) -> None:
        """Keep the rates of the first of these iterations that trained anything."""
        for directory in iterations:
            beside = pattern.replace("*", f"{directory.name}*")
            logs = sorted(directory.glob(pattern)) or sorted(self.directory.glob(beside))
            if logs:
                size = mean_size(read_frames(directory / "train.xyz"))
                note_training(self.study, which, logs, size, done)
                return

    def _reference_md(self, done: Mapping[str, float]) -> None:
        """Keep how long a step of the engine's own MD took, which is a label."""
        md, is_short = self.study.spectrum.reference, done["seconds"] < MIN_STAGE
        if md is not None and done["steps"] and not is_short:
            count = min(workers(self.study.executor.md), md.replicas * len(self.molecules))
            self._label(done["seconds"] / done["steps"], count, 0.0)

    def _label(self, seconds: float, workers_busy: int, least: float) -> None:
        if workers_busy and seconds > least:
            what, atoms = rate_names(self.study)["label"], mean_size(self.molecules)
            rates.note("label", what, atoms, seconds * workers_busy)


def mean_size(molecules: Sequence[Atoms]) -> float:
    """Return the number of atoms of molecules on average."""
    return float(np.mean([len(atoms) for atoms in molecules]))


def note_training(
    study: StudySettings, which: str, logs: Sequence[Path], atoms: float, done: Mapping[str, float]
) -> None:
    """Keep how long an update took, from the logs of trainings, and the memory of the stage.

    ``which`` is ``training``, ``pretraining`` or ``dipole``. Nothing is kept of a stage that found
    its models trained; they may come from another machine.
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
    """Keep how long one worker took for a step of one trajectory, and the memory of the stage."""
    count = min(workers(study.executor.md), study.spectrum.production.replicas * len(molecules))
    if done["steps"] and done["seconds"] >= least and count:
        what, atoms = rate_names(study)["md"], mean_size(molecules)
        rates.note("md", what, atoms, done["seconds"] * count / done["steps"])
        rates.note("memory", f"md {what}", atoms, done["memory_MiB"])
