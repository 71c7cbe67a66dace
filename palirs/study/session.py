"""The open resources of a study while it runs."""

import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ase import Atoms

from palirs import keys
from palirs.executors import LazyExecutor, Slurm, preload
from palirs.geometry.rearrangement import rearrangement
from palirs.journal import Journal
from palirs.labels import Labeller, LabelStore
from palirs.learning.iterations import complete_iterations, final_committee, read_dataset
from palirs.learning.loop import reference_vibrations
from palirs.learning.pretraining import pretrain, start_geometry
from palirs.learning.state import Dipoles, Plan
from palirs.lock import HeldError, locked
from palirs.mace.models.committee import Committee
from palirs.mace.models.files import dipole_files, load_dipoles
from palirs.molecules import check_whole, read_frames
from palirs.planning.stages import RateRecorder
from palirs.production import Starts
from palirs.recipes import PalirsError
from palirs.report.comparison import Shelf
from palirs.report.sections import Findings
from palirs.settings import Study
from palirs.settings.flat import flat
from palirs.study.conformers import starts
from palirs.study.identity import claim, identity
from palirs.tracking import Off, Tracker
from palirs.vibrations import Harmonic

log = logging.getLogger(__name__)

LABELS_ONLY = (
    "check",
    "compare",
    "fetch",
    "label",
    "contract",
    "import_labels",
    "export_labels",
    "import_model",
    "predict",
)
"""Tasks that touch at most the label store, which several programs may write to."""
READING = ("analyse", "export_model")
"""Tasks that only read what other tasks wrote: they may run while another program works on the
study."""


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
    training_executor, md_executor : Executor
        Training; MD.
    tracker : Tracker
        Metrics and artifacts.
    journal : Journal
        What programs did to the study.
    """

    study: Study
    molecules: list[Atoms]
    directory: Path
    labeller: Labeller
    training_executor: Executor
    md_executor: Executor
    tracker: Tracker
    journal: Journal
    _paid: int = field(default=0, init=False)

    @cached_property
    def cheap(self) -> Labeller | None:
        """Calculations of the cheap engine of the pretraining, if there is one; through the same store and workers."""
        engine = self.study.pretraining.engine
        return (
            None
            if engine is None
            else Labeller(
                engine, self.labeller.store, self.labeller.executor, self.study.labels.attempts
            )
        )

    @cached_property
    def cheap_references(self) -> tuple[Harmonic, ...]:
        """Optimum and vibrations of each molecule by the cheap engine; none without one."""
        return () if self.cheap is None else reference_vibrations(self.molecules, self.cheap)

    @property
    def pretrained(self) -> Path | None:
        """Directory of the models that the others start from, if there are any."""
        places = complete_iterations(self.directory / "pretraining")
        return places[-1] if self.cheap is not None and places else None

    def pretrain(self) -> None:
        """Train the models that the others start from, where that is asked for and not done."""
        if self.cheap is None:
            return
        s = self.study
        dipoles = s.committee.dipoles if s.engine.gives_dipole else 0
        plan = self._plan(self.directory / "pretraining", self.cheap_references, None)
        pretrain(
            plan,
            s.pretraining,
            s.model,
            dipoles,
            self.cheap,
            self.training_executor,
            self.md_executor,
        )

    @cached_property
    def references(self) -> tuple[Harmonic, ...]:
        """Optimum and harmonic vibrations of each molecule by the reference engine."""
        molecules = self.molecules
        if self.cheap_references:
            molecules = [
                start_geometry(*pair) for pair in zip(molecules, self.cheap_references, strict=True)
            ]
        found = reference_vibrations(molecules, self.labeller)
        self._paid = len(self.labeller.asked)
        for known in () if self.study.molecules.complexes else found:
            check_whole(known.atoms)  # a start geometry may fall apart while it relaxes
        changes = self._rearranged(found)
        for name, change in changes.items():
            log.warning(
                "%s relaxes to another molecule: %s; everything that follows is of that one",
                name,
                change,
            )
        if changes:
            self.tracker.describe(
                "\n\n".join(
                    f"{name} relaxes to another molecule: {change}."
                    for name, change in changes.items()
                )
            )
        return found

    @property
    def rearranged(self) -> dict[str, str]:
        """What became of the molecules whose optimum is another molecule than the one that was given, by name."""
        return self._rearranged(self.references)

    def _rearranged(self, references: Sequence[Harmonic]) -> dict[str, str]:
        pairs = zip(self.molecules, references, strict=True)
        changes = {
            given.info[keys.MOLECULE]: rearrangement(given, optimum.atoms)
            for given, optimum in pairs
        }
        return {name: change for name, change in changes.items() if change}

    @property
    def optima(self) -> list[Atoms]:
        """Geometries relaxed by the reference engine."""
        return [known.atoms for known in self.references]

    def starts(self, references: Sequence[Harmonic]) -> Sequence[Harmonic | Starts]:
        """Return where trajectories of these molecules start: at their optima, or from conformers that the committee finds."""
        how, temperature = self.study.spectrum.conformers, self.study.temperature
        if how is None:
            return references
        return starts(
            self.directory,
            references,
            lambda: self.committee,
            self.labeller,
            temperature,
            how == "boltzmann",
        )

    @property
    def plan(self) -> Plan:
        """What active learning needs to know."""
        return self._plan(self.directory, self.references, self.pretrained)

    def _plan(
        self, directory: Path, references: tuple[Harmonic, ...], pretrained: Path | None
    ) -> Plan:
        s = self.study
        return Plan(
            directory=directory,
            seed=s.seed,
            members=s.committee.size,
            learning=s.learning,
            architecture=s.model.potential,
            training=s.training.potential,
            initial=s.initial,
            sampler=s.sampler,
            selector=s.selector,
            references=references,
            temperature=s.temperature,
            paid=self._paid,
            pretrained=pretrained,
            evaluation=s.evaluation,
            dipoles=None
            if s.learning.intensities is None
            else Dipoles(s.committee.dipoles, s.model.dipole, s.training.dipole),
        )

    @property
    def committee(self) -> Committee:
        """The committee of the last completed iteration."""
        return final_committee(self.directory)

    @property
    def last_iteration(self) -> Path:
        """Directory of the last completed iteration.

        Raises
        ------
        PalirsError
            If there is none.
        """
        places = complete_iterations(self.directory)
        if not places:
            raise PalirsError(
                f"{self.directory}: no completed iteration; run task=active_learning (or task=study) on it first"
            )
        return places[-1]

    @property
    def shelf(self) -> Shelf:
        """The spectra of the study at its temperature."""
        names = [atoms.info[keys.MOLECULE] for atoms in self.molecules]
        return Shelf(self.directory, self.study.spectrum, self.study.temperature, names)

    @property
    def findings(self) -> Findings:
        """What the report is made of."""
        last, dipoles = self.last_iteration, self.dipole_files
        places = complete_iterations(self.directory)
        energies = [found.energy for found in self.labeller.calculate(self.optima)]
        return Findings(
            directory=self.directory,
            shelf=self.shelf,
            history=[
                json.loads((place / "metrics.json").read_text())["metrics"] for place in places
            ],
            first=read_dataset(places[0]),
            final=read_dataset(last),
            test=read_frames(last / "test.xyz"),
            optima=dict(zip(self.shelf.molecules, energies, strict=True)),
            references=dict(zip(self.shelf.molecules, self.references, strict=True)),
            rearranged=self.rearranged,
            committee=self.committee,
            dipole=load_dipoles(dipoles) if all(file.exists() for file in dipoles) else None,
            goals=(self.study.learning.harmonic_mae, self.study.learning.forces_mae),
        )

    @property
    def dipole_files(self) -> tuple[Path, ...]:
        """Files of the dipole models: in the iteration that trained them, or beside it, named by the iteration whose data they learnt."""
        last, members = complete_iterations(self.directory)[-1], range(self.study.committee.dipoles)
        mine = dipole_files(last, len(members))
        if all(file.exists() for file in mine):
            return mine
        others = [f"dipole-{last.name}-{member}.safetensors" for member in members[1:]]
        return tuple(self.directory / name for name in (f"dipole-{last.name}.safetensors", *others))


@contextmanager
def open_session(
    study: Study,
    molecules: list[Atoms],
    directory: Path,
    resolved: dict,
    yaml: str,
    task: str,
    name: str,
    sweep: str | None,
) -> Iterator[Session]:
    """Open the resources of a study.

    Parameters
    ----------
    study : Study
        Built settings.
    molecules : list of Atoms
        From :meth:`Study.checked_molecules`.
    directory : Path
        Study directory, made if it does not exist.
    resolved : dict
        The configuration as plain values, to compare with the one the directory was made with.
    yaml : str
        The same as text, written to ``config.yaml``.
    task : str
        Name of the task. One of :data:`LABELS_ONLY` neither locks nor tracks, and the directory
        need not be one of a study with these settings; one of :data:`READING` does so unless
        another program works on the study; every other one holds the study alone.
    name : str
        Of the tracked run.
    sweep : str or None
        Name of the sweep this study belongs to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        alone = task not in LABELS_ONLY and _alone(stack, directory, task)
        tracker = stack.enter_context(
            (study.tracker if alone else Off()).open(directory, name, flat(resolved), sweep)
        )
        if task not in LABELS_ONLY:
            claim(
                directory,
                identity(resolved, molecules),
                task,
                alone,
                len(complete_iterations(directory)),
            )
        if alone:
            (directory / "config.yaml").write_text(yaml, encoding="utf-8")
        recorder = RateRecorder(study, molecules, directory)
        journal = Journal(directory, writes=bool(alone), listeners=[recorder, tracker.stage_ended])
        journal.program(task)
        opened = _executors(study, stack, check=alone)
        store = LabelStore(study.labels.store or directory / "labels.db")
        labels = _RefusingExecutor(directory) if task in READING else opened[study.executor.labels]
        labeller = Labeller(study.engine, store, labels, study.labels.attempts)
        yield Session(
            study,
            molecules,
            directory,
            labeller,
            opened[study.executor.training],
            opened[study.executor.md],
            tracker,
            journal,
        )


