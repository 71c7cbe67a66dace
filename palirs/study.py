"""The open resources of a study while it runs."""

import json
import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ase import Atoms

from palirs.executors import Later, Slurm
from palirs.labels import Labeller, LabelStore
from palirs.learning.loop import Plan, complete_iterations, final_committee, reference_vibrations
from palirs.mace.models.committee import Committee
from palirs.recipes import PalirsError
from palirs.settings import Study
from palirs.tracking import Off, Tracker
from palirs.vibrations import Harmonic

log = logging.getLogger(__name__)

LABELS_ONLY = ("check", "label", "contract", "import_labels", "export_labels", "import_model")
"""Tasks that touch at most the label store."""

FREE = (".backend", ".device", ".save_interval")
"""Endings of keys of ``training`` that may change between runs of a study: they say where and how fast, not what."""
IDENTITY = ("molecules", "engine", "model", "training", "sampler", "selector", "committee", "seed")
"""Settings that the results of a study directory depend on: they may not change between runs on it. The length of the loop, spectra,
temperature, executor and tracker may."""


@dataclass
class Session:
    """A study that runs: its directory, workers, label store and tracker.

    Attributes
    ----------
    study : Study
        The settings.
    molecules : list of Atoms
        Checked start geometries.
    directory : Path
        Where everything is written.
    labeller : Labeller
        Reference calculations through the label store.
    trainers, movers : Executor
        Training; MD.
    tracker : Tracker
        Metrics and artifacts.
    """

    study: Study
    molecules: list[Atoms]
    directory: Path
    labeller: Labeller
    trainers: Executor
    movers: Executor
    tracker: Tracker

    @cached_property
    def references(self) -> tuple[Harmonic, ...]:
        """Optimum and harmonic vibrations of each molecule by the reference engine."""
        return reference_vibrations(self.molecules, self.labeller)

    @property
    def optima(self) -> list[Atoms]:
        """Geometries relaxed by the reference engine."""
        return [known.atoms for known in self.references]

    @property
    def plan(self) -> Plan:
        """What active learning needs to know."""
        s = self.study
        return Plan(
            directory=self.directory,
            seed=s.seed,
            members=s.committee.size,
            learning=s.learning,
            architecture=s.model.potential,
            training=s.training.potential,
            sampler=s.sampler,
            selector=s.selector,
            references=self.references,
            evaluation=s.evaluation,
        )

    @property
    def committee(self) -> Committee:
        """The committee of the last completed iteration."""
        return final_committee(self.directory)

    @property
    def dipole_files(self) -> tuple[Path, ...]:
        """Files of the dipole models; their names tell the iteration whose data they learnt from."""
        last = complete_iterations(self.directory)[-1].name
        others = [f"dipole-{last}-{member}.safetensors" for member in range(1, self.study.committee.dipoles)]
        return tuple(self.directory / name for name in (f"dipole-{last}.safetensors", *others))


@contextmanager
def open_session(study: Study, directory: Path, resolved: dict, yaml: str | None, name: str, sweep: str | None) -> Iterator[Session]:
    """Open the resources of a study.

    Parameters
    ----------
    study : Study
        Built settings.
    directory : Path
        Study directory, made if it does not exist.
    resolved : dict
        The configuration as plain values, to compare with the one the directory was made with.
    yaml : str or None
        The same as text, written to ``config.yaml``; ``None`` for a task that is only about labels: then the directory need not be one
        of a study with these settings, and nothing is tracked.
    name : str
        Of the tracked run.
    sweep : str or None
        Name of the sweep this study belongs to.
    """
    molecules = study.checked_molecules()
    directory.mkdir(parents=True, exist_ok=True)
    if yaml is not None:
        _claim(directory, resolved)
        (directory / "config.yaml").write_text(yaml)
    with ExitStack() as stack:
        recipe = study.tracker if yaml is not None else Off()
        tracker = stack.enter_context(recipe.open(directory, name, _flat(resolved), sweep))
        if yaml is not None:
            tracker.artifact(directory / "config.yaml")
        recipes = study.executor
        opened: dict[Any, Executor] = {}
        for workers in (recipes.labels, recipes.training, recipes.md):
            if yaml is not None and isinstance(workers, Slurm):
                workers.check()  # before hours of other work
            if workers not in opened:
                opened[workers] = Later(workers, stack)
        store = LabelStore(study.labels.store or directory / "labels.db")
        labeller = Labeller(study.engine, store, opened[recipes.labels], study.labels.attempts)
        yield Session(study, molecules, directory, labeller, opened[recipes.training], opened[recipes.md], tracker)


def _claim(directory: Path, resolved: dict) -> None:
    """Refuse to mix results of different settings in one directory."""
    file = directory / "identity.json"
    mine = _flat({key: resolved[key] for key in IDENTITY})
    if file.exists():
        theirs = json.loads(file.read_text())
        changed = [key for key in sorted({*mine, *theirs}) if mine.get(key) != theirs.get(key) and not _free(key)]
        if changed:
            lines = "\n".join(f"  {key}: {theirs.get(key)} -> {mine.get(key)}" for key in changed)
            raise PalirsError(
                f"study {directory} was made with other settings:\n{lines}\n"
                f"Give this one a directory of its own (study=<dir>), or go back to the old values to continue"
            )
    file.write_text(json.dumps(mine, indent=1, ensure_ascii=False))


def _free(key: str) -> bool:
    return key.startswith("training.") and key.endswith(FREE)


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(values, dict) and values:
        return {key: value for name, child in values.items() for key, value in _flat(child, f"{prefix}{name}.").items()}
    return {prefix.rstrip("."): values}
