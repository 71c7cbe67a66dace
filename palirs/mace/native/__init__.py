"""MACE on a CPU without the overhead: energies, forces and features of isolated molecules by compiled C code."""

from palirs.mace.native.compiler import CompilerError
from palirs.mace.native.kernel import Batch, Kernel
from palirs.mace.native.layout import UnsupportedError

__all__ = ["Batch", "CompilerError", "Kernel", "UnsupportedError"]
