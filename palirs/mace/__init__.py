"""MACE potentials and dipole models: the only room of the project that knows the ``mace`` package.

Importing this package is cheap: recipes (:mod:`palirs.mace.settings`) need neither torch nor mace.
What needs them is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from palirs.mace.foundation import MACEModel
from palirs.mace.settings import Architecture, SecondStage, Training

if TYPE_CHECKING:
    from palirs.mace.exchange import export_mace, import_mace
    from palirs.mace.models.committee import Committee
    from palirs.mace.models.dipole import DipoleModel
    from palirs.mace.models.files import load, load_committee, load_dipole_model
    from palirs.mace.models.predictor import Predictor

__all__ = [
    "Architecture",
    "Committee",
    "DipoleModel",
    "MACEModel",
    "Predictor",
    "SecondStage",
    "Training",
    "export_mace",
    "import_mace",
    "load",
    "load_committee",
    "load_dipole_model",
]

_HOME = {
    "Committee": "palirs.mace.models.committee",
    "DipoleModel": "palirs.mace.models.dipole",
    "Predictor": "palirs.mace.models.predictor",
    "export_mace": "palirs.mace.exchange",
    "import_mace": "palirs.mace.exchange",
    "load": "palirs.mace.models.files",
    "load_committee": "palirs.mace.models.files",
    "load_dipole_model": "palirs.mace.models.files",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
