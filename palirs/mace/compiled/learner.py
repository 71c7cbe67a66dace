"""A module in training: whole updates by compiled code, from labels to changed parameters."""

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from palirs.mace.compiled.compiler import library
from palirs.mace.compiled.gathering import UnsupportedError
from palirs.mace.compiled.kernel import BLOCK, Batch, Kernel, Memory
from palirs.mace.compiled.layout import program

NORMS = {"mse": 0, "huber": 1, "l1l2": 2}
OPTIMISERS = {"none": 0, "amsgrad": 1, "adamw": 2}


@dataclass
class Frames:
    """Labelled frames one after the other: single ones, then pairs displaced to either side.

    The entries of a batch are the single frames, then the pairs. What is learnt of a pair is the
    change of forces or dipole between its two frames over ``span``; the label of that change is
    where the first frame has its own.

    Attributes
    ----------
    counts : numpy.ndarray
        Atoms of each frame, ``[F]``.
    species : numpy.ndarray
        Indices into the model's elements, ``[N]``, int32.
    positions : numpy.ndarray
        ``[N, 3]`` [Å].
    target : numpy.ndarray
        Interaction energies ``[F]`` [eV], or dipoles ``[F, 3]`` [e·Å].
    forces : numpy.ndarray or None
        ``[N, 3]`` [eV/Å].
    pair_weights : numpy.ndarray
        Weight of each pair in the loss, ``[P]``; a single frame has 1.
    span : float
        Distance between the frames of a pair, in steps of its derivative.
    """

    counts: np.ndarray
    species: np.ndarray
    positions: np.ndarray
    target: np.ndarray
    forces: np.ndarray | None
    pair_weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    span: float = 1.0

    def __post_init__(self):
        self.start = np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int32)

    @property
    def singles(self) -> int:
        """Number of the frames that are not of a pair."""
        return len(self.counts) - 2 * len(self.pair_weights)

    def members(self, entries: Sequence[int]) -> list[int]:
        """Return the frames of the entries of a batch."""
        singles, frames = self.singles, []
        for entry in map(int, entries):
            first = singles + 2 * (entry - singles)
            frames += [entry] if entry < singles else [first, first + 1]
        return frames


@dataclass(frozen=True)
class Loss:
    """Norm of the deviations (a key of :data:`NORMS`), and the weights of energies and forces.

    Dipoles are divided by ``unit`` first.
    """

    norm: str
    delta: float
    unit: float = 1.0
    energy_weight: float = 0.0
    forces_weight: float = 0.0


@dataclass
class Steps:
    """What an optimiser does in the next updates.

    Its kind (a key of :data:`OPTIMISERS`) and numbers; per update the learning rate, the decay of
    the first moment, and that of the average of the parameters. Average and moments are changed in
    place.
    """

    kind: str = "none"
    rates: np.ndarray = field(default_factory=lambda: np.zeros(1))
    momenta: np.ndarray = field(default_factory=lambda: np.zeros(1))
    decays: np.ndarray = field(default_factory=lambda: np.zeros(1))
    moments: Sequence[Tensor] = ()
    done: int = 0
    clip: float = 1.0
    weight_decay: float = 0.0
    beta: float = 0.0
    epsilon: float = 0.0


POINTERS = (
    *("x", "target", "forces", "pair_weight", "start", "species"),
    *("parameter", "factor", "constant", "scale"),
    *("factors", "by_factors", "weight", "by_weight"),
    *("vector", "gradient", "average", "first", "second", "largest"),
    *("partial", "results", "slopes", "memory"),
)
NUMBERS = (
    *("cutoff", "delta", "unit", "energy_weight", "forces_weight"),
    *("clip", "decay", "beta", "epsilon", "span"),
)
INTEGERS = (
    *("parameters", "all_factors", "weights", "batch", "singles"),
    *("block", "threads", "norm", "optimiser", "arrived", "turn"),
)


