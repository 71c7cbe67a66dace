"""Ways to evaluate all members of a committee on one batch of molecules that moves.

``native`` is compiled C code for the CPU (:mod:`palirs.mace.compiled`), the fastest by far there.
``recorded`` replays a recording of MACE's own operations, on a GPU fused by torch's compiler;
``eager`` calls MACE itself. All give the same numbers to rounding.
"""

from collections.abc import Callable, Sequence

import numpy as np

from palirs.mace.compiled import Kernel
from palirs.mace.forces.devices import check_device
from palirs.mace.forces.members import Evaluator, Members
from palirs.mace.forces.native import Native
from palirs.mace.forces.static import Static, StaticForces
from palirs.mace.settings import Evaluation
from palirs.recipes import PalirsError


def evaluator(
    committee: Members,
    kernel: Callable[[str], Kernel | None],
    numbers: Sequence[np.ndarray],
    how: Evaluation,
    once: bool = False,
) -> Evaluator:
    """Choose the evaluator of a batch.

    Parameters
    ----------
    committee : Members
        The members.
    kernel : callable
        Returns them as compiled code, given where radial weights come from; ``None`` where that
        cannot be had.
    numbers : sequence of arrays
        Atomic numbers of each molecule.
    how : Evaluation
        Backend and device; ``auto`` is native where possible, else recorded.
    once : bool
        The batch will be evaluated once only, so neither a recording pays nor a table: radial
        weights come from the network.

    Raises
    ------
    PalirsError
        If ``how`` insists on the native backend and there is none, or the device does not exist.
    """
    if how.device != "cpu":
        check_device("evaluation.device", how.device)
    elif how.backend in ("auto", "native"):
        if (ready := kernel("network" if once else how.radial)) is not None:
            return Native(committee, ready, numbers)
        if how.backend == "native":
            raise PalirsError(
                "evaluation.backend = 'native': there is none, see the warning above; use 'auto', 'recorded' or 'eager'"
            )
    recorded = how.backend != "eager" and not once
    return Static(StaticForces(committee, numbers, recorded, how.device))
