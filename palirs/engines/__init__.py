"""Reference engines: recipes that make an ASE calculator in the worker that uses it."""

from palirs.engines.aims import Aims
from palirs.engines.ase import ASE, from_ase
from palirs.engines.base import Engine, EngineFailure, Properties
from palirs.engines.pyscf import PySCF
from palirs.engines.tblite import TBLite

__all__ = ["ASE", "Aims", "Engine", "EngineFailure", "Properties", "PySCF", "TBLite", "from_ase"]
