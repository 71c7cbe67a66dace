"""Several calculations that each ask a source step by step, answered together: no worker waits for one molecule's next geometry."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ase import Atoms

from palirs.engines import Properties

T = TypeVar("T")


class _Turn:
    """What one calculation asks for, and its answer."""

    def __init__(self, change: threading.Condition):
        self._change = change
        self.asked: list[Atoms] | None = None
        self.answer: list[Properties] | BaseException | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Ask, and wait until everybody else has asked too."""
        with self._change:
            self.asked, self.answer = list(frames), None
            self._change.notify_all()
            self._change.wait_for(lambda: self.answer is not None)
        if isinstance(self.answer, BaseException):
            raise self.answer
        assert self.answer is not None
        return self.answer

    def run(self, work: Callable[["_Turn"], Any]) -> None:
        """Run in a thread."""
        try:
            self.result = work(self)
        except BaseException as error:
            self.error = error
        with self._change:
            self.done = True
            self._change.notify_all()


def together(works: Sequence[Callable[[Any], T]], source: Any) -> list[T]:
    """Run calculations side by side and return their results, in order.

    Each has a thread of its own, which only prepares and digests; the source is asked in this
    thread, for what all of them want at a time.

    Parameters
    ----------
    works : sequence of callables
        Each is given a source (see :class:`palirs.vibrations.Source`).
    source : Source
        What calculates. The answer to a frame must not depend on its company.

    Raises
    ------
    Exception
        Of the first calculation that failed, once all have ended; an error of the source is one of
        all that wait for it.
    """
    change = threading.Condition()
    turns = [_Turn(change) for _ in works]
    threads = [
        threading.Thread(target=turn.run, args=(work,), daemon=True)
        for turn, work in zip(turns, works, strict=True)
    ]
    for thread in threads:
        thread.start()
    while True:
        with change:
            change.wait_for(lambda: all(turn.done or turn.asked is not None for turn in turns))
            waiting = [turn for turn in turns if turn.asked is not None]
        if not waiting:
            break
        answers = _ask(source, waiting)
        with change:
            for turn, answer in zip(waiting, answers, strict=True):
                turn.asked, turn.answer = None, answer
            change.notify_all()
    for turn in turns:
        if turn.error is not None:
            raise turn.error
    return [turn.result for turn in turns]


def _ask(source: Any, waiting: Sequence[_Turn]) -> list[list[Properties] | BaseException]:
    parts = [turn.asked or [] for turn in waiting]
    try:
        found = iter(source.calculate([atoms for part in parts for atoms in part]))
    except BaseException as error:
        return [error] * len(parts)
    return [[next(found) for _ in part] for part in parts]
