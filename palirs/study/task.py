"""Tasks: functions that work on the session of a study, and what they declare."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Task:
    """What a task declares where it is defined.

    Attributes
    ----------
    name : str
        Of the task.
    lock : bool
        Whether it works on a study, which it then holds alone, and whose identity and tracked run
        it uses. A task without a lock touches at most the label store, which several programs may
        write to.
    reads_only : bool
        Whether it only reads what other tasks wrote: it may run beside a program that holds the
        study, and buys no labels.
    engine : bool
        Whether it may start the reference engine.
    grows : bool
        Whether it takes more molecules, temperatures or replicas into a study.
    """

    name: str
    lock: bool
    reads_only: bool
    engine: bool
    grows: bool


def task(
    *, lock: bool = True, reads_only: bool = False, engine: bool = True, grows: bool = False
) -> Callable[[Function], Function]:
    """Declare that a function is a task; :func:`palirs.tasks.declared` gives the declaration."""

    def declare(function: Function) -> Function:
        function.task = Task(function.__name__, lock, reads_only, engine, grows)  # pyright: ignore[reportFunctionMemberAccess]
        return function

    return declare
