"""MACE potentials and dipole models: the only room of the project that knows the ``mace`` package.

Importing this package is cheap: recipes (:mod:`palirs.mace.settings`) need neither torch nor mace. What needs them is imported when
it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from palirs.mace.settings import Architecture, Training

if TYPE_CHECKING:
    from palirs.mace.committee import Committee
    from palirs.mace.dipole import DipoleModel
    from palirs.mace.files import load
    from palirs.mace.source import Predictor

__all__ = ["Architecture", "Committee", "DipoleModel", "Predictor", "Training", "load"]

_HOME = {
    "Committee": "palirs.mace.committee",
    "DipoleModel": "palirs.mace.dipole",
    "Predictor": "palirs.mace.source",
    "load": "palirs.mace.files",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
