"""The tasks: one function per entry in ``conf/task``. Each is imported when it is first used."""

from importlib import import_module
from typing import Any

from palirs.recipes import PalirsError
from palirs.study.task import Task

_MODULES = {
    "active_learning": "stages",
    "aimd": "spectral",
    "analyse": "reports",
    "anharmonic": "levels",
    "check": "costs",
    "compare": "evaluation",
    "contract": "labels",
    "dipole": "stages",
    "export_labels": "labels",
    "export_model": "models",
    "export_modes": "exports",
    "export_trajectories": "exports",
    "fetch": "labels",
    "harmonic": "stages",
    "identify": "prediction",
    "import_labels": "labels",
    "import_model": "models",
    "label": "labels",
    "predict": "prediction",
    "spectra": "spectral",
    "study": "stages",
    "temperatures": "conditions",
    "test_set": "evaluation",
    "transfer": "conditions",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"palirs.tasks.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def declared(name: str) -> Task:
    """Return what a task declares about itself.

    Raises
    ------
    PalirsError
        If there is no such task.
    """
    if name not in _MODULES:
        raise PalirsError(f"task = {name!r}: there is no such task; {', '.join(_MODULES)} are")
    return __getattr__(name).task
