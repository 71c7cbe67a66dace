"""Runs step-by-step calculations side by side and batches their requests to a source."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ase import Atoms

from palirs.engines import Properties

T = TypeVar("T")


class _Client:
    """The source that one calculation sees: its pending request, the answer and the result."""

    def __init__(self, change: threading.Condition):
        self._change = change
        self.asked: list[Atoms] | None = None
        self.answer: list[Properties] | BaseException | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False

    def calculate(self, frames: Sequence[Atoms]) -> list[Properties]:
        """Post a request and wait for its answer, until all calculations have posted theirs."""
        with self._change:
            self.asked, self.answer = list(frames), None
            self._change.notify_all()
            self._change.wait_for(lambda: self.answer is not None)
        if isinstance(self.answer, BaseException):
            raise self.answer
        assert self.answer is not None
        return self.answer

    def run(self, work: Callable[["_Client"], Any]) -> None:
        """Run the calculation, in its own thread."""
        try:
            self.result = work(self)
        except BaseException as error:
            self.error = error
        with self._change:
            self.done = True
            self._change.notify_all()


def together(works: Sequence[Callable[[Any], T]], source: Any) -> list[T]:
    """Run calculations side by side and return their results, in order.

    Each runs in its own thread; the source is called in this thread, once for the requests of all.

    Parameters
    ----------
    works : sequence of callables
        Each takes a source (see :class:`palirs.vibrations.Source`).
    source : Source
        Calculates; its result for a frame must not depend on the other frames.

    Raises
    ------
    Exception
        Of the first calculation that failed, once all have ended; an error of the source is raised
        in all that wait for it.
    """
    change = threading.Condition()
    clients = [_Client(change) for _ in works]
    threads = [
        threading.Thread(target=client.run, args=(work,), daemon=True)
        for client, work in zip(clients, works, strict=True)
    ]
    for thread in threads:
        thread.start()
    while True:
        with change:
            change.wait_for(
                lambda: all(client.done or client.asked is not None for client in clients)
            )
            waiting = [client for client in clients if client.asked is not None]
        if not waiting:
            break
        answers = _ask(source, waiting)
        with change:
            for client, answer in zip(waiting, answers, strict=True):
                client.asked, client.answer = None, answer
            change.notify_all()
    for client in clients:
        if client.error is not None:
            raise client.error
    return [client.result for client in clients]


def _ask(source: Any, waiting: Sequence[_Client]) -> list[list[Properties] | BaseException]:
    parts = [client.asked or [] for client in waiting]
    try:
        results = iter(source.calculate([atoms for part in parts for atoms in part]))
    except BaseException as error:
        return [error] * len(parts)
    return [[next(results) for _ in part] for part in parts]
