"""A module in training: whole updates by compiled code, from labelled frames to changed parameters."""

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
    """Labelled frames one after the other.

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
    """

    counts: np.ndarray
    species: np.ndarray
    positions: np.ndarray
    target: np.ndarray
    forces: np.ndarray | None

    def __post_init__(self):
        self.start = np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int32)


@dataclass(frozen=True)
class Loss:
    """Norm of the deviations (a key of :data:`NORMS`) and the weights; dipoles are divided by ``unit`` before."""

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


class _Training(ctypes.Structure):
    """The same as in ``update.c``."""

    _fields_ = [
        *(
            (name, ctypes.c_void_p)
            for name in (
                "x",
                "target",
                "forces",
                "start",
                "species",
                "parameter",
                "factor",
                "constant",
                "scale",
            )
        ),
        *(
            (name, ctypes.c_void_p)
            for name in ("factors", "by_factors", "weight", "by_weight", "vector", "gradient")
        ),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "average",
                "first",
                "second",
                "largest",
                "partial",
                "results",
                "slopes",
                "memory",
            )
        ),
        *((name, ctypes.c_size_t) for name in ("memory_size", "room")),
        *(
            (name, ctypes.c_double)
            for name in (
                "cutoff",
                "delta",
                "unit",
                "energy_weight",
                "forces_weight",
                "clip",
                "decay",
            )
        ),
        *((name, ctypes.c_double) for name in ("beta", "epsilon")),
        ("done", ctypes.c_long),
        *(
            (name, ctypes.c_int)
            for name in ("parameters", "all_factors", "weights", "batch", "block", "threads")
        ),
        *((name, ctypes.c_int) for name in ("norm", "optimiser", "arrived", "turn")),
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
        self._program, self._vector, self._gradient = self.kernel.programs[0], vector, gradient
        self._library = library(self._program.header, "train")
        self._library.palirs_train_work.restype, self._library.palirs_update.restype = (
            ctypes.c_size_t,
            None,
        )
        self._parameter, self._constant, self._factor = _origins(module, vector)
        self._scale = self._constant[self._factor]
        factors, dtype = len(self._parameter), self._program.dtype
        self._factors, self._by_factors = (
            np.zeros(factors + self._program.room, dtype),
            np.zeros(factors, dtype),
        )
        self._weights, self._memory = (
            np.zeros(self._program.size + len(self._program.turned), dtype),
            Memory(),
        )

    def batch(self, frames: Frames) -> Batch:
        """Return what evaluates the module on frames, with the present values of the parameters."""
        self.kernel.set_weights(
            0, self._program.weights(self._vector.numpy()[self._parameter] * self._constant)
        )
        return self.kernel.batch(frames.species, tuple(map(int, frames.counts)))

    def update(self, frames: Frames, order: np.ndarray, loss: Loss, steps: Steps) -> np.ndarray:
        """Do the updates, one for each row of frames in ``order [updates, batch]``; return the losses.

        The gradient of the last batch is left in the room for it. Without an optimiser nothing else
        happens.
        """
        order, threads = (
            np.ascontiguousarray(order, dtype=np.int32),
            min(torch.get_num_threads(), order.shape[1]),
        )
        atoms = int(frames.counts.max()) * order.shape[1]
        room, largest = 7 * atoms + 4 * order.shape[1], max(BLOCK, int(frames.counts.max()))
        size = (
            -(
                -self._library.palirs_train_work(
                    ctypes.c_int(largest), ctypes.c_int(_most_pairs(frames.counts, largest))
                )
                // 64
            )
            * 64
        )
        scratch = [
            np.zeros((threads, self._program.size), self._program.dtype),
            *(np.zeros((threads, n)) for n in (1, room, room)),
        ]
        moments = [moment.numpy() for moment in steps.moments]
        moments += [None] * (4 - len(moments))
        arrays = [
            frames.positions,
            frames.target,
            frames.forces,
            frames.start,
            frames.species,
            self._parameter,
            self._factor,
        ]
        arrays += [
            self._constant,
            self._scale,
            self._factors,
            self._by_factors,
            self._weights,
            scratch[0],
            self._vector.numpy(),
        ]
        arrays += [self._gradient.numpy(), *moments, *scratch[1:]]
        task = _Training(
            *(None if array is None else array.ctypes.data for array in arrays),
            self._memory.of(0, size * threads),
            *(
                size,
                room,
                self._program.cutoff,
                loss.delta,
                loss.unit,
                loss.energy_weight,
                loss.forces_weight,
            ),
            *(
                steps.clip,
                steps.weight_decay,
                steps.beta,
                steps.epsilon,
                steps.done,
                len(self._vector),
                len(self._parameter),
            ),
            *(
                self._program.size,
                order.shape[1],
                BLOCK,
                threads,
                NORMS[loss.norm],
                OPTIMISERS[steps.kind],
                0,
                0,
            ),
        )
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
        return losses


def _most_pairs(counts: np.ndarray, atoms: int) -> int:
    """Return how many pairs a block of that many atoms can have at most: that of its largest molecules, and one more."""
    most = int(counts.max())
    return (atoms // most + 1) * most * (most - 1) // 2


def flat(module: nn.Module) -> Tensor:
    """Put all parameters that are trained into one vector, of which they become views, and return it."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    with torch.no_grad():
        vector = torch.cat([parameter.reshape(-1) for parameter in trained])
        start = 0
        for parameter in trained:
            parameter.data = vector[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
    return vector


def _origins(module: nn.Module, vector: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each factor the parameter that it is a multiple of, and the constant; for each parameter its factor, or −1 if it has none.

    They are found by laying out a module whose parameters are all one, and one whose parameters are
    1, 2, 3, ...
    """
    kept = vector.clone()
    try:
        vector.fill_(1.0)
        constant = program(module).factors
        vector.copy_(torch.arange(1, len(vector) + 1))
        multiple = program(module).factors
    finally:
        vector.copy_(kept)
    nothing = constant == 0
    parameter = np.where(
        nothing,
        0,
        np.rint(np.divide(multiple, constant, where=~nothing, out=np.ones_like(constant))) - 1,
    )
    parameter, places = parameter.astype(np.int32), np.full(len(vector), -1, np.int32)
    places[parameter[~nothing]] = np.flatnonzero(~nothing)
    if np.count_nonzero(places >= 0) != np.count_nonzero(~nothing):
        raise UnsupportedError("parameters that are used more than once")
    if (places < 0).any():
        raise UnsupportedError("parameters that are not used")
    return parameter, constant.astype(kept.numpy().dtype), places
