"""A module whose weights change: what it gives for the present weights, and the gradient of a loss by its parameters."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from palirs.mace.compiled.compiler import library
from palirs.mace.compiled.gathering import UnsupportedError
from palirs.mace.compiled.kernel import Block, Kernel, Memory, blocks, in_threads
from palirs.mace.compiled.layout import program


class Learner:
    """A potential or a dipole network in training.

    Parameters
    ----------
    module : module
        What is trained.
    vector : Tensor
        Its parameters, from :func:`flat`; call :meth:`refresh` when they have changed.

    Raises
    ------
    UnsupportedError, CompilerError
        As :class:`Kernel`.
    """

    def __init__(self, module: Any, vector: Tensor):
        self.kernel = Kernel([module])
        self.library = library(self.kernel.programs[0].header, "train potential" if hasattr(module, "readouts") else "train dipole")
        self.library.palirs_train_work.restype = ctypes.c_size_t
        self.scratch, self.memory, self.gradients = Memory(), Memory(), list[np.ndarray]()
        self.vector = vector
        self._parameter, self._constant, self._back = _origins(module, self.vector)
        self.refresh()

    def refresh(self) -> None:
        """Take over the present values of the parameters."""
        self._factors = self.vector.numpy()[self._parameter] * self._constant
        self.kernel.weights[0] = self.kernel.programs[0].weights(self._factors)

    def batch(self, species: np.ndarray, counts: Sequence[int]) -> "TrainingBatch":
        """Prepare for a batch of molecules: species ``[N]`` as indices into the model's elements, atoms per molecule."""
        return TrainingBatch(self, np.ascontiguousarray(species, dtype=np.int32), tuple(counts))

    def gradient(self, by_weights: np.ndarray) -> np.ndarray:
        """Return the gradient by the parameters, in the order of :attr:`vector`, given that by the weights.

        It is zero for parameters that the compiled code does not use, those of the read-outs of a dipole network.
        """
        by_factors = self.kernel.programs[0].by_factors(self._factors, by_weights) * self._constant
        return np.where(self._back < 0, 0, by_factors[self._back])


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

    They are found by laying out a module whose parameters are all one, and one whose parameters are 1, 2, 3, ...
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
    parameter = np.where(nothing, 0, np.rint(np.divide(multiple, constant, where=~nothing, out=np.ones_like(constant))) - 1).astype(
        np.int64
    )
    places = np.full(len(vector), -1)
    places[parameter[~nothing]] = np.flatnonzero(~nothing)
    if np.count_nonzero(places >= 0) != np.count_nonzero(~nothing):
        raise UnsupportedError("parameters that are used more than once")
    if (places < 0).any() and hasattr(module, "readouts"):
        raise UnsupportedError("parameters that are not used")
    return parameter, constant.astype(kept.numpy().dtype), places


class TrainingBatch:
    """One batch: what the module gives for its present weights, then the gradient, given the derivatives of the loss by that.

    The molecules are dealt out to the threads in order, so that the sums, and with them the last bits of the gradient, depend on the
    number of threads but not on who is first.
    """

    def __init__(self, learner: Learner, species: np.ndarray, counts: tuple[int, ...]):
        self._learner, self._species, self.counts = learner, species, counts
        self._threads = min(torch.get_num_threads(), len(counts))
        self._blocks = blocks(counts, -(-sum(counts) // self._threads))

    def forces(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return interaction energies ``[B]`` [eV] and forces ``[N, 3]`` [eV/Å]."""
        batch = self._learner.kernel.batch(self._species, self.counts, self._learner.scratch)
        energy, forces = batch.forces(positions)
        return energy[0], forces[0]

    def forces_back(self, positions: np.ndarray, by_energy: np.ndarray, by_forces: np.ndarray) -> np.ndarray:
        """Return the gradient by the parameters, given the derivatives of the loss by energies ``[B]`` and forces ``[N, 3]``."""
        x, energy, along = _doubles(positions), _doubles(by_energy), _doubles(-by_forces)

        def piece(block: Block, memory: int, gradient: np.ndarray) -> None:
            self._learner.library.palirs_train_forces(
                *self._learner.kernel.arguments(0, block, self._species, x, memory),
                ctypes.c_void_p(energy.ctypes.data + 8 * block.first),
                ctypes.c_void_p(along.ctypes.data + 24 * block.atom),
                ctypes.c_void_p(gradient.ctypes.data),
            )

        return self._learner.gradient(self._gradient(piece, apart=False))

    def features(self, positions: np.ndarray) -> list[np.ndarray]:
        """Return the features ``[N, components, C]`` after each layer (C padded)."""
        x, one = _doubles(positions), self._learner.kernel.programs[0]
        found: list[list[np.ndarray]] = [[] for _ in self._blocks]

        def piece(block: Block, memory: int, gradient: np.ndarray) -> None:
            flat = np.empty(block.atoms * sum(one.rows) * one.channels, dtype=one.dtype)
            self._learner.library.palirs_train_features(
                *self._learner.kernel.arguments(0, block, self._species, x, memory), ctypes.c_void_p(flat.ctypes.data)
            )
            found[block.number] = one.layers(flat, block.atoms)

        self._run(piece, apart=True)
        return [np.concatenate(layer) for layer in zip(*found, strict=True)]

    def features_back(self, by_features: Sequence[np.ndarray]) -> np.ndarray:
        """Return the gradient by the parameters, given the derivatives by what :meth:`features` gave, which must have been called last."""
        dtype = self._learner.kernel.programs[0].dtype

        def piece(block: Block, memory: int, gradient: np.ndarray) -> None:
            mine = np.concatenate([layer[block.atom : block.atom + block.atoms].ravel() for layer in by_features]).astype(dtype, copy=False)
            self._learner.library.palirs_train_features_back(
                ctypes.c_void_p(self._learner.kernel.weights[0].ctypes.data),
                ctypes.c_void_p(self._species.ctypes.data + 4 * block.atom),
                ctypes.c_void_p(memory),
                ctypes.c_void_p(mine.ctypes.data),
                ctypes.c_void_p(gradient.ctypes.data),
            )

        return self._learner.gradient(self._gradient(piece, apart=True))

    def _gradient(self, piece: Callable[["Block", int, np.ndarray], None], apart: bool) -> np.ndarray:
        self._run(piece, apart)
        total = self._learner.gradients[0]
        for other in self._learner.gradients[1 : self._threads]:
            total += other
        return total

    def _run(self, piece: Callable[["Block", int, np.ndarray], None], apart: bool) -> None:
        """Each thread takes every n-th block, with a gradient of its own; blocks have memory of their own if it is to last (``apart``)."""
        sizes = [self._learner.library.palirs_train_work(ctypes.c_int(b.atoms), ctypes.c_int(b.pairs)) for b in self._blocks]
        one = self._learner.kernel.programs[0]
        while len(self._learner.gradients) < self._threads:
            self._learner.gradients.append(np.empty(one.size, one.dtype))

        def thread(number: int) -> None:
            gradient = self._learner.gradients[number]
            gradient.fill(0)
            for block, size in list(zip(self._blocks, sizes, strict=True))[number :: self._threads]:
                piece(block, self._learner.memory.of(block.number if apart else number, size), gradient)

        in_threads(self._threads, thread)


def _doubles(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float64)
