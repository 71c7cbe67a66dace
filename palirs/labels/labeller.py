"""Labelling: frames × engine × executor -> labelled frames, through the store."""

import logging
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from tqdm import tqdm

from palirs import keys
from palirs.engines import Engine, EngineFailure, Properties
from palirs.executors import WorkerLost
from palirs.labels.pending import append
from palirs.labels.record import Record
from palirs.labels.store import LabelStore
from palirs.molecules import on_grid
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)

GROUP = 0.1
"""Seconds: results that arrive faster share one transaction, which costs some milliseconds; until
then they are pending on disk."""
IN_FLIGHT = 4
"""Calculations claimed and submitted at a time, per worker; the rest is left to other processes on
the same store."""
MAX_FAILURES = 10
"""When this many calculations have failed and none has succeeded, the engine is wrong and not the
frames."""
POLL = 0.5
"""Seconds between two looks at what other processes calculate."""


@dataclass
class Labeller:
    """An engine whose every result goes through the label store.

    Attributes
    ----------
    engine : Engine
        Calculates.
    store : LabelStore
        Where results are looked up and kept.
    executor : concurrent.futures.Executor
        Where calculations run.
    attempts : int
        Calculations of one structure at most, over all runs; after that the structure is in
        quarantine until this number is raised.
    computed, failed : int
        Labels calculated and failed since this object was made; those found in the store do not
        count.
    seconds : float
        Spent on them [s].
    asked : set of str
        Keys of all labels that were requested since this object was made, wherever they came
        from.
    """

    engine: Engine
    store: LabelStore
    executor: Executor
    attempts: int = 2
    computed: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)
    asked: set[str] = field(default_factory=set, init=False)
    _missed: set[str] = field(default_factory=set, init=False)

    @property
    def found(self) -> int:
        """Requested labels that were in the store: this study or another one had paid for them."""
        return len(self.asked - self._missed)

    def label(self, frames: Sequence[Atoms], title: str = "labels") -> list[Atoms]:
        """Return the frames with reference energy, forces and dipole; failed ones are left out.

        Parameters
        ----------
        frames : sequence of Atoms
            Structures; positions are rounded to 1e-8 Å.
        title : str
            Written beside the progress bar.
        """
        frames = [on_grid(atoms) for atoms in frames]
        self._pay(frames, title)
        labelled = zip(frames, self._stored(frames), strict=True)
        return [attach(atoms, label) for atoms, label in labelled if isinstance(label, Properties)]

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Like :meth:`Engine.calculate`, through the store: every frame must succeed.

        Raises
        ------
        EngineFailure
            For the first frame whose calculation failed, now or in an earlier run.
        """
        frames = [on_grid(atoms) for atoms in frames]
        self._pay(frames, title="displacements" if len(frames) > 1 else "")
        labels = []
        for atoms, label in zip(frames, self._stored(frames), strict=True):
            if not isinstance(label, Properties):
                raise EngineFailure(f"{atoms.info.get(keys.MOLECULE, atoms.symbols)}: {label}")
            labels.append(label)
        return labels

    def _stored(self, frames: Sequence[Atoms]) -> list[Properties | EngineFailure]:
        names = [self.store.key(self.engine, atoms) for atoms in frames]
        labels = self.store.get_many(names)
        return [labels[name] for name in names]

    def _pay(self, frames: Sequence[Atoms], title: str) -> None:
        """Calculate every frame that has neither a label nor used up its attempts."""
        requested = {self.store.key(self.engine, atoms): atoms for atoms in frames}
        self.asked |= set(requested)
        missing = {
            key: atoms
            for key, atoms in requested.items()
            if not self.store.is_done(key, self.attempts)
        }
        if not missing:
            return
        self._missed |= set(missing)
        self.store.check_writable()
        self.store.pending.begin()
        started = time.perf_counter()
        with tqdm(
            total=len(missing), desc=title, unit="label", disable=not title, delay=1.0
        ) as bar:
            _Round(self, missing, bar).run()
        self.seconds += time.perf_counter() - started


class _Round:
    """The calculations of one call: waiting, running, arrived but not saved, or done elsewhere."""

    def __init__(self, labeller: Labeller, missing: dict[str, Atoms], bar: tqdm):
        self.labeller, self.bar = labeller, bar
        self.engine, self.store = labeller.engine, labeller.store
        self.pending = labeller.store.pending
        self.missing = missing
        self.waiting = deque(missing)
        self.running: dict[Future, str] = {}
        self.arrived: list[Record] = []
        self.elsewhere: list[str] = []
        self.saved = time.monotonic()
        self.computed = self.failed = 0

    def run(self) -> None:
        """Calculate until everything is done; whatever ends it, what has arrived is saved."""
        try:
            while self.waiting or self.running or self.elsewhere:
                self._submit()
                if self.running:
                    self._collect()
                elif self.elsewhere:
                    self._look_elsewhere()
        except BaseException:
            for future in self.running:
                future.cancel()
            self._rescue()
            raise
        self._save()
        self.pending.clear()

    def _submit(self) -> None:
        room = (
            IN_FLIGHT * self.labeller.executor.workers
            if getattr(self.labeller.executor, "workers", 1) > 1
            else 1
        )
        while self.waiting and len(self.running) < room:
            key = self.waiting.popleft()
            if not self.pending.claim(key):
                self.elsewhere.append(key)
                continue
            self.store.refresh(force=False)
            if self.store.is_done(
                key, self.labeller.attempts
            ):  # by another process, since this one looked last
                self.pending.release(key)
                self.bar.update()
                continue
            attempt, limit = self.store.attempts(key) + 1, self.labeller.attempts
            future = self.labeller.executor.submit(
                _calculate, self.engine, key, self.missing[key], attempt, limit, self.pending.prefix
            )
            self.running[future] = key

    def _collect(self) -> None:
        done, _ = wait(
            self.running, timeout=GROUP if self.arrived else None, return_when=FIRST_COMPLETED
        )
        for future in done:
            key = self.running.pop(future)
            self._arrive(key, self._outcome(key, future))
        if time.monotonic() - self.saved > GROUP:
            self._save()

    def _outcome(self, key: str, future: Future) -> Properties | EngineFailure:
        """Return the result, or a failure for a worker that died or took too long.

        Raises
        ------
        Exception
            Anything else is a mistake of the installation or of the program, not of the frame.
        """
        try:
            return future.result()
        except WorkerLost as error:
            written = self.pending.written().get(key)  # it may have died after it wrote the result
            if written is not None and written.attempts > self.store.attempts(key):
                return written.result
            return EngineFailure(str(error))
        except TimeoutError:
            return EngineFailure("took longer than executor.labels.time_limit")

    def _arrive(self, key: str, result: Properties | EngineFailure) -> None:
        attempts = _count(result, self.store.attempts(key) + 1, self.labeller.attempts)
        atoms = self.missing[key]
        identity = self.engine.identity_for(atoms)
        self.arrived.append(Record(key, atoms, identity, result, attempts))
        if isinstance(result, Properties):
            self.computed += 1
            self.labeller.computed += 1
            self.bar.update()
            return
        self._save()
        if not self.store.is_done(key, self.labeller.attempts):
            log.info(
                "%s: %s; calculated again", self.missing[key].info.get(keys.MOLECULE, "?"), result
            )
            self.waiting.append(key)
            return
        self.failed += 1
        self.labeller.failed += 1
        self.bar.update()
        self.bar.set_postfix(failed=self.failed)
        if self.failed >= MAX_FAILURES and not self.computed:
            raise PalirsError(
                f"the first {self.failed} calculations with {self.engine.name} all failed, the "
                f"last with: {result}\n"
                "Mend its settings or installation, and run again with "
                f"labels.attempts={self.labeller.attempts + 1}"
            )

    def _save(self) -> None:
        """Write what arrived to the database, then release the claims."""
        self.store.write(self.arrived)
        for record in self.arrived:
            self.pending.release(record.key)
        self.arrived = []
        self.saved = time.monotonic()

    def _rescue(self) -> None:
        """Save what has arrived or was finished after an error; the rest stays pending on disk."""
        finished = {
            record.key: record for record in (*self.pending.written().values(), *self.arrived)
        }
        try:
            self.store.write_now(
                [
                    record
                    for record in finished.values()
                    if not self.store.is_done(record.key, record.attempts)
                ]
            )
        except Exception as error:
            log.error(
                "%d finished labels stay in %s (%s); run again to take them in",
                len(finished),
                self.pending.directory,
                error,
            )

    def _look_elsewhere(self) -> None:
        """Wait for what other processes calculate; take over from those that died."""
        self._save()
        time.sleep(POLL)
        self.store.refresh()
        self.store.take_in_orphans()
        keys_elsewhere, self.elsewhere = self.elsewhere, []
        for key in keys_elsewhere:
            if self.store.is_done(key, self.labeller.attempts):
                self.bar.update()
            else:
                self.waiting.append(key)


def attach(atoms: Atoms, label: Properties) -> Atoms:
    """Return a copy of the frame that carries its label under the project's keys."""
    labelled = atoms.copy()
    labelled.info[keys.ENERGY] = label.energy
    if label.dipole is not None:
        labelled.info[keys.DIPOLE] = np.asarray(label.dipole)
    labelled.arrays[keys.FORCES] = np.asarray(label.forces)
    return labelled


_calculators: dict = {}


def _calculate(
    engine: Engine, key: str, atoms: Atoms, attempt: int, limit: int, prefix: str
) -> Properties | EngineFailure:
    """Calculate one structure, in the worker; the result is on disk when this returns.

    A failure is a result, since it is recorded as one.
    """
    if engine.fingerprint not in _calculators:
        _calculators.clear()
        _calculators[engine.fingerprint] = engine.start()  # kept: it may start from the last frame
    try:
        result: Properties | EngineFailure = engine.run(_calculators[engine.fingerprint], atoms)
    except EngineFailure as failure:
        result = failure
    attempts = _count(result, attempt, limit)
    append(prefix, Record(key, atoms, engine.identity_for(atoms), result, attempts))
    return result


def _count(result: Properties | EngineFailure, attempt: int, limit: int) -> int:
    """Return the attempts that a result counts for: a final failure uses up all that are left."""
    return max(attempt, limit) if isinstance(result, EngineFailure) and result.final else attempt
