"""The open resources of a study while it runs."""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from palirs import keys
from palirs.executors import LazyExecutor, Slurm, preload
from palirs.geometry.electrons import Electrons
from palirs.journal import Journal
from palirs.labels import Labeller, LabelStore
from palirs.learning.completed import complete_iterations
from palirs.lock import HeldError, locked
from palirs.planning.stages import RateRecorder
from palirs.recipes import PalirsError
from palirs.settings import StudySettings
from palirs.settings.flat import flat
from palirs.study.identity import check_identity, identity
from palirs.study.task import Task
from palirs.tracking import Off, Tracker

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """The open resources of a study; looking at them calculates nothing.

    Attributes
    ----------
    settings : StudySettings
        The whole configuration.
    molecules : list of Atoms
        Checked start geometries.
    directory : Path
        Of the study.
    labeller : Labeller
        Reference calculations through the label store.
    training_executor, md_executor : Executor
        Where models are trained, and where trajectories run.
    tracker : Tracker
        Metrics and artifacts.
    journal : Journal
        What programs did to the study.
    """

    settings: StudySettings
    molecules: list[Atoms]
    directory: Path
    labeller: Labeller
    training_executor: Executor
    md_executor: Executor
    tracker: Tracker
    journal: Journal

    @property
    def names(self) -> list[str]:
        """Names of the molecules."""
        return [str(atoms.info[keys.MOLECULE]) for atoms in self.molecules]


@contextmanager
def open_session(
    settings: StudySettings,
    molecules: list[Atoms],
    directory: Path,
    resolved: dict,
    yaml: str,
    task: Task,
    *,
    sweep: str | None = None,
) -> Iterator[Session]:
    """Open the resources of a study.

    Parameters
    ----------
    settings : StudySettings
        Built settings.
    molecules : list of Atoms
        From :meth:`StudySettings.checked_molecules`.
    directory : Path
        Study directory, made if it does not exist.
    resolved : dict
        The configuration as plain values, to compare with the one the directory was made with.
    yaml : str
        The same as text, written to ``config.yaml``.
    task : Task
        Declares whether the study is locked, and may grow. Without a lock the directory need not be
        one of a study with these settings.
    sweep : str or None
        Name of the sweep this study belongs to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        alone = task.lock and _lock(stack, directory, task)
        tracker = stack.enter_context(
            (settings.tracker if alone else Off()).open(
                directory,
                directory.absolute().name,
                flat(resolved) | _electrons(molecules),
                sweep,
            )
        )
        if task.lock:
            iterations = len(complete_iterations(directory))
            own = identity(resolved, molecules)
            check_identity(directory, own, task.grows, alone, iterations)
        if alone:
            (directory / "config.yaml").write_text(yaml, encoding="utf-8")
        listeners = (RateRecorder(settings, molecules, directory), tracker.stage_ended)
        journal = Journal(directory, writes=alone, listeners=listeners)
        journal.program(task.name)
        executors = _executors(settings, stack, check=alone)
        labelling = executors[settings.executor.labels]
        labeller = Labeller(
            settings.engine,
            LabelStore(settings.labels.store or directory / "labels.db"),
            _RefusingExecutor(directory) if task.reads_only else labelling,
            settings.labels.attempts,
        )
        yield Session(
            settings,
            molecules,
            directory,
            labeller,
            executors[settings.executor.training],
            executors[settings.executor.md],
            tracker,
            journal,
        )


def _electrons(molecules: Sequence[Atoms]) -> dict[str, str]:
    """Return charge and multiplicity of ions and open shells in words, as parameters of the run."""
    states = {str(atoms.info[keys.MOLECULE]): Electrons.of(atoms) for atoms in molecules}
    ions = {name: electrons for name, electrons in states.items() if not electrons.ordinary}
    for name, electrons in ions.items():
        log.info("%s: %s", name, electrons)
    return {f"electrons.{name}": str(electrons) for name, electrons in ions.items()}


class _RefusingExecutor(Executor):
    """Refuses labels to tasks that only read, whose settings somebody else may have written."""

    def __init__(self, directory: Path):
        self._directory = directory

    def submit(self, fn, /, *args, **kwargs) -> Future:
        """Refuse."""
        raise PalirsError(
            f"{self._directory}: labels of the optimum or its vibrations are missing; run "
            "task=harmonic on it first"
        )


def _lock(stack: ExitStack, directory: Path, task: Task) -> bool:
    """Hold the study; return whether this program does, a task that only reads goes on without."""
    try:
        stack.enter_context(locked(directory, f"task={task.name}"))
    except HeldError as error:
        if not task.reads_only:
            raise
        log.info(
            "%s; this task reads what is complete and logs nothing",
            str(error).partition(". Wait")[0],
        )
        return False
    return True


def _executors(settings: StudySettings, stack: ExitStack, check: bool) -> dict[Any, Executor]:
    """Return executors by recipe; equal recipes share workers, which start at their first use."""
    executors: dict[Any, Executor] = {}
    preload("palirs.learning.exploration", "palirs.mace.training.committees", "palirs.production")
    recipes = settings.executor
    for recipe in (recipes.labels, recipes.training, recipes.md):
        if check and isinstance(recipe, Slurm):
            recipe.check()  # before hours of other work
        if recipe not in executors:
            executors[recipe] = LazyExecutor(recipe, stack)
    return executors
