"""MACE for isolated molecules as compiled C code: energies, forces, dipoles and training."""

from palirs.mace.compiled.compiler import EXACT, HERE, CompilerError, built
from palirs.mace.compiled.gathering import UnsupportedError
from palirs.mace.compiled.kernel import BLOCK, Batch, Block, Compiled, Kernel, Memory
from palirs.mace.compiled.learner import OPTIMISERS, Frames, Learner, Loss, Steps, flat

__all__ = [
    "BLOCK",
    "EXACT",
    "HERE",
    "OPTIMISERS",
    "Batch",
    "Block",
    "Compiled",
    "CompilerError",
    "Frames",
    "Kernel",
    "Learner",
    "Loss",
    "Memory",
    "Steps",
    "UnsupportedError",
    "built",
    "flat",
]
