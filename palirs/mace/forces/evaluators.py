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
    settings: Evaluation,
    once: bool = False,
) -> Evaluator:
    """Choose the evaluator of a batch.

    Parameters
    ----------
    committee : Members
        The members.
    kernel : callable
        Returns them as compiled code, given the source of the radial weights, or ``None`` if that
        is not possible.
    numbers : sequence of arrays
        Atomic numbers of each molecule.
    settings : Evaluation
        Backend and device; ``auto`` is native where possible, else recorded.
    once : bool
        The batch will be evaluated once only, so neither a recording nor a table pays off:
        radial weights come from the network.

    Raises
    ------
    PalirsError
        If ``settings`` ask for the native backend and there is none, or the device does not exist.
    """
    if settings.device != "cpu":
        check_device("evaluation.device", settings.device)
    elif settings.backend in ("auto", "native"):
        native = kernel("network" if once else settings.radial)
        if native is not None:
            return Native(committee, native, numbers)
        if settings.backend == "native":
            raise PalirsError(
                "evaluation.backend = 'native': there is none, see the warning above; use 'auto', "
                "'recorded' or 'eager'"
            )
    recorded = settings.backend != "eager" and not once
    return Static(StaticForces(committee, numbers, recorded, settings.device))
