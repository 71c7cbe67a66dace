"""MACE on a CPU without the overhead: energies, forces, features and training gradients of isolated molecules by compiled C code."""

from palirs.mace.compiled.compiler import CompilerError
from palirs.mace.compiled.gathering import UnsupportedError
from palirs.mace.compiled.kernel import Batch, Kernel
from palirs.mace.compiled.learner import Learner, TrainingBatch, flat

__all__ = ["Batch", "CompilerError", "Kernel", "Learner", "TrainingBatch", "UnsupportedError", "flat"]