class _Training(ctypes.Structure):
    """``struct training`` of ``update.c``, field by field."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in POINTERS),
        *((name, ctypes.c_size_t) for name in ("memory_size", "room")),
        *((name, ctypes.c_double) for name in NUMBERS),
        ("done", ctypes.c_long),
        *((name, ctypes.c_int) for name in INTEGERS),
    ]


class Learner:
    """A potential or a dipole network in training.

    Parameters
    ----------
    module : module
        What is trained.
    vector, gradient : Tensor
        Its parameters, from :func:`flat`, and room for their gradient.

    Raises
    ------
    UnsupportedError, CompilerError
        As :class:`Kernel`.
    """

    def __init__(self, module: Any, vector: Tensor, gradient: Tensor):
        self.kernel = Kernel([module], radial="network")
        self._program = program = self.kernel.programs[0]
        self._vector, self._gradient = vector, gradient
        self._library = library(program.header, "train")
        self._library.palirs_train_work.restype = ctypes.c_size_t
        self._library.palirs_update.restype = None
        self._parameter, self._constant, self._factor = _origins(module, vector)
        self._scale = self._constant[self._factor]
        self._factors = np.zeros(len(self._parameter) + program.room, program.dtype)
        self._by_factors = np.zeros(len(self._parameter), program.dtype)
        self._weights = np.zeros(program.size + len(program.turned), program.dtype)
        self._memory = Memory()

    def batch(self, frames: Frames) -> Batch:
        """Return what evaluates the module on frames, with the present values of the parameters."""
        self.kernel.set_weights(
            0, self._program.weights(self._vector.numpy()[self._parameter] * self._constant)
        )
        return self.kernel.batch(frames.species, tuple(map(int, frames.counts)))

    def update(self, frames: Frames, order: np.ndarray, loss: Loss, steps: Steps) -> np.ndarray:
        """Do the updates, one for each row of ``order [updates, batch]``; return the losses.

        ``order`` holds entries of :class:`Frames`. The gradient of the last batch is left in the
        room for it. Without an optimiser nothing else happens.
        """
        order = np.ascontiguousarray(order, dtype=np.int32)
        threads = min(torch.get_num_threads(), order.shape[1])
        task, arrays = self._task(frames, order.shape[1], loss, steps, threads)
        losses = np.zeros(len(order))
        columns = [
            ctypes.c_void_p(each.ctypes.data)
            for each in (order, steps.rates, steps.momenta, steps.decays, losses)
        ]
        update, count = self._library.palirs_update, ctypes.c_int(len(order))
        # threads of its own: they wait for each other, for ever if in a pool the work of another
        # training stood before theirs
        calls = [
            (ctypes.byref(task), ctypes.c_int(number), count, *columns) for number in range(threads)
        ]
        others = [threading.Thread(target=update, args=call) for call in calls[1:]]
        for other in others:
            other.start()
        update(*calls[0])
        for other in others:
            other.join()
        del arrays  # the task points into them
        return losses

    def _task(
        self, frames: Frames, batch: int, loss: Loss, steps: Steps, threads: int
    ) -> tuple[_Training, dict[str, np.ndarray | None]]:
        """Return what the compiled code works on, and the arrays that it points to."""
        program = self._program
        copies = batch * (2 if len(frames.pair_weights) else 1)
        most = int(frames.counts.max()) * (copies // batch)  # atoms that are never parted
        largest, room = max(BLOCK, most), 7 * most * batch + 4 * copies
        work = self._library.palirs_train_work(
            ctypes.c_int(largest), ctypes.c_int(_most_pairs(frames.counts, largest))
        )
        memory_size = -(-work // 64) * 64
        names = ("average", "first", "second", "largest")
        moments = {name: moment.numpy() for name, moment in zip(names, steps.moments, strict=False)}
        arrays: dict[str, np.ndarray | None] = {
            "x": frames.positions,
            "target": frames.target,
            "forces": frames.forces,
            "pair_weight": frames.pair_weights,
            "start": frames.start,
            "species": frames.species,
            "parameter": self._parameter,
            "factor": self._factor,
            "constant": self._constant,
            "scale": self._scale,
            "factors": self._factors,
            "by_factors": self._by_factors,
            "weight": self._weights,
            "by_weight": np.zeros((threads, program.size), program.dtype),
            "vector": self._vector.numpy(),
            "gradient": self._gradient.numpy(),
            **moments,
            "partial": np.zeros(threads),
            "results": np.zeros((threads, room)),
            "slopes": np.zeros((threads, room)),
        }
        pointers = {
            name: None if array is None else array.ctypes.data for name, array in arrays.items()
        }
        task = _Training(
            **pointers,
            memory=self._memory.of(0, memory_size * threads),
            memory_size=memory_size,
            room=room,
            cutoff=program.cutoff,
            delta=loss.delta,
            unit=loss.unit,
            energy_weight=loss.energy_weight,
            forces_weight=loss.forces_weight,
            clip=steps.clip,
            decay=steps.weight_decay,
            beta=steps.beta,
            epsilon=steps.epsilon,
            span=frames.span,
            done=steps.done,
            parameters=len(self._vector),
            all_factors=len(self._parameter),
            weights=program.size,
            batch=batch,
            singles=frames.singles,
            block=BLOCK,
            threads=threads,
            norm=NORMS[loss.norm],
            optimiser=OPTIMISERS[steps.kind],
        )
        return task, arrays


def _most_pairs(counts: np.ndarray, atoms: int) -> int:
    """Return how many pairs of atoms a block of so many atoms can have at most.

    Those of as many of the largest molecules as fit, and of one more.
    """
    most = int(counts.max())
    return (atoms // most + 1) * most * (most - 1) // 2


def flat(module: nn.Module) -> Tensor:
    """Put all trained parameters into one vector, of which they become views, and return it."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    with torch.no_grad():
        vector = torch.cat([parameter.reshape(-1) for parameter in trained])
        start = 0
        for parameter in trained:
            parameter.data = vector[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
    return vector


def _origins(module: nn.Module, vector: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how factors come from parameters, and which factor belongs to a parameter.

    For each factor the parameter that it is a multiple of, and the constant; for each parameter its
    factor, or −1 if it has none. They are found by laying out a module whose parameters are all
    one, and one whose parameters are 1, 2, 3, ...
    """
    kept = vector.clone()
    try:
        vector.fill_(1.0)
        constant = program(module).factors
        vector.copy_(torch.arange(1, len(vector) + 1))
        multiple = program(module).factors
    finally:
        vector.copy_(kept)
    zero = constant == 0
    ratio = np.divide(multiple, constant, where=~zero, out=np.ones_like(constant))
    parameter = np.where(zero, 0, np.rint(ratio) - 1).astype(np.int32)
    factor = np.full(len(vector), -1, np.int32)
    factor[parameter[~zero]] = np.flatnonzero(~zero)
    if np.count_nonzero(factor >= 0) != np.count_nonzero(~zero):
        raise UnsupportedError("parameters that are used more than once")
    if (factor < 0).any():
        raise UnsupportedError("parameters that are not used")
    return parameter, constant.astype(kept.numpy().dtype), factor