class _RefusingExecutor(Executor):
    """For tasks that only look: they start no engine, whose settings somebody else may have written."""

    def __init__(self, directory: Path):
        self._directory = directory

    def submit(self, fn, /, *args, **kwargs) -> Future:
        """Refuse."""
        raise PalirsError(
            f"{self._directory}: labels of the optimum or its vibrations are missing; run task=harmonic on it first"
        )


def _alone(stack: ExitStack, directory: Path, task: str) -> bool:
    """Hold the study for this program; tell whether it does: a reading task goes on without."""
    try:
        stack.enter_context(locked(directory, f"task={task}"))
    except HeldError as error:
        if task not in READING:
            raise
        log.info(
            "%s; this task reads what is complete and logs nothing",
            str(error).partition(". Wait")[0],
        )
        return False
    return True


def _executors(study: Study, stack: ExitStack, check: bool) -> dict[Any, Executor]:
    """Return where work runs, by recipe; equal recipes share their workers, and none starts before it is used."""
    opened: dict[Any, Executor] = {}
    preload("palirs.learning.exploration", "palirs.mace.training.committees", "palirs.production")
    for workers in (study.executor.labels, study.executor.training, study.executor.md):
        if check and isinstance(workers, Slurm):
            workers.check()  # before hours of other work
        if workers not in opened:
            opened[workers] = LazyExecutor(workers, stack)
    return opened
