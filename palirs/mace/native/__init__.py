"""MACE on a CPU without the overhead: energies, forces, features and training gradients of isolated molecules by compiled C code."""

from palirs.mace.native.compiler import CompilerError
from palirs.mace.native.gradients import Learner, TrainingBatch, flat
from palirs.mace.native.kernel import Batch, Kernel
from palirs.mace.native.layout import UnsupportedError

__all__ = ["Batch", "CompilerError", "Kernel", "Learner", "TrainingBatch", "UnsupportedError", "flat"]
