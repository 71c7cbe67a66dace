"""Reference engines: recipes that make an ASE calculator inside the worker that uses it."""

from palirs.engines.base import Engine, EngineFailure, Properties
from palirs.engines.tblite import TBLite

__all__ = ["Engine", "EngineFailure", "Properties", "TBLite"]
