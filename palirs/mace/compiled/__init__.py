"""MACE on a CPU without the overhead: energies, forces, dipoles and training of isolated molecules by compiled C code."""

from palirs.mace.compiled.compiler import CompilerError
from palirs.mace.compiled.gathering import UnsupportedError
from palirs.mace.compiled.kernel import Batch, Kernel
from palirs.mace.compiled.learner import OPTIMISERS, Frames, Learner, Loss, Steps, flat

__all__ = ["OPTIMISERS", "Batch", "CompilerError", "Frames", "Kernel", "Learner", "Loss", "Steps", "UnsupportedError", "flat"]
